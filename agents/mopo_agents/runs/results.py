"""Read finished training runs from ``config.json`` and ``result.json``, and write tables as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mopo_agents.runs.config import ROLES, TrainConfig
from mopo_agents.runs.methods import METHODS
from mopo_env._utils.json_files import read_json
from mopo_env.errors import StoreError
from mopo_env.tasks import TASKS, Task

__all__ = ["Run", "csv_text", "find_runs", "read_json", "read_run"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished training run.

    Attributes:
        setting: The task, and its data and real environment if they are not the task's own.
        label: The method, and the options that differ from the method's and from the default evaluation.
        has_scale: Whether D4RL's scale applies to the returns.
        returns: Mean return of each evaluation, in order.

    The other attributes are as in `mopo_agents.runs.comparison.Row`.
    """

    folder: Path
    identity: str
    task: str
    setting: str
    method: str
    label: str
    agent: str
    dataset: str
    rollout_batch_size: int | None
    epochs: int
    updates: int
    seed: int
    diverged: bool
    paper: float | None
    dataset_mean: float
    dataset_max: float
    returns: tuple[float, ...]
    has_scale: bool
    seconds: float


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Return the folders of runs among these paths, and inside those paths that are not runs.

    Raises:
        StoreError: If a path is not a run and holds none.
    """
    found: list[Path] = []
    for path in paths:
        inside = [path] if (path / "config.json").is_file() else sorted(p.parent for p in path.glob("*/config.json"))
        if not inside:
            raise StoreError(f"{path}: found no config.json, expected a training run or a folder of training runs.")
        found += [folder for folder in inside if folder not in found]
    return found


def read_run(folder: Path) -> Run:
    """Read a finished run.

    Raises:
        StoreError: If the run is unfinished, was never evaluated, or has a damaged file; the message says why.
    """
    if not (folder / "result.json").exists():
        raise StoreError(
            f"{folder}: the run is unfinished, there is no result.json. `mopo train --resume {folder}` continues it."
        )
    config, result = read_json(folder / "config.json"), read_json(folder / "result.json")
    try:
        evaluations = result["evaluations"]
        if not evaluations:
            raise StoreError(f"{folder}: the run was never evaluated.")
        return Run(
            folder=folder,
            identity=str(config["identity"]),
            task=str(config["task"]),
            setting=_setting(config),
            method=str(config["method"]),
            label=_label(config),
            agent=str(config["agent"]),
            dataset=str(config["dataset_fingerprint"]),
            rollout_batch_size=None if (size := config["rollout_batch_size"]) is None else int(size),
            epochs=int(config["epochs"]),
            updates=int(result["updates"]),
            seed=int(config["seed"]),
            diverged=result["diverged_epoch"] is not None,
            paper=_paper_return(config),
            dataset_mean=_number(result["dataset_mean"]),
            dataset_max=_number(result["dataset_max"]),
            returns=tuple(_number(row["return_mean"]) for row in evaluations),
            has_scale=evaluations[-1]["normalised"] is not None,
            seconds=_number(result["seconds"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{folder}: not a run of mopo train, or damaged: {type(error).__name__}: {error}.") from error


def csv_text(rows: Sequence[Any]) -> str:
    """Return dataclass instances of one type as CSV, unrounded; None is an empty cell."""
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, [column.name for column in fields(rows[0])], lineterminator="\n")
    writer.writeheader()
    writer.writerows(vars(row) for row in rows)
    return table.getvalue()


def _label(config: Mapping[str, Any]) -> str:
    defaults = TrainConfig(task=str(config["task"]))
    evaluation = {name: config[name] for name, role in ROLES.items() if role == "evaluation"}
    changed = {name: value for name, value in evaluation.items() if value != getattr(defaults, name)}
    shown = [f"{name}={_shown(value)}" for name, value in {**config["changed"], **changed}.items()]
    return ", ".join([str(config["method"]), *shown])


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _setting(config: Mapping[str, Any]) -> str:
    task = TASKS.get(config["task"]) or Task(name=str(config["task"]))
    data = "" if config["dataset"] is None else f" on {Path(config['dataset']).name}"
    elsewhere = config["real_env"] not in (None, task.real_env_id)
    return f"{task.label}{data}" + (f" in {config['real_env']}" if elsewhere else "")


def _paper_return(config: Mapping[str, Any]) -> float | None:
    """Return the paper's number for a method without changes, on the task's data and robot."""
    task, method = TASKS.get(config["task"]), METHODS.get(config["method"])
    if task is None or method is None or config["changed"]:
        return None
    own_data = config["dataset"] is None or config["dataset_task"] == task.name
    # The versions of a robot hardly differ, and the paper's version is no longer available.
    own_robot = _without_version(config["real_env"]) == _without_version(task.real_env_id)
    return method.paper_returns.get(task.name) if own_data and own_robot else None


def _without_version(env_id: object) -> str:
    return str(env_id).rpartition("-v")[0]


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"found {value!r} where a number should be")
    return number
