"""`RegularisedActorCritic`: the common part of BEAR and BRAC.

In both, the actor pays for its distance from the behaviour policy: it minimises α·D(π, π_b) − min_j Q_j(s, a)
over the recorded states. They differ in D, in the choice of α, and in the critic's target.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import Tensor

from mopo_agents.baselines.offline import OfflineAgent, descend
from mopo_env._utils.options import check_integer, check_number


class RegularisedActorCritic(OfflineAgent):
    """An actor-critic agent on a fixed dataset, with a term that keeps the actor near the behaviour policy.

    During the first `warmup_updates` the critic learns, but the actor only imitates the behaviour policy. A wrong
    option of an agent raises a `ConfigError`.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": SACPolicy}
    # Warm-up updates in the original code, whose runs have half a million to three million updates.
    default_warmup_updates: ClassVar[int]
    policy: SACPolicy
    actor: Actor

    def __init__(
        self,
        policy: Any,
        env: Any,
        learning_rate: Any,
        *,
        actor_learning_rate: float,
        warmup_updates: int | None = None,
        _init_setup_model: bool = True,
        **options: Any,
    ) -> None:
        """Set the agent up.

        Args:
            policy: ``"MlpPolicy"``.
            env: A `DatasetEnv`.
            learning_rate: Learning rate of the critics; a number, or a schedule as in Stable-Baselines3.
            actor_learning_rate: Learning rate of the actor.
            warmup_updates: Updates before the actor uses the critic; None: as in the original code, but at most a tenth
                of the run.
            _init_setup_model: For Stable-Baselines3's `load`.
            **options: As in `OfflineAgent` and Stable-Baselines3's off-policy agents.
        """
        self.actor_learning_rate = check_number("actor_learning_rate", actor_learning_rate, above=0.0)
        if warmup_updates is not None:
            warmup_updates = check_integer("warmup_updates", warmup_updates, minimum=0)
        self.warmup_updates = warmup_updates
        super().__init__(policy, env, learning_rate, sde_support=False, **options)
        if _init_setup_model:
            self._setup_model()

    @abstractmethod
    def _regulariser(
        self, observations: Float[Tensor, "batch observation"]
    ) -> tuple[Float[Tensor, "batch action"], Float[Tensor, " batch"]]:
        """Return an action of the policy in each state, and D(π(·|s), π_b(·|s)), both with gradients."""

    @abstractmethod
    def _next_values(self, observations: Float[Tensor, "batch observation"]) -> Float[Tensor, "batch 1"]:
        """Return the values of the next states for the critic's target; called without gradients."""

    @property
    @abstractmethod
    def divergence_weight(self) -> float | Tensor:
        """α."""

    def _learn_behaviour(self, batch: ReplayBufferSamples) -> dict[str, Tensor]:
        """Improve the behaviour policy on a batch, and return the metrics to log."""
        return {}

    def _after_actor(self, divergence: Float[Tensor, " batch"]) -> None:
        """Run after the actor's step."""

    def _setup_model(self) -> None:
        super()._setup_model()
        self.actor, self.critic, self.critic_target = self.policy.actor, self.policy.critic, self.policy.critic_target
        for group in self.actor.optimizer.param_groups:
            group["lr"] = self.actor_learning_rate

    def _num_warmup_updates(self) -> int:
        if self.warmup_updates is not None:
            return self.warmup_updates
        return min(self.default_warmup_updates, self._total_timesteps // 10)

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Do the updates of an epoch."""
        self.policy.set_training_mode(True)
        self._update_learning_rate([self.critic.optimizer])
        warmup_updates = self._num_warmup_updates()
        totals: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        for step in range(self._n_updates, self._n_updates + gradient_steps):
            batch = self.replay_buffer.sample(batch_size)
            metrics = self._learn_behaviour(batch)
            metrics |= self._update_critic(batch)
            metrics |= self._update_actor(batch.observations, critic_weight=float(step >= warmup_updates))
            polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)
            for name, value in metrics.items():
                totals[name] += value.detach()
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/divergence_weight", float(self.divergence_weight))
        for name, total in totals.items():
            self.logger.record(f"train/{name}", float(total) / gradient_steps)

    def _update_critic(self, batch: ReplayBufferSamples) -> dict[str, Tensor]:
        with torch.no_grad():
            next_values = self._next_values(batch.next_observations)
            targets = batch.rewards + (1.0 - batch.dones) * self.gamma * next_values
        values = self.critic(batch.observations, batch.actions)
        loss = torch.stack([F.mse_loss(value, targets) for value in values]).sum()
        descend(self.critic.optimizer, loss)
        return {"critic_loss": loss, "q_mean": values[0].mean()}

    def _update_actor(self, observations: Tensor, *, critic_weight: float) -> dict[str, Tensor]:
        actions, divergence = self._regulariser(observations)
        lowest = torch.cat(self.critic(observations, actions), dim=1).amin(dim=1)
        loss = (self.divergence_weight * divergence - critic_weight * lowest).mean()
        descend(self.actor.optimizer, loss)
        self._after_actor(divergence)
        return {"actor_loss": loss, "divergence": divergence.mean()}

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "actor", "critic", "critic_target"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "actor.optimizer", "critic.optimizer"], []
