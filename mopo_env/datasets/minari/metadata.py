"""What Minari's `metadata.json` says of a dataset. It is read as data: nothing that it names is made or run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from mopo_env._utils.spaces import ActionSpace, as_action_space, as_float32_box
from mopo_env.errors import DatasetError

__all__ = ["MinariMetadata", "read_minari_metadata"]

_LARGEST_FILE = 10_000_000
_KINDS = {str: "a string", int: "an integer"}
_CONVERT = (
    "Load it with Minari, and build Transitions.from_episodes(Episode(…) for episode in dataset.iterate_episodes()) "
    "from its arrays."
)


@dataclass(frozen=True, kw_only=True)
class MinariMetadata:
    """What is needed to read a dataset, and where it comes from.

    Attributes:
        minari_version: The version of Minari that wrote it.
        real_env_id: The id of the recorded environment. It is only a name; the environment is never made.
        total_episodes: The declared number of episodes.
        total_steps: The declared number of transitions.
        observation_space: As declared, in float32.
        action_space: As declared; a box is in float32.
        sha256: Checksum of the file, which tells whether it changed.
    """

    minari_version: str
    real_env_id: str | None
    total_episodes: int
    total_steps: int
    observation_space: Box
    action_space: ActionSpace
    sha256: str


def read_minari_metadata(path: Path) -> MinariMetadata:
    """Read and check `metadata.json`.

    Raises:
        DatasetError: If it is damaged or incomplete, or describes data of another kind; the message names the field.
    """
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            raise DatasetError(f"found no file, or one of more than {_LARGEST_FILE:,} bytes.")
        body = path.read_bytes()
        raw = json.loads(body)
        if not isinstance(raw, dict):
            raise DatasetError(f"found a {type(raw).__name__}, expected an object of JSON.")
        version, data_format = _field(raw, "minari_version", str), _field(raw, "data_format", str)
        # All versions 0.x that write this file agree on the layout. Later versions may not.
        if not version.startswith("0."):
            raise DatasetError(f"minari_version: found {version!r}, expected 0.x. Upgrade mopo-env. Or: {_CONVERT}")
        if data_format != "hdf5":
            raise DatasetError(f"data_format: found {data_format!r}, expected 'hdf5'. {_CONVERT}")
        return MinariMetadata(
            minari_version=version,
            real_env_id=_env_id(raw),
            total_episodes=_count(raw, "total_episodes"),
            total_steps=_count(raw, "total_steps"),
            observation_space=_box(raw, "observation_space"),
            action_space=_action_space(raw),
            sha256=hashlib.sha256(body).hexdigest(),
        )
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise DatasetError(f"{path}: cannot be read: {type(error).__name__}: {error}. The file is damaged.") from error


def _field(raw: dict[str, Any], name: str, kind: type) -> Any:
    if name not in raw:
        raise DatasetError(f"{name}: missing. The file is damaged, or was not written by Minari.")
    value = raw[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DatasetError(f"{name}: found {str(value)[:80]!r}, expected {_KINDS[kind]}.")
    return value


def _count(raw: dict[str, Any], name: str) -> int:
    count: int = _field(raw, name, int)
    if count < 1:
        raise DatasetError(f"{name}: found {count}, expected at least 1: the dataset has no episodes.")
    return count


def _env_id(raw: dict[str, Any]) -> str | None:
    if raw.get("env_spec") is None:
        return None
    spec = json.loads(_field(raw, "env_spec", str))
    name = spec.get("id") if isinstance(spec, dict) else None
    if not isinstance(name, str):
        raise DatasetError("env_spec: found no id in it, expected the description of an environment.")
    return name


def _action_space(raw: dict[str, Any]) -> ActionSpace:
    text = raw.get("action_space")
    space = json.loads(text) if isinstance(text, str) else None
    if not isinstance(space, dict) or space.get("type") != "Discrete":
        return _box(raw, "action_space", "a one-dimensional Box or Discrete")
    count, first = space.get("n"), space.get("start", 0)
    if type(count) is not int or type(first) is not int or count < 1 or max(count, abs(first)) > 2**31:
        raise DatasetError(
            f"action_space: found {str(count)[:20]} discrete actions from {str(first)[:20]} on, expected two integers."
        )
    return as_action_space(Discrete(count, start=first), "action_space")


def _box(raw: dict[str, Any], name: str, expected: str = "a one-dimensional Box") -> Box:
    if name not in raw:
        raise DatasetError(
            f"{name}: missing. Minari would make the environment that the file names to find the space. This runs code "
            "of the file's choice, so it is refused. Add the space to the file, or load the dataset with Minari "
            "yourself and build Transitions from its episodes."
        )
    text = _field(raw, name, str)
    space = json.loads(text)
    kind = space.get("type") if isinstance(space, dict) else None
    if kind != "Box":
        raise DatasetError(f"{name}: found {kind or text[:80]!r}, expected {expected}.")
    shape, low, high = (space.get(key) for key in ("shape", "low", "high"))
    # The lists are compared before an array is made, since a shape alone can ask for any amount of memory.
    fits = isinstance(shape, list) and len(shape) == 1 and isinstance(low, list) and isinstance(high, list)
    if not fits or not 0 < shape[0] == len(low) == len(high):
        raise DatasetError(
            f"{name}: found the shape {str(shape)[:80]}, expected one width, and as many bounds as it says."
        )
    try:
        bounds = np.array([low, high], dtype=np.float64)
        return as_float32_box(Box(bounds[0], bounds[1], dtype=np.float64), name)
    except (AssertionError, TypeError, ValueError) as error:
        raise DatasetError(f"{name}: found invalid bounds: {error}.") from error
