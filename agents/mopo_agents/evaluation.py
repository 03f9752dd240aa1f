"""Measure a policy in the real environment; training never uses the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from mopo_env._utils.options import check_integer
from mopo_env.datasets.locate import resolve_task
from mopo_env.errors import SpaceMismatchError
from mopo_env.real.real_env import make_real_env
from mopo_env.tasks import Task
from mopo_env.transitions import Transitions

# Added to seeds, so that no evaluation episode starts like an episode of a dataset collected with seed 0, 1, …
_SEED_OFFSET = 1_000_000
# A limit that keeps the seeds of all episodes below 2³², the maximum of some environments.
_NUM_EVALUATION_SEEDS = 4_000_000


class Policy(Protocol):
    """Anything that chooses actions: a Stable-Baselines3 agent, a policy, or your own object."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Return actions for a batch of observations, and a state that may be None."""
        ...


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Evaluation episodes of one policy.

    Attributes:
        returns: Undiscounted return of each episode.
        lengths: Steps of each episode.
        normalised: The mean return on D4RL's scale: 0 is a random policy, 100 an expert; None if the task has no scale.
    """

    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    normalised: float | None

    @property
    def mean(self) -> float:
        """Mean of the returns."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Standard deviation of the returns."""
        return float(np.std(self.returns))


def evaluate(
    policy: Policy,
    task: str | Task | None = None,
    *,
    real_env: str | None = None,
    episodes: int = 10,
    seed: int = 0,
) -> Evaluation:
    """Run whole episodes in the real environment, with deterministic actions.

    Args:
        policy: Anything with Stable-Baselines3's `predict`.
        task: A task, its name or its id; None if `real_env` alone is given.
        real_env: The Gymnasium id of an environment to use instead of the task's, such as ``"Hopper-v4"`` for policies
            from D4RL's data.
        episodes: Number of episodes; they run in parallel.
        seed: Seed of the start states.

    Raises:
        UnknownNameError: If no task has this name.
        MissingExtraError: If MuJoCo is needed and not installed.
        ConfigError: If no environment is given or it cannot be made, or `episodes` is not a positive integer.
        SpaceMismatchError: If the policy was made for observations or actions of other widths.
    """
    found = resolve_task(task, real_env=real_env)
    episodes = check_integer("episodes", episodes)
    envs = DummyVecEnv([lambda: Monitor(make_real_env(found)) for _ in range(episodes)])
    envs.seed(episode_seed(seed))
    try:
        check_spaces(policy, envs, found)
        # One episode in each environment: with fewer environments, short episodes would be counted more often.
        returns, lengths = evaluate_policy(
            policy, envs, n_eval_episodes=episodes, deterministic=True, return_episode_rewards=True
        )
    finally:
        envs.close()
    return Evaluation(
        returns=tuple(np.asarray(returns, dtype=float).tolist()),
        lengths=tuple(np.asarray(lengths, dtype=int).tolist()),
        normalised=found.normalised(float(np.mean(returns))),
    )


def episode_seed(seed: int) -> int:
    """Return the seed of the first episode of an evaluation; the next ones follow."""
    return _SEED_OFFSET + 1000 * seed  # so that the episodes of two seeds have different starts


def evaluation_seed(run_seed: int, epoch: int) -> int:
    """Return the seed of a training run's evaluation after an epoch.

    Each evaluation of a run has different start states, so that a mean over evaluations also averages over the starts.
    The seed depends only on the run's seed and the epoch. ``mopo evaluate RUN --seed`` repeats an evaluation.
    """
    (word,) = np.random.SeedSequence([run_seed, epoch]).generate_state(1)
    return int(word) % _NUM_EVALUATION_SEEDS


def check_spaces(policy: Policy | BaseAlgorithm | Transitions, env: gym.Env[Any, Any] | VecEnv, task: Task) -> None:
    """Refuse a policy or data whose spaces differ from those of an environment; without spaces, nothing is checked."""
    for name in ("observation_space", "action_space"):
        found, expected = getattr(policy, name, None), getattr(env, name)
        if found is not None and _width(found) != _width(expected):
            raise SpaceMismatchError(
                f"{name}: found {_width(found)}, but {task.real_env_id}, the real environment of {task.label}, has "
                f"{_width(expected)}. Do policy and data belong to another task?"
            )


def _width(space: gym.Space[Any]) -> str:
    return f"{space.n} discrete actions" if isinstance(space, Discrete) else f"shape {space.shape}"
