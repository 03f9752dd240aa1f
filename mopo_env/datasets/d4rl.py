"""Read D4RL's HDF5 files of the gym-mujoco tasks, in all versions (https://github.com/Farama-Foundation/D4RL)."""

import hashlib
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from mopo_env._utils.options import check_integer
from mopo_env.datasets.hdf5 import PlainArray, open_hdf5, plain_array, plain_strings
from mopo_env.datasets.rows import as_flags, check_finite, transitions_from_rows
from mopo_env.errors import ConfigError, DatasetError
from mopo_env.transitions import Transitions

# The kinds of numbers that a field may hold. Flags are booleans, bytes or floats, depending on the file's version.
_REQUIRED = {"observations": "fiu", "actions": "fiu", "rewards": "fiu", "terminals": "biuf"}
_OPTIONAL = {"timeouts": "biuf", "next_observations": "fiu"}
_VECTORS = ("observations", "actions", "next_observations")


def load_d4rl(
    path: Path | str,
    *,
    action_space: Box | None = None,
    max_episode_steps: int | None = None,
    sha256: str | None = None,
) -> Transitions:
    """Read a D4RL file such as ``hopper_medium-v2.hdf5``.

    A row flagged in `timeouts` is a truncation, or a termination if it is also terminal. Files of v0 have no
    `timeouts`: there, an episode also ends with its `max_episode_steps`-th row, as in D4RL. (D4RL's own loop counts a
    terminal row as part of the next episode, which it therefore cuts one row early.)

    Files of v1 and v2 hold `next_observations`, and every row is kept. Other files do not hold the next state of an
    episode's last row, so this row is dropped. D4RL's own `qlearning_dataset` uses the start of the next episode.

    Args:
        path: The file. Links in it are not followed.
        action_space: Default: the box from −1 to 1, which all gym-mujoco tasks have.
        max_episode_steps: The time limit for files without `timeouts`; default: 1000, as in gym-mujoco.
        sha256: The SHA-256 that the file must have; default: any.

    Returns:
        The transitions in the order of the file. `metadata` has the file's name and SHA-256, the number of dropped
        rows, the task of the file's name (``"task"``), and the strings of the file's own group ``metadata``
        (``"d4rl"``). If D4RL published this file, ``"d4rl_file"`` is its name there.

    Raises:
        DatasetError: If the file is missing, damaged or hostile, has another SHA-256, or lacks a field. The message
            names file and field.
        ConfigError: If `max_episode_steps` is not a positive integer, or `sha256` is not a SHA-256.
    """
    path = Path(path)
    steps = 1000 if max_episode_steps is None else check_integer("max_episode_steps", max_episode_steps)
    metadata: dict[str, Any] = {"name": path.stem, "source": "D4RL HDF5", "sha256": check_sha256(path, sha256)}
    published = [name for name, digest in D4RL_FILES.items() if digest == metadata["sha256"]]
    if published:
        metadata["d4rl_file"] = published[0]
    metadata["task"] = d4rl_task(published[0] if published else path.name)
    with open_hdf5(path) as file:
        arrays = _read(file)
        for name in arrays.keys() & {"terminals", "timeouts"}:
            arrays[name] = as_flags(arrays[name], partial("{}, row {}".format, name))
        terminated, limits = arrays["terminals"], arrays.get("timeouts")
        return transitions_from_rows(
            observations=arrays["observations"],
            actions=arrays["actions"],
            rewards=arrays["rewards"],
            next_observations=arrays.get("next_observations"),
            terminated=terminated,
            truncated=_time_limits(terminated, steps) if limits is None else limits,
            action_space=action_space,
            metadata={**metadata, "d4rl": plain_strings(file, "metadata")},
        )


def action_width(path: Path | str) -> int:
    """Return the width of a file's actions, without reading them.

    Raises:
        DatasetError: If the file is missing, damaged or hostile, or has no actions.
    """
    with open_hdf5(path) as file:
        array = plain_array(file, "actions", kinds=_REQUIRED["actions"])
        if array is None or len(array.shape) != 2:
            raise DatasetError("actions: found no array of the shape (rows, width).")
        return array.shape[1]


