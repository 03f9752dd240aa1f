"""What a training run left, read back: nothing but ``config.json`` and ``result.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mopo_agents.runs.config import ROLES, TrainConfig
from mopo_agents.runs.methods import METHODS
from mopo_env.errors import StoreError
from mopo_env.tasks import TASKS, Task

__all__ = ["Run", "find_runs", "read_run"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished training run.

    Attributes:
        folder: Where it lies.
        identity: The digest of all that changes the result but the seed.
        task: The task's name.
        setting: The task, and the data and the real environment where they are others than the task's.
        method: The method's name.
        label: The method, the options that make the run another than it, and how it was evaluated if otherwise.
        agent: The agent's name.
        dataset: Fingerprint of the dataset.
        rollout_batch_size: b, None without a model.
        epochs: How many there were to be.
        updates: Gradient steps.
        seed: The seed.
        diverged: Whether training ended early, with the policy of the epoch before.
        paper: The paper's return for this method, None where it has none, or where anything was changed.
        dataset_mean: Mean episode return of the dataset.
        dataset_max: Largest episode return of the dataset.
        returns: Mean return of each evaluation, in order.
        has_scale: Whether D4RL's scale holds for the returns.
        seconds: Spent training, evaluations left out.
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
    """Return the folders of runs: those given, and those inside folders that are no run themselves.

    Raises:
        StoreError: If there is no such folder, or neither is it a run nor does it hold one.
    """
    found: list[Path] = []
    for path in paths:
        inside = [path] if (path / "config.json").is_file() else sorted(p.parent for p in path.glob("*/config.json"))
        if not inside:
            raise StoreError(f"{path}: neither a training run nor a folder that holds some: no config.json in it.")
        found += [folder for folder in inside if folder not in found]
    return found


def read_run(folder: Path) -> Run:
    """Read what a run left.

    Raises:
        StoreError: If it is unfinished, was never evaluated, or a file is damaged; the message says which and why.
    """
    config = _read_json(folder / "config.json")
    if not (folder / "result.json").exists():
        raise StoreError(f"{folder}: unfinished, there is no result.json.")
    result = _read_json(folder / "result.json")
    try:
        evaluations = result["evaluations"]
        if not evaluations:
            raise StoreError(f"{folder}: was never evaluated.")
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
        raise StoreError(f"{folder}: not what mopo train writes: {type(error).__name__}: {error}.") from error


def _label(config: Mapping[str, Any]) -> str:
    """Return the method's name, followed by the options that were changed."""
    defaults = TrainConfig(task=str(config["task"]))
    evaluation = {name: config[name] for name, role in ROLES.items() if role == "evaluation"}
    otherwise = {name: value for name, value in evaluation.items() if value != getattr(defaults, name)}
    changed = [f"{name}={_shown(value)}" for name, value in {**config["changed"], **otherwise}.items()]
    return ", ".join([str(config["method"]), *changed])


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _setting(config: Mapping[str, Any]) -> str:
    """Return the task, and what else than its own data and its own environment the numbers belong to."""
    task = TASKS.get(config["task"]) or Task(name=str(config["task"]))
    data = "" if config["dataset"] is None else f" on {Path(config['dataset']).name}"
    elsewhere = config["real_env"] not in (None, task.real_env_id)
    return f"{task.label}{data}" + (f" in {config['real_env']}" if elsewhere else "")


def _paper_return(config: Mapping[str, Any]) -> float | None:
    """Return the paper's number if this is its method unchanged, on the task's data and robot."""
    task, method = TASKS.get(config["task"]), METHODS.get(config["method"])
    if task is None or method is None or config["changed"]:
        return None
    own_data = config["dataset"] is None or config["dataset_task"] == task.name
    # The versions of a robot differ too little to be another task, and the paper's own is no longer to be had.
    own_robot = _without_version(config["real_env"]) == _without_version(task.real_env_id)
    return method.paper_returns.get(task.name) if own_data and own_robot else None


def _without_version(env_id: object) -> str:
    return str(env_id).rpartition("-v")[0]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path}: expected an object, found a {type(content).__name__}.")
    return content


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"found {value!r} where a number should be")
    return number
