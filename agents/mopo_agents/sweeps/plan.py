"""A plan in TOML, and the jobs that it stands for."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mopo_agents.runs.config import ROLES, TrainConfig
from mopo_agents.runs.identity import digest
from mopo_agents.runs.resolve import resolve
from mopo_env.errors import ConfigError, UnknownNameError


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a plan.

    Attributes:
        key: A digest of everything that changes the result. Two plans with the same job have the same key.
        config: The options of the run.
        folder: The folder of the run.
    """

    key: str
    config: TrainConfig
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The jobs of a plan, and the options in which they differ."""

    path: Path
    out: Path
    jobs: tuple[Job, ...]
    varied: tuple[str, ...]


def read_plan(path: Path) -> Plan:
    """Read a plan.

    For example::

        out = "sweeps/mixed"      # where the runs go; default: sweeps/ and the plan's name

        [options]                 # of every run
        epochs = 100

        [[grid]]                  # every combination; several grids add up
        task = ["hopper-mixed", "walker2d-mixed"]
        method = ["ours", "mopo-no-lip"]
        seed = [0, 1, 2]

    Options are those of `TrainConfig`, and of `mopo train`. A job that stands in two grids is one job.

    Raises:
        ConfigError: If the file is no such plan, or an option is wrong; the message says which.
    """
    content = read_toml(path, ("out", "options", "grid"))
    options, grids = content.get("options", {}), content.get("grid", [])
    if not isinstance(options, dict) or not isinstance(grids, list) or not grids:
        raise ConfigError(f"{path}: expected a table [options] and one or more tables [[grid]].")
    out = content.get("out", str(Path("sweeps") / path.stem))
    if not isinstance(out, str):
        raise ConfigError(f"{path}: out: found {out!r}, expected the name of a folder.")
    jobs: dict[str, Job] = {}
    for grid in grids:
        for choice in _combinations(path, grid):
            job = make_job(config_of(path, {**options, **choice}), Path(out))
            jobs.setdefault(job.key, job)
    varied = sorted({name for grid in grids for name in grid} - {"task", "method", "seed"})
    return Plan(path=path, out=Path(out), jobs=tuple(jobs.values()), varied=("task", "method", "seed", *varied))


def _combinations(path: Path, grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{path}: {name}: found {values!r} in a grid, expected a list of one or more values.")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def read_toml(path: Path, parts: Sequence[str]) -> dict[str, Any]:
    """Return the content of a plan, which must have no other parts than these."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as a plan in TOML: {error}.") from error
    for name in content.keys() - set(parts):
        raise UnknownNameError(f"part of the plan {path}", name, parts)
    return content


def config_of(path: Path, options: Mapping[str, Any]) -> TrainConfig:
    """Return the options of a run in a plan, all of which fit together."""
    known = [field.name for field in fields(TrainConfig)]
    for name in options.keys() - set(known):
        raise UnknownNameError(f"option in {path}", name, known)
    if "task" not in options:
        raise ConfigError(f"{path}: found a run without a task. Name one in [options] or in every [[grid]].")
    try:
        config = TrainConfig(**options)
        resolve(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return config


def make_job(config: TrainConfig, out: Path) -> Job:
    """Return the job of a run, in a folder within `out` that is named after everything that changes the result."""
    run = resolve(config)
    key = digest({name: value for name, value in asdict(run.config).items() if ROLES[name] != "how"})
    return Job(key=key, config=config, folder=out / f"{run.name}-{key[:8]}")
