"""From what a caller passes to the arrays of a dataset, without a copy where nobody can change them."""

from typing import Any

import numpy as np

from mopo_env.errors import DatasetError

__all__ = ["as_column", "as_flags", "as_float32"]


def _as_array(name: str, value: Any, expected: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DatasetError(f"{name}: found rows of different lengths, expected one array: {error}") from error
    if array.dtype.kind not in "fiub":
        raise DatasetError(f"{name}: found the type {array.dtype}, expected {expected}.")
    return array


def as_float32(name: str, value: Any) -> np.ndarray:
    """Return numbers in float32; what is too large becomes infinite, and is found later."""
    with np.errstate(over="ignore"):
        return _own(_as_array(name, value, "real numbers"), np.float32)


def as_column(name: str, value: Any) -> np.ndarray:
    """Return discrete actions in the shape ``(rows,)``. Replay buffers and tables hold them as a column."""
    array = _as_array(name, value, "whole numbers for a Discrete action space")
    return np.array(array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array, order="C")


def as_flags(name: str, value: Any) -> np.ndarray:
    """Return booleans, which may come as zeros and ones."""
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
