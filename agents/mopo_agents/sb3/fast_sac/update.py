"""SAC's update with its gradients written out: what Stable-Baselines3 computes, in two thirds of the time."""

from __future__ import annotations

import torch
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor

from mopo_agents.sb3.fast_sac.dense_networks import DenseNetworks, scatter
from mopo_agents.sb3.fast_sac.flat_adam import FlatAdam
from mopo_agents.sb3.fast_sac.gate import obstacle, sac_layers
from mopo_agents.sb3.mixins import FastPath
from mopo_agents.sb3.squashed_gaussian import draw_actions

__all__ = ["FastSAC", "SACUpdate"]


class FastSAC(FastPath, SAC):
    """Put before SAC's class, this replaces its `train` by `SACUpdate`, unless `gate.obstacle` finds a reason not to.

    Losses and parameters agree with Stable-Baselines3's to rounding, and draws are the same.
    """

    @staticmethod
    def fits(agent_class: type[BaseAlgorithm]) -> bool:
        """Return whether a class updates as SAC does."""
        return issubclass(agent_class, SAC) and agent_class.train is SAC.train

    def replaced(self) -> dict[str, str]:
        """Add what runs for updates."""
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
        update = SACUpdate(self)
        with torch.no_grad():
            for step in range(gradient_steps):
                update(self.replay_buffer.sample(batch_size), move_target=step % self.target_update_interval == 0)
        update.write_back()
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for name, sum_over_steps in update.sums.items():
            self.logger.record(f"train/{name}", float(sum_over_steps) / max(gradient_steps, 1))


class SACUpdate:
    """Updates of one agent of SAC, on copies of its networks; `write_back` gives the agent what was learned.

    Source: Haarnoja et al., "Soft actor-critic algorithms and applications" (2018), equations 5, 9 and 18.

    Attributes:
        sums: Of the losses and of the entropy coefficient, over all updates; on the agent's device, so that no update
            waits for another.
    """

    def __init__(self, agent: SAC) -> None:
        """Copy the agent's networks, and the state of its optimizers."""
        self._agent = agent
        self._actor, self._critics, self._targets = (
            DenseNetworks(side_by_side, num_networks=count) for side_by_side, count in sac_layers(agent) or ()
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
        self._actor_adam = FlatAdam(parts)  # and the entropy coefficient's, which can as well wait for the actor's
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
        gamma = agent.gamma if batch.discounts is None else batch.discounts
        next_values -= ent_coef * next_log_prob[:, None]
        targets = batch.rewards + (1 - batch.dones) * gamma * next_values
        values = self._critics.forward(torch.cat([observations, batch.actions], dim=1))
        errors = values[-1] - targets
        self._critics.backward(values, errors / num_rows)
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

    def write_back(self) -> None:
        """Give the agent its networks, and its optimizers their state."""
        for adam in (self._critic_adam, self._actor_adam):
            adam.write_back()
        scatter(self._targets.values, self._targets.parameters)
