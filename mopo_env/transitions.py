"""`Transitions`: the one in-memory form of a dataset, D_env in the paper."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from mopo_env._utils.spaces import ActionSpace, as_action_space, as_float32_box, encoded_width, number_range
from mopo_env.errors import DatasetError, DataWarning

__all__ = ["Episode", "Transitions"]

_FLOATING = ("observations", "actions", "rewards", "next_observations")
_FLAGS = ("terminations", "truncations")
# float32 rounding may carry an action that sat on a bound just past it.
_BOUND_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One recorded episode, in raw units.

    Attributes:
        observations: Shape ``(steps + 1, observation)``; the last one follows the last action.
        actions: Shape ``(steps, action)``, or ``(steps,)`` for discrete actions.
        rewards: Shape ``(steps,)``.
        terminated: Whether the last step reached a terminal state. If not, the episode was cut off.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool = False


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
            convert = _as_column if self._is_discrete and name == "actions" else _as_float32
            self._freeze(name, convert(name, getattr(self, name)))
        for name in _FLAGS:
            self._freeze(name, _as_flags(name, getattr(self, name)))
        self._check_shapes()
        for name in _FLOATING:
            self._check_finite(name)
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
        episodes = list(episodes)
        if not episodes:
            raise DatasetError("the dataset has no episodes; at least two transitions are needed.")
        for index, episode in enumerate(episodes):
            steps = len(episode.actions)
            found = (len(episode.observations), steps, len(episode.rewards))
            if steps == 0 or found != (steps + 1, steps, steps):
                raise DatasetError(
                    f"episode {index}: found {found[0]} observations, {found[1]} actions and {found[2]} rewards; "
                    "expected one observation more than actions, as many rewards as actions, and at least one action."
                )
        ends = np.cumsum([len(episode.actions) for episode in episodes]) - 1
        terminations = np.zeros(ends[-1] + 1, dtype=bool)
        truncations = np.zeros(ends[-1] + 1, dtype=bool)
        terminated = np.array([episode.terminated for episode in episodes], dtype=bool)
        terminations[ends], truncations[ends] = terminated, ~terminated
        return cls(
            observations=_join("observations", [episode.observations[:-1] for episode in episodes]),
            actions=_join("actions", [episode.actions for episode in episodes]),
            rewards=_join("rewards", [episode.rewards for episode in episodes]),
            next_observations=_join("observations", [episode.observations[1:] for episode in episodes]),
            terminations=terminations,
            truncations=truncations,
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

    def _check_shapes(self) -> None:
        rows = len(self.rewards) if self.rewards.ndim else 0
        vectors = {"observations": "observation", "actions": "action", "next_observations": "observation"}
        if self._is_discrete:
            del vectors["actions"]
        for name in (*_FLOATING, *_FLAGS):
            shape = getattr(self, name).shape
            if name in vectors and (len(shape) != 2 or shape[1] == 0):
                hint = " Discrete actions need action_space=gymnasium.spaces.Discrete(n)." * (name == "actions")
                raise DatasetError(f"{name}: found shape {shape}, expected (rows, {vectors[name]}).{hint}")
            if name not in vectors and len(shape) != 1:
                hint = f" of numbers in {self.action_space}" * (name == "actions")
                raise DatasetError(f"{name}: found shape {shape}, expected (rows,){hint}.")
        for name in (*_FLOATING, *_FLAGS):
            if len(getattr(self, name)) != rows:
                raise DatasetError(f"{name}: found {len(getattr(self, name))} rows, but rewards has {rows}.")
        if self.next_observations.shape != self.observations.shape:
            raise DatasetError(
                f"next_observations: found shape {self.next_observations.shape}, "
                f"but observations has {self.observations.shape}."
            )
        if rows < 2:
            raise DatasetError(
                f"found {rows} transition{'s' * (rows != 1)}; at least two are needed, one to fit and one to hold out."
            )

    def _check_finite(self, name: str) -> None:
        array = getattr(self, name)
        # NaN and infinity show in the smallest and largest value, so usually no mask of the data's size is needed.
        if np.isfinite(array.min()) and np.isfinite(array.max()):
            return
        finite = np.isfinite(array).reshape(len(array), -1)
        bad = np.flatnonzero(~finite.all(axis=1))
        row, column = int(bad[0]), int(finite[bad[0]].argmin())
        raise DatasetError(
            f"{name}: found {array.reshape(len(array), -1)[row, column]} at {self.locate(row)} (row {row}, column "
            f"{column}), and {len(bad)} such row{'s' * (len(bad) != 1)} in all; every value must be finite in float32. "
            "Drop or repair these rows."
        )

    def _default_action_space(self) -> Box:
        low, high = float(self.actions.min()), float(self.actions.max())
        if low < -1 - _BOUND_TOLERANCE or high > 1 + _BOUND_TOLERANCE:
            raise DatasetError(
                f"actions: found values from {low:.4g} to {high:.4g} and no action_space. The default box is −1 to 1; "
                "pass action_space=gymnasium.spaces.Box(low, high, shape) (--action-low and --action-high) with the "
                "bounds of your system."
            )
        return Box(-1.0, 1.0, self.actions.shape[1:], np.float32)

    def _set_spaces(self) -> None:
        """Fill in the spaces that were not given, widen that of the observations, and refuse actions outside theirs."""
        seen: Any = self.observation_space
        seen = Box(-np.inf, np.inf, self.observations.shape[1:], np.float32) if seen is None else seen
        object.__setattr__(self, "observation_space", as_float32_box(seen, "observations"))
        chosen: Any = self.action_space
        chosen = self._default_action_space() if chosen is None else chosen
        object.__setattr__(self, "action_space", as_action_space(chosen, "actions"))
        for name, space in (("observations", self.observation_space), ("actions", self.action_space)):
            array = getattr(self, name)
            if space.shape != array.shape[1:]:
                raise DatasetError(f"{name}: found width {array.shape[1]}, but the space has shape {space.shape}.")
        self._widen_observation_space()
        space = self.action_space
        if isinstance(space, Discrete):
            first, last = number_range(space)
            wrong = (self.actions < first) | (self.actions > last) | (self.actions != np.round(self.actions))
            self._refuse_actions(wrong, f"Expected whole numbers from {first} to {last}.")
            self._freeze("actions", self.actions.astype(np.int64))
        else:
            outside = (self.actions < space.low - _BOUND_TOLERANCE) | (self.actions > space.high + _BOUND_TOLERANCE)
            self._refuse_actions(outside.any(axis=1), "Clip them, or declare the true bounds.")

    def _widen_observation_space(self) -> None:
        """Make room for observations outside their space: predictions are clipped to it, and would lose them."""
        space, arrays = self.observation_space, (self.observations, self.next_observations)
        lowest = np.minimum(*(array.min(axis=0) for array in arrays))
        largest = np.maximum(*(array.max(axis=0) for array in arrays))
        columns = np.flatnonzero((lowest < space.low) | (largest > space.high))
        if len(columns) == 0:
            return
        column = int(columns[0])
        name, more = self.observation_names[column], f"; {len(columns)} columns in all" * (len(columns) > 1)
        warnings.warn(
            f"observations: {name} goes from {lowest[column]:g} to {largest[column]:g}, outside its declared "
            f"{space.low[column]:g} to {space.high[column]:g}{more}. The space was widened to hold them. If the "
            "declared bounds are right, clip or drop these rows.",
            DataWarning,
            stacklevel=4,
        )
        widened = Box(np.minimum(space.low, lowest), np.maximum(space.high, largest), dtype=np.float32)
        object.__setattr__(self, "observation_space", widened)

    def _refuse_actions(self, wrong: Any, remedy: str) -> None:
        rows = np.flatnonzero(wrong)
        if len(rows):
            raise DatasetError(
                f"actions: found {self.actions[rows[0]]} at {self.locate(rows[0])} (row {rows[0]}), outside "
                f"{self.action_space}; {len(rows)} such row{'s' * (len(rows) != 1)} in all. {remedy}"
            )


def _join(name: str, parts: list[np.ndarray]) -> np.ndarray:
    widths = {np.shape(part)[1:] for part in parts}
    if len(widths) != 1:
        raise DatasetError(f"{name}: the episodes differ in shape: {sorted(map(str, widths))} were found.")
    joined = np.concatenate(parts)
    joined.setflags(write=False)
    return joined


def _as_array(name: str, value: Any, expected: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DatasetError(f"{name}: found rows of different lengths, expected one array: {error}") from error
    if array.dtype.kind not in "fiub":
        raise DatasetError(f"{name}: found the type {array.dtype}, expected {expected}.")
    return array


def _as_float32(name: str, value: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        return _own(_as_array(name, value, "real numbers"), np.float32)


def _as_column(name: str, value: Any) -> np.ndarray:
    """Return discrete actions in the shape ``(rows,)``. Replay buffers and tables hold them as a column."""
    array = _as_array(name, value, "whole numbers for a Discrete action space")
    return np.array(array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array, order="C")


def _as_flags(name: str, value: Any) -> np.ndarray:
    expected = "booleans (or zeros and ones)"
    array = _as_array(name, value, expected)
    wrong = array[:0] if array.dtype == bool else array[~np.isin(array, (0, 1))]
    if len(wrong):
        raise DatasetError(f"{name}: found the value {wrong[0]}, expected {expected}.")
    return _own(array, np.bool_)


def _own(array: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """Return a copy, or the array itself if nobody else can change it. Datasets are large."""
    if array.dtype == dtype and array.flags.c_contiguous and _is_immutable(array):
        return array
    return np.array(array, dtype=dtype, order="C")


def _is_immutable(array: np.ndarray) -> bool:
    owner: Any = array
    while isinstance(owner, np.ndarray) and not owner.flags.writeable:
        owner = owner.base
    return owner is None or isinstance(owner, bytes)
