"""`MixedReplayBuffer`: batches from D_env ∪ D_model with an exact share of real rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float, Shaped
from stable_baselines3.common.buffers import BaseBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from mopo_agents._utils.action_scale import scale_actions
from mopo_env._utils.options import check_integer, check_number
from mopo_env.errors import ConfigError, SpaceMismatchError
from mopo_env.transitions import Transitions


class MixedReplayBuffer(ReplayBuffer):
    """A first-in-first-out buffer of model rows that adds real rows to every batch (paper, Algorithm 2, line 11).

    Each mini-batch contains ``round(real_ratio * size)`` rows of the dataset, and model rows for the rest. Both are
    drawn uniformly with replacement. A row is contiguous memory on the agent's device, so that a batch is gathered
    there in one operation.

    Pass the class to any off-policy agent as ``replay_buffer_class``, then attach the dataset. Do not put the dataset
    into ``replay_buffer_kwargs``, because every saved agent contains them.
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
        """Allocate the model rows.

        The first seven arguments are Stable-Baselines3's: `buffer_size` is retain_epochs·b·h, and `n_envs` is b.
        `real_ratio` is f, the share of real rows, from 0 to 1, and `seed` that of the draws.

        Raises:
            ConfigError: If `real_ratio` is outside 0…1, or `optimize_memory_usage` is True.
        """
        if optimize_memory_usage:
            raise ConfigError(
                "optimize_memory_usage: must be False, because neighbouring rows can belong to different rollouts."
            )
        self.real_ratio = check_number("real_ratio", real_ratio, minimum=0.0, maximum=1.0)
        # ReplayBuffer's own __init__ would allocate an array on the CPU for each column.
        BaseBuffer.__init__(self, buffer_size, observation_space, action_space, device, n_envs=n_envs)
        self.buffer_size = max(buffer_size // n_envs, 1)
        self.optimize_memory_usage = False
        self.handle_timeout_termination = handle_timeout_termination
        observation_dim = math.prod(self.obs_shape)
        self._widths = [observation_dim, self.action_dim, observation_dim, 1, 1, 1]
        self._model = torch.zeros(self.buffer_size, n_envs, sum(self._widths), device=self.device)
        self._real: Tensor | None = None
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self._mini_batch_size: int | None = None

    def attach(self, transitions: Transitions, *, mini_batch_size: int | None = None) -> None:
        """Give the buffer its real rows.

        Args:
            transitions: D_env, in raw units; continuous actions are scaled to −1…1 here.
            mini_batch_size: Rows of one update. SBX needs it, because it draws the rows of several updates in one call.

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
            mini_batch_size = check_integer("mini_batch_size", mini_batch_size)
        self._mini_batch_size = mini_batch_size
        zeros = np.zeros(len(actions), dtype=np.float32)
        columns = [transitions.observations, actions, transitions.next_observations]
        columns += [column[:, None] for column in (transitions.rewards, transitions.terminations, zeros)]
        rows = np.concatenate(columns, axis=1, dtype=np.float32, casting="unsafe")
        self._real = torch.from_numpy(rows).to(self.device)

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw a batch, real rows first within each mini-batch.

        Raises:
            ConfigError: If real rows are needed but not attached, or model rows are needed but none are stored.
        """
        size = self._mini_batch_size or batch_size
        if batch_size % size:
            size = batch_size
        num_batches, num_real = batch_size // size, self.num_real_rows(size)
        parts = []
        if num_real:
            if self._real is None:
                raise ConfigError("the replay buffer has no real rows: call attach(transitions), or set real_ratio=0.")
            parts.append(self._draw(self._real, (num_batches, num_real)))
        if num_real < size:
            if not self.size():
                raise ConfigError("the replay buffer holds no model rows yet: roll the model out first.")
            model = self._model[: self.size()].flatten(0, 1)
            parts.append(self._draw(model, (num_batches, size - num_real)))
        rows = torch.cat(parts, dim=1).view(batch_size, -1)
        observations, actions, next_observations, rewards, dones, timeouts = torch.split(rows, self._widths, dim=1)
        if env is not None:
            observations, next_observations = (
                self.to_torch(np.asarray(env.normalize_obs(found.cpu().numpy())))
                for found in (observations, next_observations)
            )
            rewards = self.to_torch(env.normalize_reward(rewards.cpu().numpy()))
        return ReplayBufferSamples(
            observations=observations,
            actions=actions.long() if isinstance(self.action_space, spaces.Discrete) else actions,
            next_observations=next_observations,
            # The horizon does not make a state terminal: the critic bootstraps there.
            dones=dones * (1.0 - timeouts),
            rewards=rewards,
        )

    def num_real_rows(self, mini_batch_size: int) -> int:
        """Return how many rows of a mini-batch, its first ones, are real."""
        return round(self.real_ratio * mini_batch_size)

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: Sequence[Mapping[str, Any]],
    ) -> None:
        """Store one step of every rollout, in the form of Stable-Baselines3."""
        timeouts = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        columns = (obs, action, next_obs, reward, done, timeouts)
        self.add_rows(*(torch.from_numpy(np.asarray(column)) for column in columns))

    def add_rows(
        self,
        observations: Float[Tensor, "env observation"],
        actions: Shaped[Tensor, "env ..."],
        next_observations: Float[Tensor, "env observation"],
        rewards: Float[Tensor, " env"],
        dones: Shaped[Tensor, " env"],
        timeouts: Shaped[Tensor, " env"],
    ) -> None:
        """Store one step of every rollout; the tensors can be on any device.

        Args:
            observations: s, raw units.
            actions: a, scaled to −1…1; discrete actions as numbers.
            next_observations: s′, raw units; where a rollout ended, its last state.
            rewards: r̃.
            dones: Whether the rollout ended.
            timeouts: Whether the horizon alone ended it.
        """
        if not self.handle_timeout_termination:
            timeouts = torch.zeros_like(timeouts)
        columns = (observations, actions, next_observations, rewards, dones, timeouts)
        for part, column in zip(torch.split(self._model[self.pos], self._widths, dim=1), columns, strict=True):
            part.copy_(column.view(self.n_envs, -1))
        self.pos += 1
        if self.pos == self.buffer_size:
            self.full, self.pos = True, 0

    def newest_steps(self, count: int) -> Float[np.ndarray, "step env column"]:
        """Return a copy of the last `count` steps, oldest first, for `restore`."""
        places = torch.arange(self.pos - count, self.pos, device=self.device) % self.buffer_size
        steps: np.ndarray = self._model[places].cpu().numpy()
        return steps

    def restore(self, steps: Sequence[Float[np.ndarray, "step env column"]], *, num_added: int) -> None:
        """Put steps back to their places in the memory, on which the draws depend.

        Args:
            steps: The newest steps, oldest first, in any number of parts; those that no longer fit are skipped.
            num_added: The number of all steps that were ever added.
        """
        place = num_added - sum(map(len, steps))
        for part in steps:
            for rows in part:
                self._model[place % self.buffer_size].copy_(torch.from_numpy(rows))
                place += 1
        self.pos, self.full = num_added % self.buffer_size, num_added >= self.buffer_size

    def _draw(self, rows: Float[Tensor, "row column"], shape: tuple[int, int]) -> Float[Tensor, "update batch column"]:
        chosen = torch.randint(len(rows), shape, generator=self._generator, device=self.device)
        return rows.index_select(0, chosen.view(-1)).view(*shape, -1)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickles, without the real rows and without the empty part of the buffer."""
        return {**self.__dict__, "_real": None, "_model": self._model[: self.size()].clone()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state, and allocate the empty part."""
        self.__dict__ |= state
        filled = state["_model"]
        self._model = filled.new_zeros(self.buffer_size, *filled.shape[1:])
        self._model[: len(filled)] = filled

    # The arrays of Stable-Baselines3's buffers, shape (step, env, …).
    observations = property(lambda self: self._column(0))
    actions = property(lambda self: self._column(1).astype(self.action_space.dtype, copy=False))
    next_observations = property(lambda self: self._column(2))
    rewards = property(lambda self: self._column(3)[..., 0])
    dones = property(lambda self: self._column(4)[..., 0])
    timeouts = property(lambda self: self._column(5)[..., 0])

    def _column(self, index: int) -> np.ndarray:
        column: np.ndarray = torch.split(self._model, self._widths, dim=2)[index].cpu().numpy()
        return column


def _stored_actions(transitions: Transitions) -> np.ndarray:
    """Return actions as Stable-Baselines3 stores them: scaled to −1…1, or a column of numbers."""
    space = transitions.action_space
    if isinstance(space, spaces.Discrete):
        return transitions.actions[:, None]
    return scale_actions(transitions.actions, space)
