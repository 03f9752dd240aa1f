"""Attempts as tasks of a Ray cluster, or of a Ray on this machine that ends with the sweep."""

from __future__ import annotations

import logging
import math
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mopo_agents.sweeps.backends import Backend, Start
from mopo_agents.sweeps.work import CRASHED, SAVED, attempt
from mopo_env.errors import ConfigError, require_extra


@contextmanager
def ray_cluster(backend: Backend) -> Iterator[Start]:
    """Connect to Ray. Each attempt gets a fresh process, because a policy's numbers must not depend on others."""
    # Ray's sockets lie here, and the names of sockets have at most 107 letters: too few for most other folders.
    short = "/tmp" if os.name == "posix" else None  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="mopo-ray-", dir=short) as folder:
        ray = _import_ray(own=backend.address is None)
        local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 2**27, "_temp_dir": folder}
        if backend.workers is not None:
            local["num_cpus"] = math.ceil(backend.workers * backend.cpus_per_job)
        where = {"address": backend.address} if backend.address else {"address": "local", **local}
        try:
            ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f"address: cannot use Ray at {backend.address or 'this machine'}: {error}") from error
        try:
            resources = {"num_cpus": backend.cpus_per_job, "num_gpus": backend.gpus_per_job}
            task = ray.remote(max_calls=1, max_retries=0, **resources)(attempt)
            yield lambda file, log: _RayAttempt(ray, task.remote(file, log))
        finally:
            ray.shutdown()


def _import_ray(*, own: bool) -> Any:
    """Import Ray, which reads these variables once. It must not report home, nor leave a token in the home folder."""
    if "ray" not in sys.modules:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if own and "RAY_AUTH_MODE" not in os.environ:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return require_extra("ray", "ray")


class _RayAttempt:
    def __init__(self, ray: Any, result: Any) -> None:
        self._ray, self._result = ray, result

    def poll(self) -> int | None:
        if not self._ray.wait([self._result], timeout=0)[0]:
            return None
        try:
            return int(self._ray.get(self._result))
        except self._ray.exceptions.TaskCancelledError:
            return SAVED
        except self._ray.exceptions.RayError:  # the worker or its machine is gone
            return CRASHED

    def terminate(self) -> None:
        self._ray.cancel(self._result)  # in the worker, this is Ctrl-C
