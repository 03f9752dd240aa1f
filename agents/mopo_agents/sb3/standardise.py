"""`Standardise`: a policy that scales what it observes, so that data of one's own can be in any unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from mopo_env.errors import ConfigError
from mopo_env.transitions import Transitions

__all__ = ["Standardise", "standardised"]


class Standardise(BaseFeaturesExtractor):
    """Hands observations to the networks with zero mean and unit variance.

    It is part of the policy and saved with it: environment, replay buffer and whoever calls `predict` keep raw units.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, observation_space: Box, mean: Sequence[float], std: Sequence[float]) -> None:
        """Keep the scale, raw units, one number for each column of an observation."""
        super().__init__(observation_space, len(mean))
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return observations without their units."""
        return (observations - self.mean) / self.std


def standardised(
    agent_class: type[BaseAlgorithm], policy_options: Mapping[str, Any] | None, transitions: Transitions
) -> dict[str, Any]:
    """Return an agent's ``policy_kwargs`` with the scale of a dataset; what they hold already comes first.

    Raises:
        ConfigError: If the agent is one of SBX's, whose policies have no such part.
    """
    if agent_class.__module__.startswith("sbx."):
        raise ConfigError(
            "standardise: SBX's policies cannot do it. Scale the columns of the data, or choose an agent "
            "of Stable-Baselines3."
        )
    mean, std = (getattr(transitions.observations, name)(axis=0, dtype=np.float64) for name in ("mean", "std"))
    # Left unscaled, a constant column stays small; divided by next to nothing, it explodes where it does vary.
    std = np.where(std < 1e-6 * np.maximum(1.0, np.abs(mean)), 1.0, std)
    ours = {
        "features_extractor_class": Standardise,
        # Lists, since this is written into every save of the agent.
        "features_extractor_kwargs": {"mean": mean.tolist(), "std": std.tolist()},
    }
    return {**ours, **(policy_options or {})}
