"""Read finished training runs from ``config.json`` and ``result.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mopo_agents.runs.config import ROLES, TrainConfig
from mopo_agents.runs.methods import METHODS
from mopo_agents.runs.rows import ScoreRow
from mopo_agents.runs.select import read_scores
from mopo_agents.trust.alarms import has_collapsed
from mopo_env._utils.json_files import read_json
from mopo_env.errors import StoreError
from mopo_env.tasks import TASKS, Task

_NUMBERS = ("dataset_mean", "dataset_max", "dataset_reward", "seconds")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished training run.

    Attributes:
        setting: The task, and its data and real environment if they are not the task's own.
        label: The method, and the options that differ from the method's and from the default evaluation.
        has_scale: Whether D4RL's scale applies to the returns.
        returns: Mean return of each evaluation, in order; empty without evaluations.
        evaluated_at: Gradient steps before each of them.
        scores: The rows of ``scores.csv``.
        collapsed: Whether the last policy has lost two fifths of the largest gain over data and first policy: in the
            real environment, or in the scores if there are no evaluations.
        alarms: What the scores said was wrong during the run.

    The other attributes are as in `mopo_agents.reports.comparison.Row`.
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
    collapsed: bool
    paper: float | None
    dataset_mean: float
    dataset_max: float
    dataset_reward: float
    returns: tuple[float, ...]
    evaluated_at: tuple[int, ...]
    has_scale: bool
    model_reward: float | None
    penalty: float | None
    scores: tuple[ScoreRow, ...]
    alarms: tuple[str, ...]
    seconds: float
    machine: str | None


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
        StoreError: If the run is unfinished, has neither a model nor an evaluation, or has a damaged file; the message
            says why.
    """
    if not (folder / "result.json").exists():
        raise StoreError(
            f"{folder}: the run is unfinished, there is no result.json. `mopo train --resume {folder}` continues it."
        )
    config, result = read_json(folder / "config.json"), read_json(folder / "result.json")
    try:
        evaluations, in_model = result["evaluations"], result["model_last_epoch"]
        returns, scores = tuple(_number(row["return_mean"]) for row in evaluations), tuple(read_scores(folder))
        if not evaluations and in_model is None:
            raise StoreError(f"{folder}: the run was never evaluated, and has no model whose numbers could be shown.")
        texts: dict[str, Any] = {name: str(config[name]) for name in ("identity", "task", "method", "agent")}
        found: dict[str, Any] = {name: _number(result[name]) for name in _NUMBERS}
        return Run(
            folder=folder,
            **texts,
            **found,
            epochs=int(config["epochs"]),
            seed=int(config["seed"]),
            setting=_setting(config),
            label=_label(config),
            dataset=str(config["dataset_fingerprint"]),
            rollout_batch_size=None if (size := config["rollout_batch_size"]) is None else int(size),
            updates=int(result["updates"]),
            diverged=result["diverged_epoch"] is not None,
            collapsed=has_fallen(returns, found["dataset_mean"]) if returns else bool(scores) and has_collapsed(scores),
            paper=_paper_return(config),
            returns=returns,
            evaluated_at=tuple(int(row["updates"]) for row in evaluations),
            has_scale=bool(evaluations) and evaluations[-1]["normalised"] is not None,
            model_reward=None if in_model is None else _number(in_model["model_reward"]),
            penalty=None if in_model is None else _number(in_model["penalty"]),
            scores=scores,
            alarms=tuple(str(alarm) for alarm in result.get("alarms", {}).values()),
            machine=result.get("machine"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{folder}: not a run of mopo train, or damaged: {type(error).__name__}: {error}.") from error


def has_fallen(returns: Sequence[float], dataset_mean: float) -> bool:
    """Return whether the last return has lost two fifths of the best one's gain over the data and the first policy."""
    best = max(returns)
    return best - returns[-1] > 0.4 * (best - min(returns[0], dataset_mean))


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
