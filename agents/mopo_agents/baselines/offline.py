"""`OfflineAgent`: Stable-Baselines3's loop with epochs of updates instead of environment steps; `OfflineSAC`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import RolloutReturn, TrainFreq
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from mopo_agents.replay_buffer import MixedReplayBuffer
from mopo_env._utils.options import check_integer
from mopo_env._utils.spaces import finite_box
from mopo_env.errors import ConfigError
from mopo_env.transitions import Transitions


class DatasetEnv(gym.Env[np.ndarray, Any]):
    """A dataset in the form of an environment; it has spaces and a start state, but it cannot be stepped."""

    def __init__(self, transitions: Transitions) -> None:
        self.transitions = transitions
        self.observation_space = finite_box(transitions.observation_space)
        self.action_space = transitions.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the first recorded state; agents do not use it."""
        super().reset(seed=seed)
        return self.transitions.observations[0].copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Raise a `ConfigError`."""
        raise ConfigError("a dataset cannot be stepped: train an agent of mopo_agents.baselines on it.")


class OfflineAgent(OffPolicyAlgorithm):
    """An off-policy agent that takes every batch from a fixed dataset.

    `learn` counts updates, in whole epochs of `gradient_steps`: with the default of 1000,
    ``BEAR("MlpPolicy", DatasetEnv(transitions)).learn(5000)`` is five epochs. Callbacks see one step for each epoch. A
    subclass defines the updates of an epoch in `train`.
    """

    replay_buffer: MixedReplayBuffer

    def __init__(
        self,
        policy: Any,
        env: Any,
        learning_rate: Any = 3e-4,
        *,
        gradient_steps: int = 1000,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        """Set the loop up.

        Args:
            policy: ``"MlpPolicy"``.
            env: A `DatasetEnv`.
            learning_rate: A number, or a schedule as in Stable-Baselines3.
            gradient_steps: Updates in an epoch.
            seed: Seed of the weights, the batches and the algorithm's draws.
            **options: Options of the algorithm.

        Raises:
            ConfigError: If `env` is not a `DatasetEnv`, its actions are not continuous and bounded, or `gradient_steps`
                is not a positive integer.
        """
        gradient_steps = check_integer("gradient_steps", gradient_steps)
        if isinstance(env, gym.Env | VecEnv):
            _check_actions(env.action_space, type(self).__name__)
        super().__init__(
            policy,
            env,
            learning_rate,
            gradient_steps=gradient_steps,
            seed=seed,
            buffer_size=1,  # the buffer holds only the rows of the dataset
            replay_buffer_class=MixedReplayBuffer,
            replay_buffer_kwargs={"real_ratio": 1.0, "seed": seed or 0},
            train_freq=1,
            learning_starts=0,
            **options,
        )

    @abstractmethod
    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Do the updates of an epoch, count them in `_n_updates` and log their means."""

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        train_freq: TrainFreq,
        replay_buffer: Any,
        action_noise: ActionNoise | None = None,
        learning_starts: int = 0,
        log_interval: int | None = None,
    ) -> RolloutReturn:
        """Collect nothing, and count the updates of the next epoch."""
        callback.on_rollout_start()
        self.num_timesteps += self.gradient_steps
        self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
        callback.update_locals(locals())
        go_on = callback.on_step()
        callback.on_rollout_end()
        return RolloutReturn(0, 0, continue_training=go_on)

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.env is None:  # after SB3's load(): the agent can act, and needs a dataset to learn
            return
        try:
            transitions = self.env.get_attr("transitions")[0]
        except AttributeError:
            raise ConfigError(
                f"env: {type(self).__name__} learns only from a dataset; pass DatasetEnv(transitions)."
            ) from None
        self.replay_buffer.attach(transitions)


class OfflineSAC(OfflineAgent, SAC):
    """Stable-Baselines3's SAC, with its hyperparameters, on batches from a fixed dataset; the paper calls it "SAC".

    Nothing keeps its actions near the data: the critic extrapolates to actions outside the data, and no new data
    corrects its errors (Kumar et al. 2019, section 4).
    """

    def train(self, gradient_steps: int, batch_size: int = 256) -> None:
        """Do the updates of an epoch, as Stable-Baselines3's SAC does."""
        SAC.train(self, gradient_steps, batch_size)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one gradient step on a loss, with fresh gradients."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
    optimizer.step()


def _check_actions(space: gym.Space[Any], agent: str) -> None:
    """Refuse an action space that a tanh-Gaussian policy cannot use."""
    if not isinstance(space, Box) or not space.is_bounded():
        instead = " With a model, use DQN, QRDQN, PPO or A2C." if isinstance(space, Discrete) else ""
        raise ConfigError(f"action_space: {agent} needs continuous actions with finite bounds, found {space}.{instead}")
