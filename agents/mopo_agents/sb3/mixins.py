"""What the ways to choose the actions of model rollouts share: a generator of their own, put before any class."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from mopo_env.errors import ConfigError

__all__ = ["OwnActionRandom", "RandomRollouts", "apply_mixin", "with_random_rollouts"]


class OwnActionRandom(OffPolicyAlgorithm):
    """An agent whose random rollout actions come from a generator of its own; saves leave the generator out."""

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the agent, and the generator of the actions."""
        super().set_random_seed(seed)
        # A child of the seed: the replay buffer draws from the seed itself, and the two must not move together.
        self._action_random = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_action_random"]

    def _uniform_numbers(self, n_envs: int) -> np.ndarray:
        """Draw numbered actions, shape ``(n_envs,)``."""
        return self._action_random.integers(self.action_space.n, size=n_envs)  # type: ignore[attr-defined]  # Discrete


def apply_mixin(mixin: type[OffPolicyAlgorithm], agent_class: type[BaseAlgorithm]) -> type[BaseAlgorithm]:
    """Return a subclass of both; it goes by the name of the agent's class, under which policies are saved."""
    identity: dict[str, Any] = {name: getattr(agent_class, name) for name in ("__doc__", "__module__", "__qualname__")}
    return type(agent_class.__name__, (mixin, agent_class), identity)


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
    return apply_mixin(RandomRollouts, agent_class)
