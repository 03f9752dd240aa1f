"""Uniform random actions in model rollouts, for any off-policy agent (paper, Appendix C.1)."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Discrete
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from mopo_agents.sb3.mixins import OwnActionRandom, put_before
from mopo_env.errors import ConfigError

__all__ = ["RandomRollouts", "with_random_rollouts"]


class RandomRollouts(OwnActionRandom):
    """Put before an agent's class, this chooses its rollout actions uniformly; its updates and `predict` stay.

    Stable-Baselines3's own way to random actions, `learning_starts`, would also put off the updates.
    """

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return actions for the environments, and the same as the replay buffer has them: scaled to −1…1, or numbers.

        Noise is not added: it would make the distribution another one.
        """
        if isinstance(self.action_space, Discrete):
            numbers = self._uniform_numbers(n_envs)
            return numbers, numbers
        shape = (n_envs, *(self.action_space.shape or ()))
        scaled = self._action_random.uniform(-1.0, 1.0, shape).astype(np.float32)
        return self.policy.unscale_action(scaled), scaled


def with_random_rollouts(agent_class: type[BaseAlgorithm]) -> type[BaseAlgorithm]:
    """Return a subclass of an off-policy agent's class whose rollout actions are uniform.

    It goes by the name of the class given, under which policies are saved: a policy does not depend on who rolled out.

    Raises:
        ConfigError: If the class is not off-policy; such agents learn from their own actions only.
    """
    if not issubclass(agent_class, OffPolicyAlgorithm):
        raise ConfigError(
            f"random_rollouts: {agent_class.__name__} is not off-policy and learns from its own actions only. "
            "Choose an off-policy agent such as SAC, or set random_rollouts to False."
        )
    return put_before(RandomRollouts, agent_class)
