"""What the ways to choose the actions of model rollouts share: a generator of their own, put before any class."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

__all__ = ["OwnActionRandom", "put_before"]


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


def put_before(mixin: type[OffPolicyAlgorithm], agent_class: type[BaseAlgorithm]) -> type[BaseAlgorithm]:
    """Return a subclass of both; it goes by the name of the agent's class, under which policies are saved."""
    identity: dict[str, Any] = {name: getattr(agent_class, name) for name in ("__doc__", "__module__", "__qualname__")}
    return type(agent_class.__name__, (mixin, agent_class), identity)
