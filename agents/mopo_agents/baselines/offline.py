"""`OfflineAgent`: Stable-Baselines3's loop with epochs of updates where the steps in an environment were."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import RolloutReturn, TrainFreq
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from mopo_agents.replay_buffer import MixedReplayBuffer
from mopo_env._utils.options import check_integer
from mopo_env._utils.spaces import finite_box
from mopo_env.errors import ConfigError
from mopo_env.transitions import Transitions

__all__ = ["DatasetEnv", "OfflineAgent"]


class DatasetEnv(gym.Env[np.ndarray, Any]):
    """A dataset in the place of an environment: it has spaces and states to start from, and cannot be stepped.

    Attributes:
        transitions: D_env.
    """

    def __init__(self, transitions: Transitions) -> None:
        self.transitions = transitions
        self.observation_space = finite_box(transitions.observation_space)
        self.action_space = transitions.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the first state on record; nobody acts on it."""
        super().reset(seed=seed)
        return self.transitions.observations[0].copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Refuse.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("a dataset cannot be stepped: train an agent of mopo_agents.baselines on it.")


class OfflineAgent(OffPolicyAlgorithm):
    """An off-policy agent whose every batch comes from a fixed dataset.

    `learn` counts updates, in whole epochs of `gradient_steps`: with the default of a thousand,
    ``BEAR("MlpPolicy", DatasetEnv(transitions)).learn(5000)`` is five epochs. Callbacks see one step an epoch. A
    subclass says what the updates of an epoch are.

    Q-functions that are trained on a fixed dataset can grow without bound (Kumar et al. 2019, section 4). When a weight
    of the policy or a loss is no finite number after an epoch, the weights of before are put back, `diverged` becomes
    True and `learn` ends: what is left acts, and can be evaluated, saved and reported as what it is.

    Attributes:
        diverged: Whether weights or losses ceased to be finite; the policy is then that of the epoch before.
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
            seed: Of the weights, the batches and the draws of the algorithm.
            **options: The algorithm's own.

        Raises:
            ConfigError: If `env` is no `DatasetEnv`, its actions are not continuous and bounded, or `gradient_steps` is
                no positive integer.
        """
        gradient_steps = check_integer("gradient_steps", gradient_steps)
        if isinstance(env, gym.Env | VecEnv):
            check_actions(env.action_space, type(self).__name__)
        self.diverged = False
        super().__init__(
            policy,
            env,
            learning_rate,
            gradient_steps=gradient_steps,
            seed=seed,
            buffer_size=1,  # no row is ever added to those of the dataset
            replay_buffer_class=MixedReplayBuffer,
            replay_buffer_kwargs={"real_ratio": 1.0, "seed": seed or 0},
            train_freq=1,
            learning_starts=0,
            **options,
        )

    @abstractmethod
    def _train_epoch(self, gradient_steps: int, batch_size: int) -> None:
        """Do the updates of an epoch, count them in `_n_updates` and record their means."""

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
        """Collect nothing: count the updates that `learn` is about to ask for."""
        if self.diverged:
            return RolloutReturn(0, 0, continue_training=False)
        callback.on_rollout_start()
        self.num_timesteps += self.gradient_steps
        self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
        callback.update_locals(locals())
        go_on = callback.on_step()
        callback.on_rollout_end()
        return RolloutReturn(0, 0, continue_training=go_on)

    def train(self, gradient_steps: int, batch_size: int = 256) -> None:
        """Do the updates of an epoch; undo them, and end the run, if weights or losses do not stay finite."""
        before = {name: tensor.clone() for name, tensor in self.policy.state_dict().items()}
        updates_before = self._n_updates
        try:
            self._train_epoch(gradient_steps, batch_size)
        except ValueError:  # torch's distributions refuse means that are not finite
            if is_finite(self.policy):
                raise
        # A loss alone can overflow: Adam then divides by infinity, and its weights stay as they are for ever.
        losses = [value for name, value in self.logger.name_to_value.items() if name.startswith("train/")]
        if not (is_finite(self.policy) and np.isfinite(losses).all()):
            self.policy.load_state_dict(before)
            self._n_updates = updates_before
            self.diverged = True

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.env is None:  # SB3's load(): the agent can act, and learns on once it is given a dataset
            return
        try:
            transitions = self.env.get_attr("transitions")[0]
        except AttributeError:
            raise ConfigError(
                f"env: {type(self).__name__} learns from a dataset alone; pass DatasetEnv(transitions)."
            ) from None
        self.replay_buffer.attach(transitions)


def check_actions(space: gym.Space[Any], agent: str) -> None:
    """Refuse a space that a tanh of a Gaussian cannot act in.

    Raises:
        ConfigError: If it is no box, or has an infinite bound.
    """
    if not isinstance(space, Box) or not space.is_bounded():
        instead = " In a model, DQN, QRDQN, PPO or A2C choose such actions." if isinstance(space, Discrete) else ""
        raise ConfigError(f"action_space: {agent} needs continuous actions with finite bounds, found {space}.{instead}")


def is_finite(module: nn.Module) -> bool:
    """Return whether every tensor of a network is finite."""
    return all(bool(tensor.isfinite().all()) for tensor in module.state_dict().values())
