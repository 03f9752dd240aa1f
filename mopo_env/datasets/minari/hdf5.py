"""The episodes in a Minari dataset's HDF5 file, read without Minari: each array is checked before it is read."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from gymnasium.spaces import Discrete

from mopo_env.datasets.hdf5 import LARGEST_RATIO, PlainArray, open_hdf5, plain_array, plain_group
from mopo_env.datasets.minari.metadata import MinariMetadata
from mopo_env.errors import DatasetError
from mopo_env.transitions import Transitions

__all__ = ["read_minari_episodes"]

# Which kinds of numbers a field may hold; an episode's `infos` are never looked at.
_FIELDS = {"observations": "fiu", "actions": "fiu", "rewards": "fiu", "terminations": "biu", "truncations": "biu"}


def read_minari_episodes(path: Path, described: MinariMetadata, *, name: str) -> Transitions:
    """Read all episodes of ``main_data.hdf5``.

    The last step of an episode is a termination if it is flagged as one, also where it is flagged as truncated as
    well; an episode that is flagged as neither was cut off.

    Args:
        path: The file; only what is stored in it is read, and no link is followed.
        described: What the dataset's ``metadata.json`` says of it.
        name: The dataset's id, for the metadata of the result.

    Raises:
        DatasetError: If the file is damaged or hostile, or does not agree with `described`; the message names file,
            episode and field.
    """
    with open_hdf5(path) as file:
        if len(file) != described.total_episodes:
            raise DatasetError(
                f"found {len(file):,} episodes, but the metadata say {described.total_episodes:,}. Episodes are "
                "missing, or the metadata are damaged."
            )
        numbers = described.observation_space.shape[0] + sum(described.action_space.shape or (1,))
        _check_plausible(described.total_steps, numbers, path.stat().st_size)
        reader = _Reader(described)
        for index in range(described.total_episodes):
            try:
                reader.add(_group(file, f"episode_{index}"))
            except DatasetError as error:
                raise DatasetError(f"episode {index}: {error}") from error
        return reader.transitions(described, name)


class _Reader:
    """Arrays of the declared size, filled episode by episode: joining the parts at the end would hold all twice."""

    def __init__(self, described: MinariMetadata) -> None:
        steps, observation_dim = described.total_steps, described.observation_space.shape[0]
        numbered = isinstance(described.action_space, Discrete)
        self._rows = 0
        self._steps = steps
        # Converted to integers on the way, 0.5 would silently become 0.
        self._kinds = {**_FIELDS, "actions": "iu"} if numbered else _FIELDS
        self._arrays = {
            "observations": np.empty((steps, observation_dim), dtype=np.float32),
            "actions": np.empty(
                (steps, *(described.action_space.shape or ())), dtype=np.int64 if numbered else np.float32
            ),
            "rewards": np.empty(steps, dtype=np.float32),
            "next_observations": np.empty((steps, observation_dim), dtype=np.float32),
            "terminations": np.zeros(steps, dtype=bool),
            "truncations": np.zeros(steps, dtype=bool),
        }

    def add(self, group: h5py.Group) -> None:
        """Read an episode."""
        found = {name: _array(group, name, kinds) for name, kinds in self._kinds.items()}
        dimensions = {name: array.ndim for name, array in self._arrays.items()}
        steps = _check_lengths({name: array.shape for name, array in found.items()}, dimensions)
        rows = slice(self._rows, self._rows + steps)
        if rows.stop > self._steps:
            raise DatasetError(f"the steps up to here are more than the {self._steps:,} that the metadata say.")
        for name in ("observations", "actions"):
            expected = self._arrays[name].shape[1:]
            if found[name].shape[1:] != expected:
                raise DatasetError(f"{name}: found the shape {found[name].shape}, but the space has shape {expected}.")
        observations = np.empty(found["observations"].shape, dtype=np.float32)
        found["observations"].read_into(observations)
        self._arrays["observations"][rows] = observations[:-1]
        self._arrays["next_observations"][rows] = observations[1:]
        for name in ("actions", "rewards"):
            found[name].read_into(self._arrays[name][rows])
        terminated, truncated = (_flags(name, found[name]) for name in ("terminations", "truncations"))
        early = np.flatnonzero((terminated | truncated)[:-1])
        if len(early):
            raise DatasetError(f"flagged as ended at step {early[0]} of {steps}; expected no flag before the last.")
        self._arrays["terminations"][rows.stop - 1] = terminated[-1]
        self._arrays["truncations"][rows.stop - 1] = not terminated[-1]
        self._rows = rows.stop

    def transitions(self, described: MinariMetadata, name: str) -> Transitions:
        """Return what was read, once all of it is there."""
        if self._rows != self._steps:
            raise DatasetError(
                f"its {described.total_episodes:,} episodes hold {self._rows:,} steps, but the metadata say "
                f"{self._steps:,}. Episodes are missing, or the metadata are damaged."
            )
        for array in self._arrays.values():
            array.setflags(write=False)
        return Transitions(
            **self._arrays,
            observation_space=described.observation_space,
            action_space=described.action_space,
            metadata={
                "name": name,
                "minari_version": described.minari_version,
                "real_env_id": described.real_env_id,
            },
        )


def _check_plausible(steps: int, numbers: int, file_size: int) -> None:
    """Refuse a number of steps that the file cannot hold, before arrays of that size are made."""
    if steps * (numbers + 1) > file_size * LARGEST_RATIO:
        raise DatasetError(
            f"the metadata say {steps:,} steps of {numbers + 1} numbers, which the file's {file_size:,} bytes cannot "
            "hold. The metadata are damaged or made to exhaust memory."
        )


def _group(file: h5py.File, name: str) -> h5py.Group:
    group = plain_group(file, name)
    if group is None:
        raise DatasetError(f"{name}: missing; found {', '.join(sorted(map(repr, file))[:5])}.")
    return group


def _array(group: h5py.Group, name: str, kinds: str) -> PlainArray:
    array = plain_array(group, name, kinds=kinds)
    if array is None:
        raise DatasetError(f"{name}: missing; expected the fields {', '.join(_FIELDS)}.")
    return array


def _check_lengths(shapes: dict[str, tuple[int, ...]], dimensions: dict[str, int]) -> int:
    for name, shape in shapes.items():
        if len(shape) != dimensions[name]:
            raise DatasetError(f"{name}: found the shape {shape}, expected {dimensions[name]} dimensions.")
    observations, steps, rewards, terminations, truncations = (shape[0] for shape in shapes.values())
    if steps == 0 or (observations, rewards) != (steps + 1, steps):
        raise DatasetError(
            f"found {observations} observations, {steps} actions and {rewards} rewards; expected one observation more "
            "than actions, as many rewards as actions, and at least one action."
        )
    if not terminations == truncations == steps:
        raise DatasetError(
            f"found {terminations} terminations and {truncations} truncations for {steps} steps; expected one of each "
            "for every step."
        )
    return steps


def _flags(name: str, array: PlainArray) -> np.ndarray:
    values = array.read()
    if array.kind != "b" and not np.isin(values, (0, 1)).all():
        raise DatasetError(f"{name}: found {values}, expected booleans or zeros and ones.")
    return values.astype(bool, copy=False)
