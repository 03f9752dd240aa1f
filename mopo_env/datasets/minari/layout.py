"""The parts of a Minari observation: where each is in the file, and which columns it becomes."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from mopo_env.errors import DatasetError

MOST_COLUMNS = 10_000
"""Columns of one-hot numbers, and of all parts together. Larger observations are images."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One array of an observation.

    Attributes:
        path: The names that lead to the array in the file.
        names: The names of its columns.
        shape: Of the array at one time.
        low: The lower bounds of the columns, shape ``(columns,)``, float64.
        high: The upper bounds of the columns.
        first: For a discrete number, the lowest one: it becomes one-hot. None for a box.
    """

    path: tuple[str, ...]
    names: tuple[str, ...]
    shape: tuple[int, ...]
    low: np.ndarray
    high: np.ndarray
    first: int | None = None

    def columns(self, values: np.ndarray) -> np.ndarray:
        """Return the array of an episode as columns, shape ``(steps, columns)``.

        Raises:
            DatasetError: If a discrete number is outside its space.
        """
        if self.first is None:
            return values.reshape(len(values), len(self.names))
        numbers = np.arange(self.first, self.first + len(self.names))
        found: np.ndarray = np.equal.outer(values, numbers)
        wrong = np.flatnonzero(~found.any(axis=1))
        if len(wrong):
            raise DatasetError(
                f"{'/'.join(self.path)}, step {wrong[0]}: found {values[wrong[0]]}, expected a whole number from "
                f"{numbers[0]} to {numbers[-1]}."
            )
        return found.astype(np.float32)


def parts_of(space: Any, field: str, where: str) -> tuple[Part, ...]:
    """List the parts of a space as Minari describes it, in Gymnasium's order (`gymnasium.spaces.flatten`).

    The names of columns are ``position[0]``, ``goal.position[0]`` in a dictionary within one, ``[1].speed`` in a tuple,
    ``image[3,4]`` in an array, and ``gear=2`` for a number.

    Args:
        space: Parsed JSON, of which nothing is known.
        field: The name of the array in the file.
        where: What it is called in messages.

    Raises:
        DatasetError: If the space is of another kind or malformed.
    """
    is_leaf = isinstance(space, dict) and space.get("type") in ("Box", "Discrete")
    return _parts(space, (field,), "observation" if is_leaf else "", where)


def _parts(space: Any, path: tuple[str, ...], name: str, where: str) -> tuple[Part, ...]:
    kind = space.get("type") if isinstance(space, dict) else None
    if kind == "Box":
        return (_box(space, path, name, where),)
    if kind == "Discrete":
        return (_discrete(space, path, name, where),)
    within = space.get("subspaces") if isinstance(space, dict) else None
    if kind == "Dict" and isinstance(within, dict):
        # A slash would lead to another place in the file.
        if any(not key or "/" in key or key == "." for key in within):
            raise DatasetError(f"{where}: found the names {sorted(within)[:5]}, expected names without slashes.")
        entries = [(key, f"{name}.{key}".lstrip("."), within[key]) for key in within]
    elif kind == "Tuple" and isinstance(within, list):
        entries = [(f"_index_{index}", f"{name}[{index}]", each) for index, each in enumerate(within)]
    else:
        raise DatasetError(f"{where}: found {str(kind or space)[:80]!r}, expected Box, Discrete, Dict or Tuple.")
    return tuple(part for key, label, each in entries for part in _parts(each, (*path, key), label, f"{where}/{key}"))


def _box(space: Any, path: tuple[str, ...], name: str, where: str) -> Part:
    shape = space.get("shape")
    try:
        # A forged shape can ask for any amount of memory, so only the lists of bounds are trusted.
        low, high = (np.array(space.get(end), dtype=np.float64) for end in ("low", "high"))
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{where}: found invalid bounds: {error}.") from error
    if list(low.shape) != shape or low.shape != high.shape or low.size == 0:
        raise DatasetError(f"{where}: found the shape {str(shape)[:80]}, expected as many bounds, and at least one.")
    indices = itertools.product(*map(range, low.shape))
    names = tuple(f"{name}[{','.join(map(str, index))}]" if index else name for index in indices)
    return Part(path=path, names=names, shape=low.shape, low=low.ravel(), high=high.ravel())


def _discrete(space: Any, path: tuple[str, ...], name: str, where: str) -> Part:
    count, first = space.get("n"), space.get("start", 0)
    if type(count) is not int or type(first) is not int or not 0 < count <= MOST_COLUMNS or abs(first) > 2**31:
        raise DatasetError(
            f"{where}: found {str(count)[:20]} discrete values from {str(first)[:20]} on, expected at most "
            f"{MOST_COLUMNS:,}."
        )
    names = tuple(f"{name}={number}" for number in range(first, first + count))
    return Part(path=path, names=names, shape=(), low=np.zeros(count), high=np.ones(count), first=first)
