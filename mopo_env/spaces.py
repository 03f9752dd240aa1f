"""Spaces as this project needs them: boxes of float32, and bounds that a checker accepts."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

from mopo_env.errors import DatasetError

__all__ = ["as_float32_box", "finite_box"]


def as_float32_box(space: gym.Space[Any], name: str) -> Box:
    """Return a box of the same bounds in float32, which halves every buffer of float64 environments.

    Raises:
        DatasetError: If the space is not a one-dimensional box.
    """
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise DatasetError(f"{name}: found the space {space}, expected a one-dimensional gymnasium.spaces.Box.")
    with np.errstate(over="ignore"):
        return Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)


def finite_box(space: Box) -> Box:
    """Replace infinite bounds of a float32 box by the largest float32.

    An environment that never returns an infinite number keeps to them, and says so: Gymnasium's checker warns of
    infinite bounds. Model and real environments both do this, since agents compare the spaces of the two.
    """
    largest = np.finfo(np.float32).max
    return Box(np.maximum(space.low, -largest), np.minimum(space.high, largest), dtype=np.float32)
