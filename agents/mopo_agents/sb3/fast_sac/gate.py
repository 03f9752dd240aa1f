"""Which agents `FastSAC` may update: those whose every part is Stable-Baselines3's own, and nobody listens in."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import SAC
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import Tensor, nn

from mopo_agents.sb3.fast_sac.dense_networks import dense_layers
from mopo_agents.sb3.fast_sac.flat_adam import adam_options
from mopo_agents.sb3.standardise import Standardise
from mopo_agents.sb3.untouched import is_untouched

__all__ = ["obstacle", "sac_layers"]

Layers = list[list[nn.Linear]]


def obstacle(agent: SAC) -> str | None:
    """Return what keeps an agent from being updated by `FastSAC`, or None if nothing does.

    Whatever could take part in an update must be of exactly the class that the written-out gradients are of: a
    subclass, a hook or a frozen weight changes what Stable-Baselines3 computes.
    """
    networks = (agent.actor, agent.critic, agent.critic_target)
    parts = zip((agent.policy, *networks), (SACPolicy, Actor, ContinuousCritic, ContinuousCritic), strict=True)
    for part, kind in parts:
        if type(part) is not kind:
            return f"{type(part).__name__} is not Stable-Baselines3's {kind.__name__}"
    if agent.get_vec_normalize_env() is not None:
        return "VecNormalize changes what is observed"
    extractors = {type(network.features_extractor) for network in networks}
    if extractors not in ({FlattenExtractor}, {Standardise}):
        return "the features extractor is not FlattenExtractor or Standardise"
    distribution: Any = agent.actor.action_dist  # with gSDE another one
    if type(distribution) is not SquashedDiagGaussianDistribution or sac_layers(agent) is None:
        return "a network is not of linear layers with ReLU between them"
    steps: list[tuple[Any, list[Tensor]]] = [(part.optimizer, list(part.parameters())) for part in networks[:2]]
    if agent.ent_coef_optimizer is not None and agent.log_ent_coef is not None:
        steps.append((agent.ent_coef_optimizer, [agent.log_ent_coef]))
    options = [adam_options(optimizer, parameters) for optimizer, parameters in steps]
    if None in options or any(found != options[0] for found in options):
        return "the optimizers are not plain Adam with the same options"
    if not all(parameter.requires_grad for _, parameters in steps for parameter in parameters):
        return "a parameter is frozen"
    if not all(is_untouched(found) for found in (agent.policy, *networks, *(step[0] for step in steps))):
        return "a network or an optimizer has hooks or replaced methods"
    return None


def sac_layers(agent: SAC) -> list[tuple[Layers, int]] | None:
    """Return the layers of actor, critics and targets, and how many networks each is; None if any is not dense."""
    heads: Any = (agent.actor.mu, agent.actor.log_std)
    policy = [dense_layers([*agent.actor.latent_pi, head]) for head in heads]
    critics, targets = (
        [dense_layers(net.children()) for net in part.q_networks] for part in (agent.critic, agent.critic_target)
    )
    if any(layers is None for layers in (*policy, *critics, *targets)):
        return None
    side_by_side = [[list(layer) for layer in zip(*networks, strict=True)] for networks in (policy, critics, targets)]
    side_by_side[0][:-1] = [[layer] for layer, _ in side_by_side[0][:-1]]  # the heads share all layers but the last
    return list(zip(side_by_side, (1, len(critics), len(targets)), strict=True))
