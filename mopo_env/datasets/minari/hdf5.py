"""The episodes in a Minari dataset's HDF5 file, read without Minari: each array is checked before it is read.

Minari's own reader loads 11 of the 19 kinds of hostile arrays in the tests without a word, and asks for terabytes of
memory at 2 more. It also reads `infos`, which are not needed here and may be anything. So every array has to be checked
first, and a checked array is read by one more call. To read it with Minari would add Minari's whole time: 1.9 s for a
million steps in 1,000 episodes, where checks and reading take 1.9 s here, and 22 s for 20,000 episodes of 20 steps,
where they take 16 s (medians of five, one core).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import h5py
import numpy as np
from gymnasium.spaces import Discrete

from mopo_env.datasets.hdf5 import LARGEST_RATIO, open_hdf5, plain_array, plain_group
from mopo_env.datasets.minari.metadata import MinariMetadata
from mopo_env.datasets.rows import as_flags
from mopo_env.errors import DatasetError
from mopo_env.transitions import Episode, Transitions

__all__ = ["read_minari_episodes"]

# Which kinds of numbers a field may hold; an episode's `infos` are never looked at.
_FIELDS = {"observations": "fiu", "actions": "fiu", "rewards": "fiu", "terminations": "biu", "truncations": "biu"}


def read_minari_episodes(path: Path, described: MinariMetadata, *, name: str) -> Transitions:
    """Read all episodes of ``main_data.hdf5``.

    An episode whose last step is flagged as a termination terminated, also if it is flagged as a truncation as well.
    An episode with neither flag was cut off.

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
        _check_plausible(described, path.stat().st_size)
        episodes, steps = [], 0
        for index in range(described.total_episodes):
            try:
                episodes.append(_read_episode(file, f"episode_{index}", described))
                steps += len(episodes[-1].rewards)
                if steps > described.total_steps:
                    raise DatasetError(f"found {steps:,} steps so far, but the metadata say {described.total_steps:,}.")
            except DatasetError as error:
                raise DatasetError(f"episode {index}: {error}") from error
        if steps != described.total_steps:
            raise DatasetError(
                f"its {len(episodes):,} episodes hold {steps:,} steps, but the metadata say {described.total_steps:,}. "
                "Episodes are missing, or the metadata are damaged."
            )
        return Transitions.from_episodes(
            episodes,
            observation_space=described.observation_space,
            action_space=described.action_space,
            metadata={
                "name": name,
                "minari_version": described.minari_version,
                "real_env_id": described.real_env_id,
            },
        )


def _check_plausible(described: MinariMetadata, file_size: int) -> None:
    """Limit all episodes together: one stored episode can bear many names."""
    steps = described.total_steps
    numbers = sum(described.observation_space.shape or ()) + sum(described.action_space.shape or (1,)) + 1
    if steps * numbers > file_size * LARGEST_RATIO:
        raise DatasetError(
            f"the metadata say {steps:,} steps of {numbers} numbers, which the file's {file_size:,} bytes cannot hold. "
            "The metadata are damaged or made to exhaust memory."
        )


def _read_episode(file: h5py.File, name: str, described: MinariMetadata) -> Episode:
    group = plain_group(file, name)
    if group is None:
        raise DatasetError(f"{name}: missing; found {', '.join(sorted(map(repr, file))[:5])}.")
    discrete = isinstance(described.action_space, Discrete)
    # Read as integers, 0.5 would silently become 0.
    kinds = {**_FIELDS, "actions": "iu"} if discrete else _FIELDS
    arrays = {field: plain_array(group, field, kinds=kinds[field]) for field in _FIELDS}
    found = {field: array for field, array in arrays.items() if array is not None}
    for field in _FIELDS:
        if field not in found:
            raise DatasetError(f"{field}: missing; expected the fields {', '.join(_FIELDS)}.")
    steps = (*found["actions"].shape, 0)[0]
    if steps == 0:
        raise DatasetError(f"actions: found the shape {found['actions'].shape}, expected at least one action.")
    shapes = {
        "observations": (steps + 1, *described.observation_space.shape),
        "actions": (steps, *(described.action_space.shape or ())),
    }
    for field in _FIELDS:
        shape = shapes.get(field, (steps,))
        if found[field].shape != shape:
            raise DatasetError(f"{field}: found the shape {found[field].shape}, expected {shape} for {steps} actions.")
    terminated, truncated = (
        as_flags(found[field].read(), partial("{}, step {}".format, field)) for field in ("terminations", "truncations")
    )
    early = np.flatnonzero((terminated | truncated)[:-1])
    if len(early):
        raise DatasetError(f"flagged as ended at step {early[0]} of {steps}; expected no flag before the last step.")
    return Episode(
        observations=found["observations"].read(np.float32),
        actions=found["actions"].read(np.int64 if discrete else np.float32),
        rewards=found["rewards"].read(np.float32),
        terminated=bool(terminated[-1]),
    )
