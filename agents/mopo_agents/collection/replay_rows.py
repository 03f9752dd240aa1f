"""Convert a replay buffer of Stable-Baselines3 to a dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from stable_baselines3.common.buffers import ReplayBuffer

from mopo_agents._utils.action_scale import unscale_actions
from mopo_env._utils.spaces import ActionSpace, as_action_space
from mopo_env.errors import DatasetError
from mopo_env.transitions import Transitions


def transitions_from_replay_buffer(
    buffer: ReplayBuffer,
    action_space: ActionSpace,
    *,
    steps: int | None = None,
    metadata: dict[str, Any] | None = None,
) -> Transitions:
    """Convert the filled part of a Stable-Baselines3 replay buffer to a dataset, oldest row first.

    With several environments, all rows of the first environment come before all rows of the second. The last row of
    each environment ends its episode: it is truncated unless it is terminal. Stable-Baselines3 scales actions to −1…1;
    this function scales them back.

    Args:
        buffer: A buffer of vector observations. Its arrays have the shape ``(rows, n_envs, …)``.
        action_space: The environment's action space: a box with finite bounds, or `Discrete`.
        steps: Keep only this many steps of each environment, the oldest ones. None: all.
        metadata: The origin of the rows.

    Raises:
        DatasetError: If the buffer is empty, or does not store the next observation of each row.
    """
    newest = buffer.pos
    order = np.r_[newest : buffer.buffer_size, :newest] if buffer.full else np.arange(newest)
    order = order[:steps]
    if len(order) == 0:
        raise DatasetError("the replay buffer is empty, expected at least two transitions.")
    if buffer.optimize_memory_usage:
        raise DatasetError(
            "the replay buffer has optimize_memory_usage=True, expected False. With True, the next state at the end of "
            "an episode is lost: it is the first state of the next episode."
        )

    def column(array: np.ndarray) -> np.ndarray:
        """From (ring, n_envs, …) to (n_envs · rows, …)."""
        streams = array[order].swapaxes(0, 1)
        return streams.reshape(-1, *streams.shape[2:])

    actions, timeouts = column(buffer.actions), column(buffer.timeouts).astype(bool)
    terminations = column(buffer.dones).astype(bool) & ~timeouts
    # The collection stopped at the last row of each environment, usually in the middle of an episode.
    last = np.arange(1, len(timeouts) + 1) % len(order) == 0
    return Transitions(
        observations=column(buffer.observations),
        actions=actions if isinstance(action_space, Discrete) else unscale_actions(actions, action_space),
        rewards=column(buffer.rewards),
        next_observations=column(buffer.next_observations),
        terminations=terminations,
        truncations=np.where(last, ~terminations, timeouts),
        action_space=as_action_space(action_space, "actions"),
        metadata=metadata or {},
    )
