"""Where jobs are done. A backend is a function that starts one attempt at a job, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, Protocol

from mopo_env._utils.options import check_choice, check_fields, check_integer, check_number
from mopo_env.errors import ConfigError

Name = Literal["local", "ray", "slurm"]


class Attempt(Protocol):
    """A process that does a job."""

    def poll(self) -> int | None:
        """Return the exit code, as of `mopo_agents.sweeps.work.attempt`; None: it still runs, or waits for its turn."""

    def terminate(self) -> None:
        """Ask it to finish its epoch, save and end."""


Start = Callable[[Path, Path], Attempt]
"""Starts an attempt at the job of a file; what it prints goes into the log."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Where and how jobs are done. Each computes with one thread.

    Attributes:
        backend: local for processes of this machine, ray, or slurm.
        workers: How many jobs are done at once. None: one on this machine, on a cluster as many as it has room for.
        retries: How often a process of a job that died is replaced. One that was asked to stop, and saved its run,
            is continued without being counted.
        address: Ray: a cluster to use, such as auto or ray://HOST:10001. None: start one on this machine and end it.
        cpus_per_job: Ray and Slurm: CPUs that a job takes. Ray accepts fractions.
        gpus_per_job: Ray and Slurm: GPUs that a job takes; the plan also needs device = "cuda". Ray accepts fractions,
            such as 0.25 for four jobs on a GPU.
        partition: Slurm: the partition.
        time: Slurm: minutes for each attempt. A job that takes longer saves and is sent again.
        slurm_parameters: Slurm: further options of sbatch, such as account=lab mem=8G.
    """

    backend: Name = "local"
    workers: int | None = None
    retries: int = 2
    address: str | None = None
    cpus_per_job: float = 1.0
    gpus_per_job: float = 0.0
    partition: str | None = None
    time: int = 24 * 60
    slurm_parameters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse every option that is wrong, or of another backend, by a `ConfigError` that names it."""
        check_fields(self, check_choice, "backend", choices=Name)
        check_fields(self, check_integer, "workers", optional=True)
        check_fields(self, check_integer, "retries", minimum=0)
        check_fields(self, check_integer, "time")
        check_fields(self, check_number, "cpus_per_job", "gpus_per_job", minimum=0.0)
        for option in fields(self):
            if self.backend not in _OF.get(option.name, _EVERY) and getattr(self, option.name) != option.default:
                raise ConfigError(f"{option.name}: found it with the backend {self.backend}, which has no use for it.")
        for name in ("cpus_per_job", "gpus_per_job"):
            if self.backend == "slurm" and not getattr(self, name).is_integer():
                raise ConfigError(f"{name}: expected a whole number for Slurm, found {getattr(self, name):g}.")
        if wrong := [text for text in self.slurm_parameters if "=" not in text]:
            raise ConfigError(f"slurm_parameters: expected name=value, found {wrong[0]!r}.")

    @property
    def at_once(self) -> int | None:
        """The largest number of attempts at once; None: the cluster decides."""
        return 1 if self.workers is None and self.backend == "local" else self.workers


_EVERY = ("local", "ray", "slurm")
_OF: dict[str, tuple[str, ...]] = {
    "address": ("ray",),
    "cpus_per_job": ("ray", "slurm"),
    "gpus_per_job": ("ray", "slurm"),
    **dict.fromkeys(("partition", "time", "slurm_parameters"), ("slurm",)),
}
