"""What a training run left, read back: nothing but ``config.json`` and ``result.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.methods import DEFAULT_METHOD, changed_options
from mopo_env.errors import StoreError

__all__ = ["Run", "find_runs", "read_run"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished training run.

    Attributes:
        folder: Where it lies.
        task: The task's name.
        method: The method's name, and the options that make the run another than it.
        agent: The agent's name.
        dataset: Fingerprint of the dataset.
        rollout_batch_size: b, None without a model.
        updates: Gradient steps.
        seed: The seed.
        dataset_mean: Mean episode return of the dataset.
        dataset_max: Largest episode return of the dataset.
        returns: Mean return of each evaluation, in order.
        seconds: Spent training, evaluations left out.
    """

    folder: Path
    task: str
    method: str
    agent: str
    dataset: str
    rollout_batch_size: int | None
    updates: int
    seed: int
    dataset_mean: float
    dataset_max: float
    returns: tuple[float, ...]
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
            task=str(config["task"]),
            method=_label(config),
            agent=str(config["agent"]),
            dataset=str(config["dataset_fingerprint"]),
            rollout_batch_size=None if (size := config["rollout_batch_size"]) is None else int(size),
            updates=int(result.get("updates", evaluations[-1]["updates"])),
            seed=int(config["seed"]),
            dataset_mean=_number(result["dataset_mean"]),
            dataset_max=_number(result["dataset_max"]),
            returns=tuple(_number(row["return_mean"]) for row in evaluations),
            seconds=_number(result["seconds"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{folder}: not what mopo train writes: {type(error).__name__}: {error}.") from error


def _label(config: Mapping[str, Any]) -> str:
    """Return the method's name, followed by the options that were changed."""
    if "method" in config:
        method, changed = str(config["method"]), config["changed"]
    else:  # a run of before methods had names
        known = {option.name for option in fields(TrainConfig)} & set(config)
        run = TrainConfig(**{name: config[name] for name in known})
        method, changed = DEFAULT_METHOD, changed_options(run)
    return ", ".join([method, *(f"{name}={value}" for name, value in changed.items())])


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
