"""DQN and QRDQN for epochs of many rollouts and then many updates: who explores, and when the target moves."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import polyak_update

from mopo_agents.sb3.mixins import OwnActionRandom

__all__ = ["VALUE_AGENT_OPTIONS", "ValueAgent", "is_value_agent"]

# The learning rate is that of Stable-Baselines3's SAC; its DQN's own, 1e-4, is Atari's. The target is a whole copy, as
# in the paper of DQN, made every so many updates.
VALUE_AGENT_OPTIONS = {"learning_rate": 3e-4, "target_update_interval": 250}

# By package and class, the network that is updated; the target goes by the same name and "_target".
_NETWORKS = {("stable_baselines3", "DQN"): "q_net", ("sb3_contrib", "QRDQN"): "quantile_net"}


class ValueAgent(OwnActionRandom):
    """Put before the class of DQN or QRDQN, this changes two things that are made for few environments.

    Stable-Baselines3 moves the target between environment steps. An epoch has h of them and then a thousand updates,
    through which the target would stand still: each epoch would add no more than h steps of reward to the values. Here
    `target_update_interval` counts updates, as the paper of DQN does.

    And it throws one coin for all environments: in a step either all of them explore or none does. Here every rollout
    throws its own. How often they explore is unchanged: a share that falls with the progress of `learn`, whatever the
    number of rollouts.
    """

    exploration_schedule: Schedule
    target_update_interval: int
    batch_norm_stats: list[Any]
    batch_norm_stats_target: list[Any]

    def _setup_model(self) -> None:
        # Stable-Baselines3 would warn of an interval below the number of environments, in which it counts.
        interval, self.target_update_interval = self.target_update_interval, self.n_envs
        super()._setup_model()
        self.target_update_interval = interval
        name = next(network for network in _NETWORKS.values() if hasattr(self, network))
        weights, target = (list(getattr(self, which).parameters()) for which in (name, f"{name}_target"))
        updates = itertools.count(1)

        def move_target(*_: Any) -> None:
            if next(updates) % interval == 0:
                polyak_update(weights, target, self.tau)
                polyak_update(self.batch_norm_stats, self.batch_norm_stats_target, 1.0)

        self.policy.optimizer.register_step_post_hook(move_target)

    def _on_step(self) -> None:
        """Follow the schedule; the target moves after updates."""
        self.exploration_rate = self.exploration_schedule(self._current_progress_remaining)
        self.logger.record("rollout/exploration_rate", self.exploration_rate)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return an action for every rollout, twice: for the environments and for the replay buffer."""
        best, _ = self.policy.predict(self._last_obs, deterministic=True)  # type: ignore[arg-type]  # set by `learn`
        share = self.exploration_schedule(self._current_progress_remaining)
        if self.num_timesteps < learning_starts:
            share = 1.0
        actions = np.where(self._action_random.random(n_envs) < share, self._uniform_numbers(n_envs), best)
        return actions, actions


def is_value_agent(agent_class: type[BaseAlgorithm]) -> bool:
    """Return whether a class is DQN or QRDQN, or derives from one of them."""
    return any((kind.__module__.split(".")[0], kind.__name__) in _NETWORKS for kind in agent_class.__mro__)
