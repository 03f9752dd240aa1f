"""DQN and QRDQN for epochs of many rollouts and then many updates: exploration and the target network."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import polyak_update

from mopo_agents.sb3.mixins import OwnActionRandom

# The learning rate is that of Stable-Baselines3's SAC, since the default of DQN, 1e-4, is for Atari. The target is
# copied as a whole every 250 updates, as in the DQN paper.
VALUE_AGENT_OPTIONS = {"learning_rate": 3e-4, "target_update_interval": 250}

# For each package and class, the name of the trained network; the target network has the suffix "_target".
_NETWORKS = {("stable_baselines3", "DQN"): "q_net", ("sb3_contrib", "QRDQN"): "quantile_net"}


class ValueAgent(OwnActionRandom):
    """Mixin for DQN and QRDQN that changes two things for many parallel rollouts.

    The target: Stable-Baselines3 updates it between environment steps. An epoch has h of these steps and then a
    thousand updates, in which the target would not change; so each epoch would add at most h steps of reward to the
    values. Here `target_update_interval` counts updates, as in the DQN paper.

    Exploration: Stable-Baselines3 draws one random number for all environments, so that in a step all of them explore
    or none does. Here every rollout draws its own. The exploration rate is the same: it follows the progress of `learn`
    and does not depend on the number of rollouts.
    """

    exploration_schedule: Schedule
    target_update_interval: int
    batch_norm_stats: list[Any]
    batch_norm_stats_target: list[Any]
    _optimizer_steps = 0

    def _setup_model(self) -> None:
        # Stable-Baselines3 counts environment steps, and warns about an interval below the number of environments.
        interval, self.target_update_interval = self.target_update_interval, self.n_envs
        super()._setup_model()
        self.target_update_interval = interval
        name = next(network for network in _NETWORKS.values() if hasattr(self, network))
        weights, target = (list(getattr(self, which).parameters()) for which in (name, f"{name}_target"))

        def move_target(*_: Any) -> None:
            self._optimizer_steps += 1  # an attribute, so that it is saved with the agent
            if self._optimizer_steps % interval == 0:
                polyak_update(weights, target, self.tau)
                polyak_update(self.batch_norm_stats, self.batch_norm_stats_target, 1.0)

        self.policy.optimizer.register_step_post_hook(move_target)

    def _on_step(self) -> None:
        self.exploration_rate = self.exploration_schedule(self._current_progress_remaining)
        self.logger.record("rollout/exploration_rate", self.exploration_rate)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        best, _ = self.policy.predict(self._last_obs, deterministic=True)  # type: ignore[arg-type]  # set by `learn`
        share = self.exploration_schedule(self._current_progress_remaining)
        if self.num_timesteps < learning_starts:
            share = 1.0
        actions = np.where(self._action_random.random(n_envs) < share, self._uniform_numbers(n_envs), best)
        return actions, actions


def is_value_agent(agent_class: type[BaseAlgorithm]) -> bool:
    """Return whether a class is DQN, QRDQN or a subclass."""
    return any((kind.__module__.split(".")[0], kind.__name__) in _NETWORKS for kind in agent_class.__mro__)
