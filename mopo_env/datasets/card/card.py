"""Statistics of a dataset. Look at them before you fit a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mopo_env.datasets.card.problems import Problem, find_problems
from mopo_env.tasks import Task, get_task
from mopo_env.transitions import Transitions

# Rows at a time: a float64 copy of a large dataset would take too much memory.
_CHUNK = 65_536


@dataclass(frozen=True, kw_only=True)
class Column:
    """How one number is distributed, in raw units."""

    minimum: float
    maximum: float
    mean: float
    std: float


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """Statistics of a dataset, in raw units.

    Attributes:
        rows: Number of transitions.
        episodes: Number of episodes, including an unfinished last one.
        fingerprint: Identifies the content.
        observation_space: As text.
        action_space: As text.
        metadata: Where the data come from.
        task: The task of the data, if it is known.
        returns: Undiscounted return of an episode.
        lengths: Steps of an episode.
        terminated: Share of the episodes that reached a terminal state.
        truncated: Share of the episodes that were cut off.
        columns: Each column of a transition by name, or as ``"observation 3"`` if it has none. Discrete actions are
            one-hot, so the mean of a column is the share of an action.
        problems: Likely mistakes in the data.
    """

    rows: int
    episodes: int
    fingerprint: str
    observation_space: str
    action_space: str
    metadata: Mapping[str, Any]
    task: Task | None
    returns: Column
    lengths: Column
    terminated: float
    truncated: float
    columns: Mapping[str, Column]
    problems: tuple[Problem, ...]


def dataset_card(transitions: Transitions, task: Task | str | None = None) -> DatasetCard:
    """Compute the statistics of a dataset, and look for mistakes; two million rows take some seconds.

    Args:
        transitions: The dataset.
        task: A task, its name or its id. Its termination rule is compared with the data, which needs PyTorch.

    Raises:
        UnknownNameError: If no task has this name.
    """
    found = get_task(task) if isinstance(task, str) else task
    ends = transitions.episode_ends
    return DatasetCard(
        rows=len(transitions),
        episodes=len(ends),
        fingerprint=transitions.fingerprint,
        observation_space=str(transitions.observation_space),
        action_space=str(transitions.action_space),
        metadata=transitions.metadata,
        task=found,
        returns=_describe(transitions.episode_returns)[0],
        lengths=_describe(np.diff(ends, prepend=-1))[0],
        terminated=float(transitions.terminations[ends].mean()),
        truncated=float((transitions.truncations & ~transitions.terminations)[ends].mean()),
        columns=_columns(transitions),
        problems=find_problems(transitions, found),
    )


def _columns(transitions: Transitions) -> dict[str, Column]:
    columns = dict(zip(transitions.observation_names, _describe(transitions.observations), strict=True))
    for name, each in zip(transitions.action_names, _describe(transitions.encoded_actions()), strict=True):
        # A log may hold the last action as a part of the state.
        columns[f"action {name}" if name in columns else name] = each
    return {**columns, "reward": _describe(transitions.rewards)[0]}


def _describe(array: np.ndarray) -> list[Column]:
    """Describe each column of an array; the memory does not grow with the rows."""
    array = array.reshape(len(array), -1)
    # Sums of squares of the values themselves would cancel, so the first row is subtracted.
    origin = array[0].astype(np.float64)
    total, squares = np.zeros_like(origin), np.zeros_like(origin)
    for start in range(0, len(array), _CHUNK):
        distance = array[start : start + _CHUNK] - origin
        total += distance.sum(axis=0)
        squares += (distance**2).sum(axis=0)
    mean = total / len(array)
    std = np.sqrt(np.maximum(squares / len(array) - mean**2, 0.0))
    numbers = np.stack([array.min(axis=0), array.max(axis=0), origin + mean, std], axis=1).tolist()
    return [Column(minimum=row[0], maximum=row[1], mean=row[2], std=row[3]) for row in numbers]
