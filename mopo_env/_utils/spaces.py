"""Spaces: float32 boxes, discrete actions, and bounds that Gymnasium's checker accepts."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from mopo_env.errors import DatasetError

ActionSpace = Box | Discrete
# One-hot rows of more actions would fill the memory.
_LARGEST_COUNT = 10_000


def as_action_space(space: gym.Space[Any], name: str) -> ActionSpace:
    """Return a discrete space as it is, and a box in float32.

    Raises:
        DatasetError: If the space is neither `Discrete` of at most 10,000 actions nor a one-dimensional box.
    """
    if isinstance(space, Discrete):
        if space.n > _LARGEST_COUNT:
            raise DatasetError(
                f"{name}: found {space}, expected at most {_LARGEST_COUNT:,} discrete actions. Describe each action by "
                "features in a Box instead."
            )
        return Discrete(int(space.n), start=int(space.start))  # without the caller's seeded generator
    return as_float32_box(space, name, "gymnasium.spaces.Discrete or a one-dimensional Box")


def encoded_width(space: ActionSpace) -> int:
    """Return the width of an action as a model sees it: discrete actions are one-hot."""
    return int(space.n) if isinstance(space, Discrete) else int(space.shape[0])


def number_range(space: Discrete) -> tuple[int, int]:
    """Return the lowest and the highest discrete action."""
    return int(space.start), int(space.start + space.n - 1)


def as_float32_box(space: gym.Space[Any], name: str, expected: str = "a one-dimensional gymnasium.spaces.Box") -> Box:
    """Return a box of the same bounds in float32. This halves every buffer of float64 environments.

    Raises:
        DatasetError: If the space is not a one-dimensional box.
    """
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise DatasetError(f"{name}: found the space {space}, expected {expected}.")
    with np.errstate(over="ignore"):
        return Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)


def finite_box(space: Box) -> Box:
    """Replace infinite bounds of a float32 box by the largest float32.

    Gymnasium's checker warns of infinite bounds, and no environment here returns an infinite number. Model environments
    and real environments both use this, since agents compare their spaces.
    """
    largest = np.finfo(np.float32).max
    return Box(np.maximum(space.low, -largest), np.minimum(space.high, largest), dtype=np.float32)


def space_tensors(name: str, space: ActionSpace) -> dict[str, np.ndarray]:
    """Return the arrays that a file keeps of a space: bounds, or the number of discrete actions and the lowest one."""
    if isinstance(space, Discrete):
        return {f"{name}_numbers": np.array([space.n, space.start], dtype=np.int64)}
    return {f"{name}_bounds": np.stack([space.low, space.high])}


def space_from_tensors(name: str, tensors: Mapping[str, np.ndarray]) -> ActionSpace:
    """Return the space that `space_tensors` described."""
    if f"{name}_numbers" in tensors:
        count, first = tensors[f"{name}_numbers"].tolist()
        return Discrete(count, start=first)
    return Box(*tensors[f"{name}_bounds"], dtype=np.float32)
