"""Checks of the arrays that callers pass. What is wrong is refused by an `InputError` that names the array."""

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete

from mopo_env._utils.spaces import ActionSpace, number_range
from mopo_env.errors import InputError, SpaceMismatchError


def check_same_widths(data: Any, model: Any, *, whose: str, remedy: str) -> None:
    """Refuse a dataset whose widths differ from a model's. In the message, `whose` names the model after "but".

    Raises:
        SpaceMismatchError: If a width differs.
    """
    for name in ("observation", "action"):
        found, expected = getattr(data, f"{name}_dim"), getattr(model, f"{name}_dim")
        if found != expected:
            raise SpaceMismatchError(f"{name}s: the dataset's are {found} wide, but {whose} {expected}. {remedy}")


def check_rows(arrays: dict[str, tuple[Any, int]], remedy: str) -> int:
    """Return the number of rows of several arrays, given by name, each with its expected width."""
    array, _ = list(arrays.values())[-1]
    rows = len(array) if np.ndim(array) else 0
    for name, (array, width) in arrays.items():
        if np.shape(array) != (rows, width):
            raise InputError(
                f"{name}: found shape {np.shape(array)}, expected ({rows}, {width}), one row a transition. {remedy}"
            )
    return rows


def check_actions(name: str, values: Any, space: ActionSpace, *batch: int) -> np.ndarray:
    """Return actions as the model takes them: float32, or int64 if they are discrete.

    Args:
        name: The name of the array in a message.
        values: The actions that a policy chose.
        space: The space of one action.
        *batch: The expected number of actions; leave it out for a single action.
    """
    if not isinstance(space, Discrete):
        return check_array(name, values, (*batch, *space.shape))
    array, (first, last) = np.asarray(values), number_range(space)
    if array.shape != batch or array.dtype.kind not in "iu":
        raise InputError(f"{name}: found shape {array.shape} of type {array.dtype}, expected {batch} of integers.")
    if array.size and (array.min() < first or array.max() > last):
        wrong = array[(array < first) | (array > last)]
        raise InputError(f"{name}: expected whole numbers from {first} to {last}, found {wrong.flat[0]}.")
    return array.astype(np.int64)


def check_array(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return an action or an observation as float32."""
    array = np.asarray(values)
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise InputError(f"{name}: found shape {array.shape} of type {array.dtype}, expected {shape} of real numbers.")
    with np.errstate(over="ignore"):
        # A copy, so that the caller may write into its array later.
        converted = np.array(array, dtype=np.float32, order="C")
    finite = np.isfinite(converted)
    if not finite.all():
        raise InputError(f"{name}: every number must be finite in float32, found {array[~finite][:3].tolist()}.")
    return converted
