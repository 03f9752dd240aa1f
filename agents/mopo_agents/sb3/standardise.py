"""`Standardise`: a policy layer that scales observations, so that the data can be in any units."""

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


class Standardise(BaseFeaturesExtractor):
    """Scale observations to zero mean and unit variance before the networks.

    The scale is saved with the policy. Environment, replay buffer and callers of `predict` use raw units.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, observation_space: Box, mean: Sequence[float], std: Sequence[float]) -> None:
        """Set the scale: mean and standard deviation of each observation column, in raw units."""
        super().__init__(observation_space, len(mean))
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return the scaled observations."""
        return (observations - self.mean) / self.std


def standardised(
    agent_class: type[BaseAlgorithm], policy_options: Mapping[str, Any] | None, transitions: Transitions
) -> dict[str, Any]:
    """Add the scale of a dataset to an agent's ``policy_kwargs``; given entries take precedence.

    Raises:
        ConfigError: If the agent is one of SBX's, whose policies have no features extractor.
    """
    if agent_class.__module__.startswith("sbx."):
        raise ConfigError(
            "standardise: SBX's policies do not support it. Scale the columns of the data, or choose an agent "
            "of Stable-Baselines3."
        )
    mean, std = (getattr(transitions.observations, name)(axis=0, dtype=np.float64) for name in ("mean", "std"))
    # A constant column keeps its scale: after a division by almost zero, a small change in it would be huge.
    std = np.where(std < 1e-6 * np.maximum(1.0, np.abs(mean)), 1.0, std)
    ours = {
        "features_extractor_class": Standardise,
        # Lists, because every saved agent contains them.
        "features_extractor_kwargs": {"mean": mean.tolist(), "std": std.tolist()},
    }
    return {**ours, **(policy_options or {})}
