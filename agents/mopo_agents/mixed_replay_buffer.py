"""`MixedReplayBuffer`: batches of D_env ∪ D_model with an exact share of real rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from mopo_env.checks import check_integer, check_number
from mopo_env.errors import ConfigError, SpaceMismatchError
from mopo_env.transitions import Transitions

__all__ = ["MixedReplayBuffer"]


class MixedReplayBuffer(ReplayBuffer):
    """A first-in-first-out buffer of model rows that adds real rows to every batch (paper, Algorithm 2, line 11).

    Each mini-batch holds ``round(real_ratio * size)`` rows of the dataset, and model rows for the rest; both are
    drawn uniformly with replacement. Pass the class to any off-policy agent as ``replay_buffer_class``, then attach
    the dataset: what is given as ``replay_buffer_kwargs`` would be written into every save of the agent.

    SBX draws the batches of many updates at once and cuts them apart, hence `attach` can be told the size of one.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        *,
        real_ratio: float = 0.05,
        seed: int = 0,
    ) -> None:
        """Allocate the model rows; the first seven arguments are Stable-Baselines3's.

        Args:
            buffer_size: Model rows to keep: retain_epochs·b·h.
            observation_space: Of the environment.
            action_space: Of the environment.
            device: Where batches go.
            n_envs: b.
            optimize_memory_usage: Must be False: rows of neighbouring steps belong to different rollouts.
            handle_timeout_termination: Whether a truncated rollout still bootstraps; leave it True.
            real_ratio: f, the share of real rows, from 0 to 1.
            seed: Of the draws.

        Raises:
            ConfigError: If `real_ratio` lies outside 0…1, or memory use is to be "optimized".
        """
        if optimize_memory_usage:
            raise ConfigError("optimize_memory_usage: must be False, since rollouts restart between neighbouring rows.")
        self.real_ratio = check_number("real_ratio", real_ratio, minimum=0.0, maximum=1.0)
        super().__init__(
            buffer_size,
            observation_space,
            action_space,
            device,
            n_envs=n_envs,
            handle_timeout_termination=handle_timeout_termination,
        )
        self._random = np.random.default_rng(seed)
        self._real: tuple[np.ndarray, ...] | None = None
        self._mini_batch_size: int | None = None

    def attach(self, transitions: Transitions, *, mini_batch_size: int | None = None) -> None:
        """Give the buffer its real rows.

        Args:
            transitions: D_env, in raw units; the actions are scaled to −1…1, as agents keep them, or stay numbers.
            mini_batch_size: Rows of one update, for agents that draw several updates' rows in one call.

        Raises:
            SpaceMismatchError: If the widths differ from those of the spaces.
        """
        actions = _stored_actions(transitions)
        if transitions.observations.shape[1:] != self.obs_shape or actions.shape[1] != self.action_dim:
            raise SpaceMismatchError(
                f"the dataset has observations of width {transitions.observation_dim} and actions of width "
                f"{actions.shape[1]}, but the buffer was made for {self.obs_shape} and ({self.action_dim},)."
            )
        if isinstance(transitions.action_space, spaces.Discrete) != isinstance(self.action_space, spaces.Discrete):
            raise SpaceMismatchError(
                f"the dataset has actions of {transitions.action_space}, but the buffer was made for "
                f"{self.action_space}."
            )
        if mini_batch_size is not None:
            check_integer("mini_batch_size", mini_batch_size)
        self._mini_batch_size = mini_batch_size
        self._real = (
            transitions.observations,
            actions,
            transitions.next_observations,
            transitions.terminations.astype(np.float32)[:, None],
            transitions.rewards[:, None],
        )

    def num_real(self, batch_size: int) -> int:
        """Return how many rows of a mini-batch are real."""
        return round(self.real_ratio * batch_size)

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw a batch, real rows first within each mini-batch.

        Raises:
            ConfigError: If real rows are due and none were attached, or model rows are due and there are none.
        """
        size = self._mini_batch_size or batch_size
        if batch_size % size:
            size = batch_size
        num_batches, num_real = batch_size // size, self.num_real(size)
        parts = []
        if num_real:
            if self._real is None:
                raise ConfigError("the replay buffer has no real rows: call attach(transitions), or set real_ratio=0.")
            rows = self._random.integers(len(self._real[0]), size=(num_batches, num_real))
            parts.append([column[rows] for column in self._real])
        if num_real < size:
            parts.append(self._model_rows((num_batches, size - num_real)))
        columns = [np.concatenate(both, axis=1) for both in zip(*parts, strict=True)]
        observations, actions, next_observations, dones, rewards = (
            column.reshape(batch_size, column.shape[-1]) for column in columns
        )
        return ReplayBufferSamples(
            observations=self.to_torch(np.asarray(self._normalize_obs(observations, env))),
            actions=self.to_torch(actions),
            next_observations=self.to_torch(np.asarray(self._normalize_obs(next_observations, env))),
            dones=self.to_torch(dones),
            rewards=self.to_torch(self._normalize_reward(rewards, env)),
        )

    def _model_rows(self, shape: tuple[int, int]) -> list[np.ndarray]:
        filled = self.size()
        if not filled:
            raise ConfigError("the replay buffer holds no model rows yet: roll the model out first.")
        where = self._random.integers(filled, size=shape), self._random.integers(self.n_envs, size=shape)
        # The end of a rollout at the horizon is no terminal state: the critic bootstraps there.
        terminal = self.dones[where] * (1.0 - self.timeouts[where])
        return [
            self.observations[where],
            self.actions[where],
            self.next_observations[where],
            terminal[..., None],
            self.rewards[where][..., None],
        ]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the real rows out of pickles: they are on disk already."""
        return {**self.__dict__, "_real": None}


def _stored_actions(transitions: Transitions) -> np.ndarray:
    """Return actions as Stable-Baselines3 keeps them: scaled to −1…1, or a column of numbers."""
    space = transitions.action_space
    if isinstance(space, spaces.Discrete):
        return transitions.actions[:, None]
    scaled: np.ndarray = 2.0 * (transitions.actions - space.low) / (space.high - space.low) - 1.0
    return scaled