def _read(file: Any) -> dict[str, np.ndarray]:
    found = {name: plain_array(file, name, kinds=kinds) for name, kinds in (_REQUIRED | _OPTIONAL).items()}
    missing = [name for name in _REQUIRED if found[name] is None]
    if missing:
        raise DatasetError(
            f"{missing[0]}: missing; expected the fields {', '.join(_REQUIRED)}, found "
            f"{', '.join(sorted(map(repr, file))[:20]) or 'none'}. This is not a D4RL file of a gym-mujoco task."
        )
    arrays = {name: _values(name, array) for name, array in found.items() if array is not None}
    rows = len(arrays["observations"])
    for name, values in arrays.items():
        if len(values) != rows:
            raise DatasetError(f"{name}: found {len(values)} rows, but observations has {rows}.")
    return arrays


def _values(name: str, array: PlainArray) -> np.ndarray:
    values = array.read()
    if name not in _VECTORS and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]  # some files keep these as columns
    expected = "(rows, width)" if name in _VECTORS else "(rows,)"
    if values.ndim != (2 if name in _VECTORS else 1):
        raise DatasetError(f"{name}: found the shape {values.shape}, expected {expected}.")
    check_finite(values, partial("{}, row {}".format, name))
    return values


def _time_limits(terminated: np.ndarray, max_episode_steps: int) -> np.ndarray:
    """Flag the rows that reach the time limit, counted from the start or from the last termination."""
    rows = np.arange(len(terminated))
    starts = np.zeros(len(terminated), dtype=int)
    starts[1:] = np.where(terminated[:-1], rows[1:], 0)
    flags: np.ndarray = (rows - np.maximum.accumulate(starts)) % max_episode_steps == max_episode_steps - 1
    return flags


D4RL_FILES: dict[str, str] = json.loads((Path(__file__).parent / "d4rl_files.json").read_bytes())
"""The gym-mujoco files that D4RL published, and their SHA-256.

The checksums are those that TensorFlow Datasets lists for its downloads from D4RL's server, in `checksums.tsv` of
`d4rl_mujoco_halfcheetah`, `d4rl_mujoco_hopper` and `d4rl_mujoco_walker2d`
(https://github.com/tensorflow/datasets/tree/master/tensorflow_datasets/d4rl).
"""

_NAME = re.compile(r"(halfcheetah|hopper|walker2d|walker)_([a-z_]+)(?:-v\d)?\.hdf5")
# The paper's names of D4RL's recipes. The paper does not use "expert" and "full_replay".
_RECIPES = {
    "random": "random",
    "medium": "medium",
    "mixed": "mixed",
    "medium_replay": "mixed",
    "medium_expert": "med-expert",
}


def d4rl_task(file_name: str) -> str | None:
    """Return the name of the task that a D4RL file belongs to by its name, or None."""
    found = _NAME.fullmatch(file_name)
    if found is None or found[2] not in _RECIPES:
        return None
    return f"{'walker2d' if found[1] == 'walker' else found[1]}-{_RECIPES[found[2]]}"


def check_sha256(path: Path, expected: str | None = None) -> str:
    """Return the SHA-256 of a file, in lower-case hexadecimal digits.

    Raises:
        DatasetError: If there is no such file, or its checksum is not the expected one.
        ConfigError: If `expected` is not a SHA-256.
    """
    if expected is not None and re.fullmatch(r"[0-9a-fA-F]{64}", expected) is None:
        raise ConfigError(f"sha256: found {expected!r}, expected 64 hexadecimal digits.")
    try:
        if not path.is_file():
            raise DatasetError(f"{path}: no such file.")
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error}.") from error
    if expected is not None and found != expected.lower():
        raise DatasetError(
            f"{path}: found the SHA-256 {found}, expected {expected.lower()}. The file is incomplete, damaged or "
            "not the one you want; fetch it again."
        )
    return found
