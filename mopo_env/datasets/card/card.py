"""What a dataset holds, in numbers: the first thing to look at before a model is fitted to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete

from mopo_env.datasets.card.problems import Problem, find_problems
from mopo_env.datasets.card.statistics import Columns, Distribution, describe, describe_columns, effective_dimension
from mopo_env.tasks import Task, get_task
from mopo_env.transitions import Transitions

__all__ = ["ActionStatistics", "DatasetCard", "dataset_card"]

# Shares of the range: a squashed Gaussian comes close to its bounds and never reaches them.
_AT_BOUND = 1e-3


@dataclass(frozen=True, kw_only=True)
class ActionStatistics:
    """What the behaviour policy tried.

    Attributes:
        columns: The range of each action.
        at_bounds: Share of the time that each action is at one of its bounds, shape ``(action,)``.
        numbered: Whether actions are numbered; `columns` are then those of the one-hot rows, and `at_bounds` is how
            often each number was chosen.
    """

    columns: Columns
    at_bounds: np.ndarray
    numbered: bool = False


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """A dataset in numbers; raw units throughout.

    Attributes:
        rows: Transitions.
        episodes: Episodes, the last one included where it is unfinished.
        bytes: Memory that the arrays take.
        fingerprint: Of the content.
        observation_space: As text.
        action_space: As text.
        metadata: Where the data come from.
        task: What the data are for, if that is known.
        returns: Undiscounted return of an episode.
        lengths: Steps of an episode.
        terminated: Share of the episodes that reached a terminal state.
        truncated: Share of the episodes that were cut off.
        rewards: Reward of a step.
        observations: Range of each number of the observations.
        actions: What was tried.
        effective_dimension: In how many directions the observations vary; see `statistics.effective_dimension`.
        problems: What looks wrong; empty if nothing does.
    """

    rows: int
    episodes: int
    bytes: int
    fingerprint: str
    observation_space: str
    action_space: str
    metadata: Mapping[str, Any]
    task: Task | None
    returns: Distribution
    lengths: Distribution
    terminated: float
    truncated: float
    rewards: Distribution
    observations: Columns
    actions: ActionStatistics
    effective_dimension: float
    problems: tuple[Problem, ...]


def dataset_card(transitions: Transitions, task: Task | str | None = None) -> DatasetCard:
    """Look a dataset over.

    Args:
        transitions: The dataset; two million rows take some seconds.
        task: A task, its name or its id; its termination rule is compared with the data, which needs PyTorch.

    Raises:
        UnknownNameError: If there is no task of that name.
    """
    found = get_task(task) if isinstance(task, str) else task
    ends = transitions.episode_ends
    observations = describe_columns(transitions.observations)
    arrays = ("observations", "actions", "rewards", "next_observations", "terminations", "truncations")
    return DatasetCard(
        rows=len(transitions),
        episodes=len(ends),
        bytes=sum(getattr(transitions, name).nbytes for name in arrays),
        fingerprint=transitions.fingerprint,
        observation_space=str(transitions.observation_space),
        action_space=str(transitions.action_space),
        metadata=transitions.metadata,
        task=found,
        returns=describe(transitions.episode_returns),
        lengths=describe(np.diff(ends, prepend=-1)),
        terminated=float(transitions.terminations[ends].mean()),
        truncated=float((transitions.truncations & ~transitions.terminations)[ends].mean()),
        rewards=describe(transitions.rewards),
        observations=observations,
        actions=_action_statistics(transitions),
        effective_dimension=effective_dimension(observations),
        problems=find_problems(transitions, found),
    )


def _action_statistics(transitions: Transitions) -> ActionStatistics:
    if isinstance(transitions.action_space, Discrete):
        chosen = transitions.encoded_actions()
        return ActionStatistics(columns=describe_columns(chosen), at_bounds=chosen.mean(axis=0), numbered=True)
    low, high = transitions.action_space.low, transitions.action_space.high
    margin = _AT_BOUND * (high - low)
    at_bounds = (transitions.actions <= low + margin) | (transitions.actions >= high - margin)
    return ActionStatistics(columns=describe_columns(transitions.actions), at_bounds=at_bounds.mean(axis=0))
