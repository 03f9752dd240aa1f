"""What the arrays of a dataset must fulfil, and their conversion, without a copy where nobody can change them.

What is wrong is refused by a `DatasetError` that names the array, the episode and the step.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from mopo_env._utils.spaces import ActionSpace, number_range
from mopo_env.errors import DatasetError, DataWarning

# float32 rounding may carry an action that sat on a bound just past it.
_BOUND_TOLERANCE = 1e-4


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


def check_shapes(arrays: Mapping[str, np.ndarray], action_space: ActionSpace | None) -> None:
    """Refuse arrays that do not have one row a transition, and fewer than two rows."""
    discrete = isinstance(action_space, Discrete)
    rows = len(arrays["rewards"]) if arrays["rewards"].ndim else 0
    vectors = {"observations": "observation", "actions": "action", "next_observations": "observation"}
    if discrete:
        del vectors["actions"]
    for name, array in arrays.items():
        if name in vectors and (array.ndim != 2 or array.shape[1] == 0):
            hint = " Discrete actions need action_space=gymnasium.spaces.Discrete(n)." * (name == "actions")
            raise DatasetError(f"{name}: found shape {array.shape}, expected (rows, {vectors[name]}).{hint}")
        if name not in vectors and array.ndim != 1:
            hint = f" of numbers in {action_space}" * (name == "actions")
            raise DatasetError(f"{name}: found shape {array.shape}, expected (rows,){hint}.")
    for name, array in arrays.items():
        if len(array) != rows:
            raise DatasetError(f"{name}: found {len(array)} rows, but rewards has {rows}.")
    before, after = arrays["observations"].shape, arrays["next_observations"].shape
    if before != after:
        raise DatasetError(f"next_observations: found shape {after}, but observations has {before}.")
    if rows < 2:
        raise DatasetError(
            f"found {rows} transition{'s' * (rows != 1)}; at least two are needed, one to fit and one to hold out."
        )


def check_finite(name: str, array: np.ndarray, locate: Callable[[int], str]) -> None:
    """Refuse NaN and infinity. `locate` tells the episode and the step of a row."""
    # NaN and infinity show in the smallest and largest value, so usually no mask of the data's size is needed.
    if np.isfinite(array.min()) and np.isfinite(array.max()):
        return
    finite = np.isfinite(array).reshape(len(array), -1)
    bad = np.flatnonzero(~finite.all(axis=1))
    row, column = int(bad[0]), int(finite[bad[0]].argmin())
    raise DatasetError(
        f"{name}: found {array.reshape(len(array), -1)[row, column]} at {locate(row)} (row {row}, column "
        f"{column}), and {len(bad)} such row{'s' * (len(bad) != 1)} in all; every value must be finite in float32. "
        "Drop or repair these rows."
    )


def default_action_space(actions: np.ndarray) -> Box:
    """Return the box from −1 to 1, if every action lies in it."""
    low, high = float(actions.min()), float(actions.max())
    if low < -1 - _BOUND_TOLERANCE or high > 1 + _BOUND_TOLERANCE:
        raise DatasetError(
            f"actions: found values from {low:.4g} to {high:.4g} and no action_space. The default box is −1 to 1; "
            "pass action_space=gymnasium.spaces.Box(low, high, shape) (--action-low and --action-high) with the "
            "bounds of your system."
        )
    return Box(-1.0, 1.0, actions.shape[1:], np.float32)


def check_actions_inside(actions: np.ndarray, space: ActionSpace, locate: Callable[[int], str]) -> None:
    """Refuse actions outside their space."""
    if isinstance(space, Discrete):
        first, last = number_range(space)
        wrong: Any = (actions < first) | (actions > last) | (actions != np.round(actions))
        remedy = f"Expected whole numbers from {first} to {last}."
    else:
        outside = (actions < space.low - _BOUND_TOLERANCE) | (actions > space.high + _BOUND_TOLERANCE)
        wrong, remedy = outside.any(axis=1), "Clip them, or declare the true bounds."
    rows = np.flatnonzero(wrong)
    if len(rows):
        raise DatasetError(
            f"actions: found {actions[rows[0]]} at {locate(int(rows[0]))} (row {rows[0]}), outside {space}; "
            f"{len(rows)} such row{'s' * (len(rows) != 1)} in all. {remedy}"
        )


def widened(space: Box, arrays: Sequence[np.ndarray], names: Sequence[str]) -> Box:
    """Return a space that holds all observations: predictions are clipped to it, and would lose those outside."""
    lowest = np.minimum(*(array.min(axis=0) for array in arrays))
    largest = np.maximum(*(array.max(axis=0) for array in arrays))
    columns = np.flatnonzero((lowest < space.low) | (largest > space.high))
    if len(columns) == 0:
        return space
    column, more = int(columns[0]), f"; {len(columns)} columns in all" * (len(columns) > 1)
    warnings.warn(
        f"observations: {names[column]} goes from {lowest[column]:g} to {largest[column]:g}, outside its declared "
        f"{space.low[column]:g} to {space.high[column]:g}{more}. The space was widened to hold them. If the "
        "declared bounds are right, clip or drop these rows.",
        DataWarning,
        stacklevel=5,
    )
    return Box(np.minimum(space.low, lowest), np.maximum(space.high, largest), dtype=np.float32)
