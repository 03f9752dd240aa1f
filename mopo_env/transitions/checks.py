"""What the arrays of a dataset must fulfil. Every message names the array, the episode and the step."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from mopo_env._utils.spaces import ActionSpace, number_range
from mopo_env.errors import DatasetError, DataWarning

__all__ = ["check_actions_inside", "check_finite", "check_shapes", "default_action_space", "widened"]

# float32 rounding may carry an action that sat on a bound just past it.
_BOUND_TOLERANCE = 1e-4


def check_shapes(arrays: Mapping[str, np.ndarray], action_space: ActionSpace | None) -> None:
    """Refuse arrays that do not have one row a transition.

    Raises:
        DatasetError: If an array has another shape, or there are fewer than two rows.
    """
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
    """Refuse NaN and infinity. `locate` tells the episode and the step of a row.

    Raises:
        DatasetError: If a value is not finite.
    """
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
    """Return the box from −1 to 1.

    Raises:
        DatasetError: If an action lies outside it.
    """
    low, high = float(actions.min()), float(actions.max())
    if low < -1 - _BOUND_TOLERANCE or high > 1 + _BOUND_TOLERANCE:
        raise DatasetError(
            f"actions: found values from {low:.4g} to {high:.4g} and no action_space. The default box is −1 to 1; "
            "pass action_space=gymnasium.spaces.Box(low, high, shape) (--action-low and --action-high) with the "
            "bounds of your system."
        )
    return Box(-1.0, 1.0, actions.shape[1:], np.float32)


def check_actions_inside(actions: np.ndarray, space: ActionSpace, locate: Callable[[int], str]) -> None:
    """Refuse actions outside their space.

    Raises:
        DatasetError: If there is one.
    """
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
