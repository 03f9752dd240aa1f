"""Attempts as jobs of Slurm, by way of submitit."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from mopo_agents.sweeps.backends import Backend, Start
from mopo_agents.sweeps.work import CRASHED, attempt
from mopo_env.errors import ConfigError, require_extra


def slurm_queue(backend: Backend, folder: Path, *, cluster: str = "slurm") -> Start:
    """Prepare to send jobs to Slurm. All machines see the folder, which is for submitit's files.

    The cluster ``"local"`` stands for processes of this machine, for tests.
    """
    submitit = require_extra("submitit", "slurm")
    try:
        executor = submitit.AutoExecutor(folder=folder.absolute(), cluster=cluster)
    except RuntimeError as error:
        raise ConfigError(f"backend: cannot use Slurm: {error}") from error
    further = dict(text.split("=", 1) for text in backend.slurm_parameters)
    executor.update_parameters(
        name="mopo",
        timeout_min=backend.time,
        cpus_per_task=int(backend.cpus_per_job),
        gpus_per_node=int(backend.gpus_per_job) or None,
        slurm_partition=backend.partition,
        slurm_additional_parameters=further,
    )
    return lambda file, log: _SlurmAttempt(submitit, executor.submit(_attempt, file, log))


def _attempt(file: Path, log: Path) -> int:
    # Before the time is over, Slurm sends what submitit asks for. To a run it is a request to save and end.
    signal.signal(signal.SIGUSR2, lambda *_: signal.raise_signal(signal.SIGTERM))
    return attempt(file, log)


class _SlurmAttempt:
    def __init__(self, submitit: Any, job: Any) -> None:
        self._submitit, self._job = submitit, job

    def poll(self) -> int | None:
        if not self._job.done():
            return None
        try:
            return int(self._job.result())
        except (self._submitit.core.utils.UncompletedJobError, self._submitit.core.utils.FailedJobError):
            return CRASHED

    def terminate(self) -> None:
        self._job.cancel()
