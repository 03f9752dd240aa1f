"""How a fixed policy acts in many episodes at once, each with random numbers of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium.spaces import Box, Space
from stable_baselines3.sac.policies import SACPolicy

from mopo_agents.policies import load_policy
from mopo_agents.sb3.squashed_gaussian import squash
from mopo_env.errors import ConfigError

__all__ = ["RolloutPolicy", "SquashedGaussianPolicy", "UniformPolicy", "make_rollout_policy"]


class RolloutPolicy(Protocol):
    """Chooses actions for a batch of episodes."""

    def __call__(
        self, observations: np.ndarray, generators: Sequence[np.random.Generator], running: Sequence[int]
    ) -> np.ndarray:
        """Return actions for a batch.

        Args:
            observations: Shape ``(episode, observation)``, float32.
            generators: One for each episode.
            running: The episodes that still need an action; only their generators are drawn from.

        Returns:
            Shape ``(episode, action)``, float32, in raw units; the rows of other episodes mean nothing.
        """
        ...


class UniformPolicy:
    """Any action of a box with the same probability."""

    def __init__(self, space: Box) -> None:
        self._space = space

    def __call__(
        self, observations: np.ndarray, generators: Sequence[np.random.Generator], running: Sequence[int]
    ) -> np.ndarray:
        """Return uniform actions, whatever is observed."""
        shares = np.zeros((len(observations), *self._space.shape), dtype=np.float32)
        for index in running:
            generators[index].random(dtype=np.float32, out=shares[index])
        actions: np.ndarray = self._space.low + shares * (self._space.high - self._space.low)
        return actions


class SquashedGaussianPolicy:
    """SAC's stochastic policy: tanh of a Gaussian, scaled to the box (Haarnoja et al., 2018, Appendix C)."""

    def __init__(self, policy: SACPolicy) -> None:
        self._policy = policy

    def __call__(
        self, observations: np.ndarray, generators: Sequence[np.random.Generator], running: Sequence[int]
    ) -> np.ndarray:
        """Return actions that are drawn as Stable-Baselines3 draws them, but from these generators."""
        noise = np.zeros((len(observations), *self._policy.action_space.shape), dtype=np.float32)  # type: ignore[misc]
        for index in running:
            generators[index].standard_normal(dtype=np.float32, out=noise[index])
        with torch.inference_mode():
            mean, log_std, _ = self._policy.actor.get_action_dist_params(torch.from_numpy(observations))
            squashed = squash(mean, log_std, torch.from_numpy(noise))
        return self._policy.unscale_action(squashed.numpy())


def make_rollout_policy(folder: Path | None, action_space: Space[Any]) -> RolloutPolicy:
    """Return the policy that lies in a folder, or uniform random actions for None.

    Raises:
        StoreError: If the policy's files are missing or damaged.
        ConfigError: If its actions are not SAC's, or the actions have no bounds.
    """
    if folder is None:
        if not isinstance(action_space, Box) or not action_space.is_bounded():
            raise ConfigError(f"random actions need a box with finite bounds, found {action_space}.")
        return UniformPolicy(action_space)
    policy = load_policy(folder)
    if not isinstance(policy, SACPolicy) or policy.actor.use_sde:
        raise ConfigError(f"{folder}: only policies of SAC without gSDE can be rolled out, found {type(policy)}.")
    return SquashedGaussianPolicy(policy)
