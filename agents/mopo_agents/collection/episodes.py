"""Run episodes of a fixed policy in parallel, each with its own random numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.sac.policies import SACPolicy

from mopo_agents.policies import load_policy
from mopo_agents.sb3.squashed_gaussian import squash
from mopo_env.errors import ConfigError
from mopo_env.transitions import Episode

# The policy's network computes the actions of all of them in one batch. The data depend on this number: sums in a batch
# of another size differ in the last bit.
EPISODES_SIDE_BY_SIDE = 16

MakeEnv = Callable[[], gym.Env[Any, Any]]
# Arguments: observations, shape ``(episode, observation)``, a generator for each episode, and the running episodes.
# Result: actions in raw units, shape ``(episode, action)``. Finished episodes draw no numbers, their rows are unused.
RolloutPolicy = Callable[[np.ndarray, Sequence[np.random.Generator], Sequence[int]], np.ndarray]


class EpisodeRunner:
    """Runs numbered groups of episodes. The result of a group does not depend on earlier groups."""

    def __init__(self, make_env: MakeEnv, policy: Path, seed: int, stream: int) -> None:
        """Build the policy and an environment for each episode of a group; the arguments are those of `roll_out`."""
        self._envs = [make_env() for _ in range(EPISODES_SIDE_BY_SIDE)]
        self._act = make_rollout_policy(policy)
        self._seed, self._stream = seed, stream

    def run(self, group: int) -> list[Episode]:
        """Run a group of whole episodes in parallel."""
        first = group * EPISODES_SIDE_BY_SIDE
        starts, generators = [], []
        for episode, env in enumerate(self._envs, start=first):
            seeds = np.random.SeedSequence(self._seed, spawn_key=(self._stream, episode))
            start_seed, action_seed = seeds.generate_state(2, np.uint64).tolist()  # 64 bits, so that no two are equal
            starts.append(env.reset(seed=start_seed)[0])
            generators.append(np.random.default_rng(action_seed))
        latest = np.stack(starts)  # finished episodes stay in the batch, so that its size is constant
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


def squashed_gaussian(policy: SACPolicy) -> RolloutPolicy:
    """Return SAC's stochastic policy: the tanh of a Gaussian (Haarnoja et al., 2018, Appendix C), scaled to the box."""

    def act(observations: np.ndarray, generators: Sequence[np.random.Generator], running: Sequence[int]) -> np.ndarray:
        noise = np.zeros((len(observations), *policy.action_space.shape), dtype=np.float32)  # type: ignore[misc]
        for index in running:
            generators[index].standard_normal(dtype=np.float32, out=noise[index])
        with torch.no_grad():
            mean, log_std, _ = policy.actor.get_action_dist_params(torch.from_numpy(observations))
            squashed = squash(mean, log_std, torch.from_numpy(noise))
        return policy.unscale_action(squashed.numpy())

    return act


def make_rollout_policy(folder: Path) -> RolloutPolicy:
    """Load the policy of SAC in a folder."""
    policy = load_policy(folder)
    if not isinstance(policy, SACPolicy) or policy.actor.use_sde:
        raise ConfigError(f"{folder}: only policies of SAC without gSDE can be rolled out, found {type(policy)}.")
    return squashed_gaussian(policy)
