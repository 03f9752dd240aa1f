"""Read Minari's `metadata.json`, without making or running anything that it names."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from mopo_env._utils.json_files import parse_json, read_regular_file
from mopo_env._utils.spaces import ActionSpace, as_action_space, as_float32_box
from mopo_env.datasets.minari.layout import MOST_COLUMNS, Part, parts_of
from mopo_env.errors import DatasetError, StoreError

# Bytes. Parsed, the worst JSON takes thirty times its size.
_LARGEST_FILE = 4_000_000
_KINDS = {str: "a string", int: "an integer"}
_CONVERT = (
    "Load it with Minari, and build Transitions.from_episodes(Episode(…) for episode in dataset.iterate_episodes()) "
    "from its arrays."
)
_FLATTEN = (
    "To join the parts of each observation into one vector, pass flatten=True to load_minari (--flatten): "
    "`mopo data import-minari ID --flatten --out FOLDER`."
)


@dataclass(frozen=True, kw_only=True)
class MinariMetadata:
    """The checked content of the file.

    Attributes:
        minari_version: Of the writer.
        real_env_id: The environment of the data, if it is named.
        total_episodes: Number of episodes.
        total_steps: Number of steps.
        observation_space: In float32, of the joined parts.
        parts: Of an observation; a vector is one part.
        is_vector: Whether an observation is a vector, whose columns have no names.
        action_space: In float32, or discrete.
        sha256: The checksum of the file.
    """

    minari_version: str
    real_env_id: str | None
    total_episodes: int
    total_steps: int
    observation_space: Box
    parts: tuple[Part, ...]
    is_vector: bool
    action_space: ActionSpace
    sha256: str

    @property
    def observation_names(self) -> list[str]:
        """Return the names of the columns of an observation."""
        return [name for part in self.parts for name in part.names]


def read_minari_metadata(path: Path, *, flatten: bool = False) -> MinariMetadata:
    """Read and check `metadata.json`.

    Args:
        path: The file.
        flatten: Accept observations that are no vectors, and make columns of their parts.

    Raises:
        DatasetError: If it is damaged or incomplete, or describes data of another kind; the message names the field.
    """
    try:
        if not path.is_file():
            raise DatasetError("found no file.")
        body = read_regular_file(path, largest=_LARGEST_FILE)
        raw = parse_json(body, any_text=True)  # its author may describe the data with any characters
        version, data_format = _field(raw, "minari_version", str), _field(raw, "data_format", str)
        # All versions 0.x that write this file use the same layout. Later versions may differ.
        if not version.startswith("0."):
            raise DatasetError(f"minari_version: found {version!r}, expected 0.x. Upgrade mopo-env. Or: {_CONVERT}")
        if data_format != "hdf5":
            raise DatasetError(f"data_format: found {data_format!r}, expected 'hdf5'. {_CONVERT}")
        parts, is_vector = _observation(raw, flatten)
        return MinariMetadata(
            minari_version=version,
            real_env_id=_env_id(raw),
            total_episodes=_count(raw, "total_episodes"),
            total_steps=_count(raw, "total_steps"),
            observation_space=_as_box(parts, "observation_space"),
            parts=parts,
            is_vector=is_vector,
            action_space=_action_space(raw),
            sha256=hashlib.sha256(body).hexdigest(),
        )
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    except StoreError as error:
        raise DatasetError(str(error)) from error
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
    name = _inner(raw, "env_spec").get("id")
    if not isinstance(name, str):
        raise DatasetError("env_spec: found no id in it, expected the description of an environment.")
    return name


def _action_space(raw: dict[str, Any]) -> ActionSpace:
    space = _space(raw, "action_space")
    if space.get("type") != "Discrete":
        _check_vector(space, "action_space", "a one-dimensional Box or Discrete")
        return _as_box(parts_of(space, "actions", "action_space"), "action_space")
    count, first = space.get("n"), space.get("start", 0)
    if type(count) is not int or type(first) is not int or count < 1 or max(count, abs(first)) > 2**31:
        raise DatasetError(
            f"action_space: found {str(count)[:20]} discrete actions from {str(first)[:20]} on, expected two integers."
        )
    return as_action_space(Discrete(count, start=first), "action_space")


def _observation(raw: dict[str, Any], flatten: bool) -> tuple[tuple[Part, ...], bool]:
    """Return the parts of an observation, and whether it is a vector."""
    space, name = _space(raw, "observation_space"), "observation_space"
    try:
        _check_vector(space, name, "a one-dimensional Box")
    except DatasetError as error:
        if not flatten:
            raise DatasetError(f"{error} {_FLATTEN}") from error
        parts = parts_of(space, "observations", "observations")
        columns = sum(len(part.names) for part in parts)
        if not 0 < columns <= MOST_COLUMNS:
            raise DatasetError(f"{name}: found {columns:,} columns, expected 1 to {MOST_COLUMNS:,}.") from error
        return parts, False
    return parts_of(space, "observations", name), True


def _inner(raw: dict[str, Any], name: str) -> dict[str, Any]:
    """Parse a field whose text is JSON in turn."""
    text = _field(raw, name, str)
    try:
        return parse_json(text.encode(), infinities=True)  # Minari writes them for spaces without bounds
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{name}: cannot be read: {type(error).__name__}: {error}. The file is damaged.") from error


def _space(raw: dict[str, Any], name: str) -> dict[str, Any]:
    if name not in raw:
        raise DatasetError(
            f"{name}: missing. Minari would make the environment that the file names to find the space. This would run "
            f"code that the file chooses, so it is refused. Add the space to the file. Or: {_CONVERT}"
        )
    return _inner(raw, name)


def _check_vector(space: dict[str, Any], name: str, expected: str) -> None:
    shape = space.get("shape")
    if space.get("type") != "Box":
        raise DatasetError(f"{name}: found {str(space.get('type') or space)[:80]!r}, expected {expected}.")
    if not isinstance(shape, list) or len(shape) != 1:
        raise DatasetError(f"{name}: found the shape {str(shape)[:80]}, expected one width.")


def _as_box(parts: tuple[Part, ...], name: str) -> Box:
    low, high = (np.concatenate([getattr(part, end) for part in parts]) for end in ("low", "high"))
    try:
        return as_float32_box(Box(low, high, dtype=np.float64), name)
    except (AssertionError, ValueError) as error:
        raise DatasetError(f"{name}: found invalid bounds: {error}.") from error
