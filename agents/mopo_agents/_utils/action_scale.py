"""Convert actions of a bounded box between raw units and −1…1, the scale of agents and replay buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from mopo_env.envs.rollouts import Array


def scale_actions(actions: Array, space: Box) -> Array:
    """Scale actions to −1…1, as Stable-Baselines3's policies do."""
    low, high = _bounds(actions, space)
    scaled: Array = 2.0 * (actions - low) / (high - low) - 1.0
    return scaled


def unscale_actions(scaled: Array, space: Box) -> Array:
    """Invert `scale_actions`: return actions in raw units."""
    low, high = _bounds(scaled, space)
    actions: Array = low + 0.5 * (scaled + 1.0) * (high - low)
    return actions


def _bounds(like: Tensor | np.ndarray, space: Box) -> tuple[Any, Any]:
    if isinstance(like, Tensor):
        return torch.from_numpy(space.low).to(like), torch.from_numpy(space.high).to(like)
    return space.low, space.high
