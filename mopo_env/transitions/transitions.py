"""`Transitions`: the arrays of a dataset, its spaces, and its episodes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from mopo_env._utils.spaces import ActionSpace, as_action_space, as_float32_box, encoded_width, number_range
from mopo_env.errors import DatasetError
from mopo_env.transitions import checks
from mopo_env.transitions.episodes import Episode, joined

_FLOATING = ("observations", "actions", "rewards", "next_observations")
_FLAGS = ("terminations", "truncations")


@dataclass(frozen=True, kw_only=True, eq=False)
class Transitions:
    """A fixed dataset of transitions in raw units. It is checked once, and its arrays are read-only.

    Rows keep the order in which they were recorded. An episode ends at a row that is flagged as terminated or
    truncated, and at the last row. Arrays are copied, except those that nobody can change: read-only arrays of the
    right type that own their memory, or view such an array.

    Attributes:
        observations: Shape ``(rows, observation)``, float32.
        actions: Shape ``(rows, action)``, float32; with a `Discrete` action space shape ``(rows,)``, int64.
        rewards: Shape ``(rows,)``, float32.
        next_observations: Shape ``(rows, observation)``, float32; the true next state, at the end of an episode too.
        terminations: Shape ``(rows,)``, bool; whether the next state is terminal.
        truncations: Shape ``(rows,)``, bool; whether the episode was cut off here before a terminal state.
        observation_space: Default: an unbounded box.
        action_space: A box or `Discrete`. Default: the box from −1 to 1, if every action lies in it.
        metadata: Where the data come from; anything JSON can hold.

    Raises:
        DatasetError: If a shape, a type or a value is wrong. The message names the array, the episode and the step.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray
    terminations: np.ndarray
    truncations: np.ndarray
    # Filled in by __post_init__ when not given, so that a reader never sees None.
    observation_space: Box = None  # type: ignore[assignment]
    action_space: ActionSpace = None  # type: ignore[assignment]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Convert, check and freeze every array."""
        for name in _FLOATING:
            convert = checks.as_column if self._is_discrete and name == "actions" else checks.as_float32
            self._freeze(name, convert(name, getattr(self, name)))
        for name in _FLAGS:
            self._freeze(name, checks.as_flags(name, getattr(self, name)))
        checks.check_shapes({name: getattr(self, name) for name in (*_FLOATING, *_FLAGS)}, self.action_space)
        for name in _FLOATING:
            checks.check_finite(name, getattr(self, name), self.locate)
        self._set_spaces()
        object.__setattr__(self, "metadata", dict(self.metadata))

    @classmethod
    def from_episodes(
        cls,
        episodes: Iterable[Episode],
        *,
        observation_space: Box | None = None,
        action_space: ActionSpace | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Transitions:
        """Join whole episodes into one dataset.

        Raises:
            DatasetError: If there is no episode, or the arrays of an episode have lengths that do not fit.
        """
        return cls(
            **joined(list(episodes)),
            observation_space=observation_space,  # type: ignore[arg-type]
            action_space=action_space,  # type: ignore[arg-type]
            metadata=metadata or {},
        )

    def __len__(self) -> int:
        """Return the number of transitions."""
        return len(self.rewards)

    def __repr__(self) -> str:
        """Return the sizes and the fingerprint, without the arrays."""
        return (
            f"Transitions({len(self):,} rows, {len(self.episode_ends):,} episodes, "
            f"observation {self.observation_dim}, action {self.action_dim}, fingerprint {self.fingerprint[:12]})"
        )

    @property
    def observation_dim(self) -> int:
        """Return the width of an observation."""
        return int(self.observations.shape[1])

    @property
    def action_dim(self) -> int:
        """Return the width of an action as the model sees it; for discrete actions, their number."""
        return encoded_width(self.action_space)

    @property
    def observation_names(self) -> list[str]:
        """Return the names of the columns, if the metadata hold them as those of a table do; otherwise numbers."""
        return self._names("observations", self.observation_dim) or [
            f"observation {index}" for index in range(self.observation_dim)
        ]

    @property
    def action_names(self) -> list[str]:
        """Return the names of the columns of `encoded_actions`, as `observation_names` does."""
        names = self._names("actions", 1 if self._is_discrete else self.action_dim)
        if names and isinstance(self.action_space, Discrete):
            first, last = number_range(self.action_space)
            names = [f"{names[0]}={number}" for number in range(first, last + 1)]
        return names or [f"action {index}" for index in range(self.action_dim)]

    def encoded_actions(self) -> np.ndarray:
        """Return the actions as the model sees them, shape ``(rows, action_dim)``, float32.

        Discrete actions are one-hot, since no action lies between two others. Vectors are returned as they are.
        """
        if not isinstance(self.action_space, Discrete):
            return self.actions
        first, last = number_range(self.action_space)
        columns: np.ndarray = np.equal.outer(self.actions, np.arange(first, last + 1)).astype(np.float32)
        return columns

    @cached_property
    def episode_ends(self) -> np.ndarray:
        """Return the row of each episode's last transition, shape ``(episodes,)``."""
        ends = np.flatnonzero(self.terminations | self.truncations)
        last = len(self) - 1
        ends = ends if len(ends) and ends[-1] == last else np.append(ends, last)
        ends.setflags(write=False)
        return ends

    @cached_property
    def episode_returns(self) -> np.ndarray:
        """Return the undiscounted return of each episode, shape ``(episodes,)``, float64."""
        starts = np.concatenate([[0], self.episode_ends[:-1] + 1])
        returns: np.ndarray = np.add.reduceat(self.rewards.astype(np.float64), starts)
        returns.setflags(write=False)
        return returns

    @cached_property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the arrays and the spaces. Equal content has an equal fingerprint."""
        return self._digest((*_FLOATING, *_FLAGS))

    @cached_property
    def dynamics_fingerprint(self) -> str:
        """Return the fingerprint of everything but the rewards, which relabelling does not change."""
        return self._digest(name for name in (*_FLOATING, *_FLAGS) if name != "rewards")

    def _digest(self, names: Iterable[str]) -> str:
        digest = hashlib.sha256()
        for name in names:
            array = getattr(self, name)
            digest.update(f"{name}{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        for space in (self.observation_space, self.action_space):
            if isinstance(space, Discrete):
                digest.update(f"discrete {space.n} {space.start}".encode())
            else:
                digest.update(np.stack([space.low, space.high]).astype(np.float32).tobytes())
        return digest.hexdigest()

    def episodes(self) -> Iterable[Episode]:
        """Yield the episodes in the order in which they were recorded."""
        start = 0
        for end in self.episode_ends:
            rows = slice(start, end + 1)
            yield Episode(
                observations=np.concatenate([self.observations[rows], self.next_observations[end : end + 1]]),
                actions=self.actions[rows],
                rewards=self.rewards[rows],
                terminated=bool(self.terminations[end]),
            )
            start = end + 1

    def locate(self, row: int) -> str:
        """Return the episode and the step of a row as text; both are counted from 0."""
        episode = int(np.searchsorted(self.episode_ends, row))
        first = 0 if episode == 0 else int(self.episode_ends[episode - 1]) + 1
        return f"episode {episode}, step {row - first}"

    @property
    def _is_discrete(self) -> bool:
        return isinstance(self.action_space, Discrete)

    def _names(self, role: str, count: int) -> list[str]:
        named = self.metadata.get("columns")
        names = named.get(role) if isinstance(named, Mapping) else None
        return [str(name) for name in names] if isinstance(names, list | tuple) and len(names) == count else []

    def _freeze(self, name: str, array: np.ndarray) -> None:
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    def _set_spaces(self) -> None:
        """Fill in the spaces that were not given, widen that of the observations, and refuse actions outside theirs."""
        seen: Any = self.observation_space
        seen = Box(-np.inf, np.inf, self.observations.shape[1:], np.float32) if seen is None else seen
        object.__setattr__(self, "observation_space", as_float32_box(seen, "observations"))
        chosen: Any = self.action_space
        chosen = checks.default_action_space(self.actions) if chosen is None else chosen
        object.__setattr__(self, "action_space", as_action_space(chosen, "actions"))
        for name, space in (("observations", self.observation_space), ("actions", self.action_space)):
            array = getattr(self, name)
            if space.shape != array.shape[1:]:
                raise DatasetError(f"{name}: found width {array.shape[1]}, but the space has shape {space.shape}.")
        observed = (self.observations, self.next_observations)
        object.__setattr__(
            self, "observation_space", checks.widened(self.observation_space, observed, self.observation_names)
        )
        checks.check_actions_inside(self.actions, self.action_space, self.locate)
        if self._is_discrete:
            self._freeze("actions", self.actions.astype(np.int64))
