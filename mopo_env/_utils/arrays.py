"""Checks of the arrays that callers hand over, each with a message that names the array."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete

from mopo_env._utils.spaces import ActionSpace, number_range
from mopo_env.errors import InputError, SpaceMismatchError

__all__ = ["check_actions", "check_array", "check_rows", "check_same_widths"]


def check_same_widths(data: Any, model: Any, *, whose: str, remedy: str) -> None:
    """Refuse a dataset of other widths than a model's; `whose` names the model in the message, after "but".

    Raises:
        SpaceMismatchError: If a width differs.
    """
    for name in ("observation", "action"):
        found, expected = getattr(data, f"{name}_dim"), getattr(model, f"{name}_dim")
        if found != expected:
            raise SpaceMismatchError(f"{name}s: the dataset's are {found} wide, but {whose} {expected}. {remedy}")


def check_rows(arrays: dict[str, tuple[Any, int]], remedy: str) -> int:
    """Return how many rows several arrays have, given by name, each with the width it must have.

    Raises:
        InputError: If one has another width, or another number of rows than the last of them.
    """
    array, _ = list(arrays.values())[-1]
    rows = len(array) if np.ndim(array) else 0
    for name, (array, width) in arrays.items():
        if np.shape(array) != (rows, width):
            raise InputError(
                f"{name}: found shape {np.shape(array)}, expected ({rows}, {width}), one row a transition. {remedy}"
            )
    return rows


def check_actions(name: str, values: Any, space: ActionSpace, *batch: int) -> np.ndarray:
    """Return actions as the model takes them: float32, or int64 where the space numbers them.

    Args:
        name: What to call them in a message.
        values: What a policy chose.
        space: Of one action.
        *batch: How many actions there are; nothing: a single one.

    Raises:
        InputError: If the shape is another, a value is not a finite number, or there is no action of that number.
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
    """Return an action or an observation as float32.

    Raises:
        InputError: If its shape is another, or a value is not a finite number.
    """
    array = np.asarray(values)
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise InputError(f"{name}: found shape {array.shape} of type {array.dtype}, expected {shape} of real numbers.")
    with np.errstate(over="ignore"):
        # A copy, so that a caller who writes into its array later does not move what was made of it.
        converted = np.array(array, dtype=np.float32, order="C")
    finite = np.isfinite(converted)
    if not finite.all():
        raise InputError(f"{name}: every number must be finite in float32, found {array[~finite][:3].tolist()}.")
    return converted
