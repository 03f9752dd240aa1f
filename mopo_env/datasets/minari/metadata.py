"""Read Minari's `metadata.json`, without making or running anything that it names."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from mopo_env._utils.json_files import parse_json, read_regular_file
from mopo_env._utils.spaces import ActionSpace, as_action_space, as_float32_box
from mopo_env.datasets.minari.layout import Part, parts_of
from mopo_env.errors import DatasetError, StoreError

__all__ = ["MinariMetadata", "read_minari_metadata"]

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
        parts: Of an observation; none if it is a vector.
        action_space: In float32, or discrete.
        sha256: The checksum of the file.
    """

    minari_version: str
    real_env_id: str | None
    total_episodes: int
    total_steps: int
    observation_space: Box
    parts: tuple[Part, ...]
    action_space: ActionSpace
    sha256: str


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
        observation_space, parts = _observation(raw, flatten)
        return MinariMetadata(
            minari_version=version,
            real_env_id=_env_id(raw),
            total_episodes=_count(raw, "total_episodes"),
            total_steps=_count(raw, "total_steps"),
            observation_space=observation_space,
            parts=parts,
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
        return _box(raw, "action_space", "a one-dimensional Box or Discrete")
    count, first = space.get("n"), space.get("start", 0)
    if type(count) is not int or type(first) is not int or count < 1 or max(count, abs(first)) > 2**31:
        raise DatasetError(
            f"action_space: found {str(count)[:20]} discrete actions from {str(first)[:20]} on, expected two integers."
        )
    return as_action_space(Discrete(count, start=first), "action_space")


def _observation(raw: dict[str, Any], flatten: bool) -> tuple[Box, tuple[Part, ...]]:
    space, name = _space(raw, "observation_space"), "observation_space"
    shape = space.get("shape") if space.get("type") == "Box" else None
    if isinstance(shape, list) and len(shape) == 1:
        return _box(raw, name), ()
    if not flatten:
        try:
            return _box(raw, name), ()
        except DatasetError as error:
            raise DatasetError(f"{error} {_FLATTEN}") from error
    parts = parts_of(space, "observations")
    bounds = [np.concatenate([getattr(part, end) for part in parts]) for end in ("low", "high")]
    return _as_box(bounds, name), parts


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


def _box(raw: dict[str, Any], name: str, expected: str = "a one-dimensional Box") -> Box:
    space = _space(raw, name)
    kind = space.get("type")
    if kind != "Box":
        raise DatasetError(f"{name}: found {kind or str(space)[:80]!r}, expected {expected}.")
    described: list[Any] = [space.get(key) for key in ("shape", "low", "high")]
    shape, low, high = described
    # The lists are compared before an array is made, since a forged shape can ask for any amount of memory.
    fits = isinstance(shape, list) and len(shape) == 1 and isinstance(low, list) and isinstance(high, list)
    if not fits or not 0 < shape[0] == len(low) == len(high):
        raise DatasetError(
            f"{name}: found the shape {str(shape)[:80]}, expected one width, and as many bounds as this width."
        )
    return _as_box([low, high], name)


def _as_box(bounds: Any, name: str) -> Box:
    try:
        low, high = np.array(bounds, dtype=np.float64)
        return as_float32_box(Box(low, high, dtype=np.float64), name)
    except (AssertionError, TypeError, ValueError) as error:
        raise DatasetError(f"{name}: found invalid bounds: {error}.") from error
