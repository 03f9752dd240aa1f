"""Run episodes of a fixed policy side by side, each with random numbers of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Space
from stable_baselines3.sac.policies import SACPolicy

from mopo_agents.policies import load_policy
from mopo_agents.sb3.squashed_gaussian import squash
from mopo_env.errors import ConfigError
from mopo_env.transitions import Episode

__all__ = ["EPISODES_SIDE_BY_SIDE", "EpisodeRunner", "MakeEnv", "make_rollout_policy", "squashed_gaussian", "uniform"]

# One pass of the policy's network serves them all. The number is part of the data: in a batch of another size, sums
# differ in the last bit.
EPISODES_SIDE_BY_SIDE = 16

MakeEnv = Callable[[], gym.Env[Any, Any]]
# From observations, shape ``(episode, observation)``, a generator for each episode, and the episodes that still need an
# action, to actions in raw units, shape ``(episode, action)``. Only the generators of running episodes are drawn from,
# and the rows of the others mean nothing.
RolloutPolicy = Callable[[np.ndarray, Sequence[np.random.Generator], Sequence[int]], np.ndarray]


class EpisodeRunner:
    """Runs numbered groups of episodes; each group comes out the same, whatever was run before it."""

    def __init__(self, make_env: MakeEnv, policy: Path | None, seed: int, stream: int) -> None:
        """Build what is slow to build.

        Args:
            make_env: Builds the environment; one is built for each episode of a group.
            policy: The folder of a policy, or None for uniform random actions.
            seed: Of all episodes.
            stream: Tells apart the rollouts of one seed.
        """
        self._envs = [make_env() for _ in range(EPISODES_SIDE_BY_SIDE)]
        self._act = make_rollout_policy(policy, self._envs[0].action_space)
        self._seed, self._stream = seed, stream

    def run(self, group: int) -> list[Episode]:
        """Run a group of whole episodes side by side."""
        first = group * EPISODES_SIDE_BY_SIDE
        seeds = [_seeds_of_episode(self._seed, self._stream, first + index) for index in range(len(self._envs))]
        generators = [np.random.default_rng(action_seed) for _, action_seed in seeds]
        starts = [env.reset(seed=start_seed)[0] for env, (start_seed, _) in zip(self._envs, seeds, strict=True)]
        latest = np.stack(starts)  # finished episodes keep their place, so that the batch keeps its size
        observations, terminated = [[start] for start in starts], [False] * len(starts)
        actions, rewards = [list[np.ndarray]() for _ in starts], [list[float]() for _ in starts]
        running = list(range(len(starts)))
        while running:
            chosen = self._act(latest, generators, running)
            for index in tuple(running):
                latest[index], reward, terminated[index], truncated, _ = self._envs[index].step(chosen[index])
                observations[index].append(latest[index].copy())
                actions[index].append(chosen[index])
                rewards[index].append(float(reward))
                if terminated[index] or truncated:
                    running.remove(index)
        columns = ([np.array(column, dtype=np.float32) for column in part] for part in (observations, actions, rewards))
        return [
            Episode(observations=seen, actions=done, rewards=paid, terminated=ended)
            for seen, done, paid, ended in zip(*columns, terminated, strict=True)
        ]


def _seeds_of_episode(seed: int, stream: int, episode: int) -> tuple[int, int]:
    """Return the seed of an episode's start and that of its actions; 64 bits, so that no two of many are the same."""
    start, actions = np.random.SeedSequence(seed, spawn_key=(stream, episode)).generate_state(2, np.uint64).tolist()
    return start, actions


def uniform(space: Box) -> RolloutPolicy:
    """Return the policy that chooses any action of a box with the same probability, whatever is observed."""

    def act(observations: np.ndarray, generators: Sequence[np.random.Generator], running: Sequence[int]) -> np.ndarray:
        shares = np.zeros((len(observations), *space.shape), dtype=np.float32)
        for index in running:
            generators[index].random(dtype=np.float32, out=shares[index])
        actions: np.ndarray = space.low + shares * (space.high - space.low)
        return actions

    return act


def squashed_gaussian(policy: SACPolicy) -> RolloutPolicy:
    """Return SAC's stochastic policy, as Stable-Baselines3 draws from it but with the noise of these generators.

    It is the tanh of a Gaussian, scaled to the box (Haarnoja et al., 2018, Appendix C).
    """

    def act(observations: np.ndarray, generators: Sequence[np.random.Generator], running: Sequence[int]) -> np.ndarray:
        noise = np.zeros((len(observations), *policy.action_space.shape), dtype=np.float32)  # type: ignore[misc]
        for index in running:
            generators[index].standard_normal(dtype=np.float32, out=noise[index])
        with torch.no_grad():
            mean, log_std, _ = policy.actor.get_action_dist_params(torch.from_numpy(observations))
            squashed = squash(mean, log_std, torch.from_numpy(noise))
        return policy.unscale_action(squashed.numpy())

    return act


def make_rollout_policy(folder: Path | None, action_space: Space[Any]) -> RolloutPolicy:
    """Return the policy that lies in a folder, or uniform random actions for None.

    Raises:
        StoreError: If the policy's files are missing or damaged.
        ConfigError: If its actions are not SAC's, or the actions have no bounds.
    """
    if folder is None:
        if not isinstance(action_space, Box) or not action_space.is_bounded():
            raise ConfigError(f"random actions need a box with finite bounds, found {action_space}.")
        return uniform(action_space)
    policy = load_policy(folder)
    if not isinstance(policy, SACPolicy) or policy.actor.use_sde:
        raise ConfigError(f"{folder}: only policies of SAC without gSDE can be rolled out, found {type(policy)}.")
    return squashed_gaussian(policy)
