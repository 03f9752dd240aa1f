"""SAC's update with explicit gradients: the results of Stable-Baselines3's update in two thirds of its time."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import Tensor, nn

from mopo_agents.sb3.fast_sac.dense_networks import DenseNetworks, dense_layers, scatter
from mopo_agents.sb3.fast_sac.flat_adam import FlatAdam, adam_options
from mopo_agents.sb3.mixins import FastPath, is_untouched
from mopo_agents.sb3.squashed_gaussian import draw_actions
from mopo_agents.sb3.standardise import Standardise


class FastSAC(FastPath, SAC):
    """Mixin for SAC whose `train` uses `SACUpdate`, unless `obstacle` gives a reason against it.

    Random draws are those of Stable-Baselines3; losses and parameters agree to rounding.
    """

    update_class: ClassVar[type[SACUpdate]]

    @staticmethod
    def fits(agent_class: type[BaseAlgorithm]) -> bool:
        """Return whether a class uses SAC's update unchanged."""
        return issubclass(agent_class, SAC) and agent_class.train is SAC.train

    def replaced(self) -> dict[str, str]:
        """Add which code runs for updates."""
        reason = obstacle(self)
        ours = "by mopo_agents with written-out gradients"
        return {**super().replaced(), "updates": ours if reason is None else f"by the agent's own code, since {reason}"}

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Do the updates of an epoch (paper, Algorithm 2, line 11)."""
        if self.replay_buffer is None or obstacle(self) is not None:
            super().train(gradient_steps, batch_size)
            return
        self.policy.set_training_mode(True)
        optimizers = [self.actor.optimizer, self.critic.optimizer]
        self._update_learning_rate(optimizers + ([self.ent_coef_optimizer] if self.ent_coef_optimizer else []))
        update = self.update_class(self)
        with torch.no_grad():
            for step in range(gradient_steps):
                update(self.replay_buffer.sample(batch_size), move_target=step % self.target_update_interval == 0)
        update.write_back()
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for name, sum_over_steps in update.sums.items():
            self.logger.record(f"train/{name}", float(sum_over_steps) / max(gradient_steps, 1))


def obstacle(agent: SAC) -> str | None:
    """Return the reason why `FastSAC` cannot update an agent, or None.

    Every part of an update must be of exactly the class for which the gradients are written. A subclass, a hook or a
    frozen weight changes what Stable-Baselines3 computes.
    """
    networks = (agent.actor, agent.critic, agent.critic_target)
    parts = zip((agent.policy, *networks), (SACPolicy, Actor, ContinuousCritic, ContinuousCritic), strict=True)
    for part, kind in parts:
        if type(part) is not kind:
            return f"{type(part).__name__} is not Stable-Baselines3's {kind.__name__}"
    if agent.get_vec_normalize_env() is not None:
        return "VecNormalize changes the observations"
    extractors = {type(network.features_extractor) for network in networks}
    if extractors not in ({FlattenExtractor}, {Standardise}):
        return "the features extractor is not FlattenExtractor or Standardise"
    distribution: Any = agent.actor.action_dist  # with gSDE another one
    if type(distribution) is not SquashedDiagGaussianDistribution or _sac_layers(agent) is None:
        return "a network does not consist of linear layers with ReLU between them"
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


class SACUpdate:
    """SAC updates on copies of an agent's networks; `write_back` copies the result into the agent.

    Source: Haarnoja et al., "Soft actor-critic algorithms and applications" (2018), equations 5, 9 and 18.

    Attributes:
        sums: Losses and entropy coefficient, summed over all updates. They stay on the agent's device, so that an
            update does not wait for their values.
    """

    def __init__(self, agent: SAC) -> None:
        """Copy the agent's networks and the state of its optimizers."""
        self._agent = agent
        self._actor, self._critics, self._targets = (
            DenseNetworks(side_by_side, num_networks=count) for side_by_side, count in _sac_layers(agent) or ()
        )
        parts = [
            (part.optimizer, networks.parameters, networks.values, networks.gradients)
            for part, networks in ((agent.actor, self._actor), (agent.critic, self._critics))
        ]
        names = ["ent_coef", "actor_loss", "critic_loss"]
        self._log_ent_coef: Tensor | None = None
        if agent.ent_coef_optimizer is not None and agent.log_ent_coef is not None:
            names.append("ent_coef_loss")
            self._log_ent_coef = agent.log_ent_coef.detach().clone()
            self._ent_coef_gradient = torch.zeros_like(self._log_ent_coef)
            parts.append((agent.ent_coef_optimizer, [agent.log_ent_coef], self._log_ent_coef, self._ent_coef_gradient))
        self._critic_adam = FlatAdam([parts.pop(1)])
        self._actor_adam = FlatAdam(parts)  # also updates the entropy coefficient
        self.sums = {name: torch.zeros((), device=agent.device) for name in names}

    def __call__(self, batch: ReplayBufferSamples, *, move_target: bool) -> None:
        """Do one update; autograd must be off."""
        agent, num_rows = self._agent, len(batch.rewards)
        observations = agent.actor.features_extractor(batch.observations)
        next_observations = agent.actor.features_extractor(batch.next_observations)
        trace = self._actor.forward(torch.cat([observations, next_observations]))
        policy = draw_actions(trace[-1][0], num_rows)
        log_prob, next_log_prob = torch.split(policy.log_prob, num_rows)
        actions, next_actions = torch.split(policy.actions, num_rows)
        ent_coef = agent.ent_coef_tensor if self._log_ent_coef is None else self._log_ent_coef.exp()

        next_values = self._targets.forward(torch.cat([next_observations, next_actions], dim=1))[-1].amin(dim=0)
        targets = self._critic_targets(batch, next_values, ent_coef * next_log_prob[:, None])
        values = self._critics.forward(torch.cat([observations, batch.actions], dim=1))
        errors = values[-1] - targets
        self._critics.backward(values, errors / num_rows)
        self._add_critic_gradient(values, slice(observations.shape[1], None))
        self._critic_adam.step()

        values = self._critics.forward(torch.cat([observations, actions], dim=1))
        smallest, which = values[-1].min(dim=0, keepdim=True)
        by_value = torch.zeros_like(values[-1]).scatter_(0, which, -1.0 / num_rows)
        columns = slice(observations.shape[1], None)
        by_action = self._critics.input_gradient(values, by_value, columns)
        self._actor.backward(trace, policy.gradient(by_action, ent_coef / num_rows)[None])
        sums = self.sums
        if self._log_ent_coef is not None:
            shortfall = (log_prob + float(agent.target_entropy)).mean()
            sums["ent_coef_loss"] -= (self._log_ent_coef * shortfall).squeeze()
            self._ent_coef_gradient.copy_(-shortfall)
        self._actor_adam.step()
        sums["ent_coef"] += ent_coef.squeeze()
        sums["critic_loss"] += 0.5 * errors.square().sum() / num_rows
        sums["actor_loss"] += (ent_coef * log_prob - smallest.view(-1)).mean()
        if move_target:
            self._targets.values.mul_(1 - agent.tau).add_(self._critics.values, alpha=agent.tau)

    def _critic_targets(
        self,
        batch: ReplayBufferSamples,
        next_values: Float[Tensor, "batch 1"],
        entropy_costs: Float[Tensor, "batch 1"],
    ) -> Float[Tensor, "batch 1"]:
        """Return r + γ(1 − d)·(min_k Q′_k(s′, a′) − α·log π(a′|s′))."""
        gamma = self._agent.gamma if batch.discounts is None else batch.discounts
        return batch.rewards + (1 - batch.dones) * gamma * (next_values - entropy_costs)

    def _add_critic_gradient(self, trace: list[Tensor], action_columns: slice) -> None:
        """Add the gradient of another term of the critics' loss, given their trace on the batch."""

    def write_back(self) -> None:
        """Copy the networks and the state of the optimizers into the agent."""
        for adam in (self._critic_adam, self._actor_adam):
            adam.write_back()
        scatter(self._targets.values, self._targets.parameters)


FastSAC.update_class = SACUpdate


def _sac_layers(agent: SAC) -> list[tuple[list[list[nn.Linear]], int]] | None:
    """Return the layers and the number of networks of actor, critics and targets; None if one is not dense."""
    heads: Any = (agent.actor.mu, agent.actor.log_std)
    policy = [dense_layers([*agent.actor.latent_pi, head]) for head in heads]
    critics, targets = (
        [dense_layers(net.children()) for net in part.q_networks] for part in (agent.critic, agent.critic_target)
    )
    if any(layers is None for layers in (*policy, *critics, *targets)):
        return None
    side_by_side = [[list(layer) for layer in zip(*networks, strict=True)] for networks in (policy, critics, targets)]
    side_by_side[0][:-1] = [[layer] for layer, _ in side_by_side[0][:-1]]  # the actor's heads share the other layers
    return list(zip(side_by_side, (1, len(critics), len(targets)), strict=True))
