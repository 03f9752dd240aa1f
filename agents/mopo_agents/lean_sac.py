"""SAC's networks without the work that Stable-Baselines3's update throws away; what is learned stays the same."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy, ContinuousCritic
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import nn

__all__ = ["LeanCritic", "LeanSACPolicy", "policy_of"]

Network = TypeVar("Network", bound=nn.Module)


class LeanCritic(ContinuousCritic):
    """Q(s, a), whose weights get no gradient from the actor's loss: SAC would set it to zero before it is used.

    Wherever a gradient of the actions is asked for, none of the weights is computed; an update of the actor then costs
    a third less of the critic's share. Losses, actions' gradients and parameters are the same, bit for bit.
    """

    def forward(self, obs: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return every network's estimate, one tensor of shape ``(batch, 1)`` each."""
        if not actions.requires_grad:
            return super().forward(obs, actions)
        weights = [parameter for parameter in self.parameters() if parameter.requires_grad]
        for weight in weights:
            weight.requires_grad_(False)
        try:
            return super().forward(obs, actions)
        finally:
            for weight in weights:
                weight.requires_grad_(True)


class LeanSACPolicy(SACPolicy):
    """SAC's policy with a `LeanCritic`, one kernel for each step of Adam, and activations computed in place.

    Its weights go by the same names as those of SACPolicy, which can load them. One kernel rounds differently from
    many small ones, by parts in 10⁷ a step; all else is bit for bit that of SACPolicy.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        lr_schedule: Schedule,
        *,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Make the networks; the arguments are SACPolicy's."""
        if optimizer_class is torch.optim.Adam:
            optimizer_kwargs = {"fused": True, **(optimizer_kwargs or {})}
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
            **options,
        )

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Actor:
        """Make the network of the actions."""
        return _in_place(super().make_actor(features_extractor))

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ContinuousCritic:
        """Make the networks of the values."""
        options = self._update_features_extractor(self.critic_kwargs, features_extractor)
        return _in_place(LeanCritic(**options).to(self.device))


def policy_of(agent_class: type[BaseAlgorithm]) -> Any:
    """Return what to pass to an agent's class as its policy: lean networks where it would take SAC's own."""
    known: dict[str, type[BasePolicy]] = getattr(agent_class, "policy_aliases", {})
    return LeanSACPolicy if known.get("MlpPolicy") is SACPolicy else "MlpPolicy"


def _in_place(network: Network) -> Network:
    """Let rectifiers overwrite what they read, the outputs of linear layers, which nothing else needs."""
    for part in network.modules():
        if isinstance(part, nn.Sequential):
            for before, layer in zip(part, list(part)[1:], strict=False):
                if isinstance(before, nn.Linear) and isinstance(layer, nn.ReLU):
                    layer.inplace = True
    return network
