"""Read the episodes of a Minari dataset's HDF5 file, without Minari.

Minari's own reader loads 11 of the 19 kinds of hostile arrays in the tests without an error, and asks for terabytes of
memory at 2 more. It also reads `infos`, which are not needed here. So this module checks every array before it reads
it. To read with Minari after these checks would double the time: for a million steps in 1,000 episodes, Minari takes
1.9 s, checks and reading here 1.9 s; for 20,000 episodes of 20 steps 22 s and 16 s (medians of five, one core).
"""

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

# The kinds of numbers that a field may hold. Other fields of an episode are ignored.
_FIELDS = {"actions": "fiu", "rewards": "fiu", "terminations": "biu", "truncations": "biu"}


def read_minari_episodes(path: Path, described: MinariMetadata, *, name: str) -> Transitions:
    """Read all episodes of ``main_data.hdf5``.

    If both flags of the last step are set, the episode terminated. If none is set, it was cut off.

    Args:
        path: The file. Links in it are not followed.
        described: The content of the dataset's ``metadata.json``.
        name: The dataset's id, for the metadata of the result.

    Raises:
        DatasetError: If the file is damaged or hostile, or contradicts `described`. The message names file, episode
            and field.
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
                **({} if described.is_vector else {"columns": {"observations": described.observation_names}}),
            },
        )


def _check_plausible(described: MinariMetadata, file_size: int) -> None:
    """Limit the size of all episodes together, since one stored episode can have many names."""
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
    # Floats are refused as discrete actions: 0.5 would silently become 0.
    kinds = {**_FIELDS, "actions": "iu"} if discrete else _FIELDS
    found = {}
    for field in _FIELDS:
        array = plain_array(group, field, kinds=kinds[field])
        if array is None:
            raise DatasetError(f"{field}: missing; expected the fields observations, {', '.join(_FIELDS)}.")
        found[field] = array
    steps = (*found["actions"].shape, 0)[0]
    if steps == 0:
        raise DatasetError(f"actions: found the shape {found['actions'].shape}, expected at least one action.")
    observations = _read_observations(group, described, steps + 1)
    for field, array in found.items():
        shape = (steps, *(described.action_space.shape or ())) if field == "actions" else (steps,)
        if array.shape != shape:
            raise DatasetError(f"{field}: found the shape {array.shape}, expected {shape} for {steps} actions.")
    terminated, truncated = (
        as_flags(found[field].read(), partial("{}, step {}".format, field)) for field in ("terminations", "truncations")
    )
    early = np.flatnonzero((terminated | truncated)[:-1])
    if len(early):
        raise DatasetError(f"flagged as ended at step {early[0]} of {steps}; expected no flag before the last step.")
    return Episode(
        observations=observations,
        actions=found["actions"].read(np.int64 if discrete else np.float32),
        rewards=found["rewards"].read(np.float32),
        terminated=bool(terminated[-1]),
    )


def _read_observations(group: h5py.Group, described: MinariMetadata, length: int) -> np.ndarray:
    """Read the parts of the observations and join them, shape ``(length, observation)``."""
    joined = []
    for part in described.parts:
        parent: h5py.Group | None = group
        for name in part.path[:-1]:
            parent = parent and plain_group(parent, name)
        # A flag can be a part of an observation, but a vector of flags is none.
        kinds = "iu" if part.first is not None else "fiu" if described.is_vector else "fiub"
        array = parent and plain_array(parent, part.path[-1], kinds=kinds)
        where, expected = "/".join(part.path), (length, *part.shape)
        if not array:
            raise DatasetError(f"{where}: missing; expected an array of the shape {expected}.")
        if array.shape != expected:
            raise DatasetError(f"{where}: found the shape {array.shape}, expected {expected} for {length - 1} actions.")
        joined.append(part.columns(array.read(np.int64 if part.first is not None else np.float32)))
    return np.concatenate(joined, axis=1)
