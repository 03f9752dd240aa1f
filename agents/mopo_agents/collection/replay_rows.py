"""A replay buffer of Stable-Baselines3 as a dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from stable_baselines3.common.buffers import ReplayBuffer

from mopo_agents._utils.action_scale import unscale_actions
from mopo_env._utils.spaces import ActionSpace, as_action_space
from mopo_env.errors import DatasetError
from mopo_env.transitions import Transitions

__all__ = ["transitions_from_replay_buffer"]


def transitions_from_replay_buffer(
    buffer: ReplayBuffer,
    action_space: ActionSpace,
    *,
    steps: int | None = None,
    metadata: dict[str, Any] | None = None,
) -> Transitions:
    """Convert the filled part of a Stable-Baselines3 replay buffer, oldest row first.

    With several environments, the rows of one come after the rows of another: all of the first environment's, then
    all of the second's. Each environment's last row ends its episode, as a truncation unless it is terminal.
    Stable-Baselines3 keeps actions scaled to −1…1; they are scaled back to the action space here.

    Args:
        buffer: Of vector observations; shapes inside are ``(rows, n_envs, …)``.
        action_space: The environment's own: a box with finite bounds, or `Discrete`.
        steps: Only so many steps of each environment, the oldest; None: all.
        metadata: Where the rows come from.

    Raises:
        DatasetError: If the buffer is empty, or does not keep each row's own next observation.
    """
    newest = buffer.pos
    order = np.r_[newest : buffer.buffer_size, :newest] if buffer.full else np.arange(newest)
    order = order[:steps]
    if len(order) == 0:
        raise DatasetError("the replay buffer is empty; expected at least two transitions.")
    if buffer.optimize_memory_usage:
        raise DatasetError(
            "the replay buffer was made with optimize_memory_usage=True, and then the next state at the end of an "
            "episode is the start of another; expected False."
        )

    def column(array: np.ndarray) -> np.ndarray:
        """From (ring, n_envs, …) to (n_envs · rows, …)."""
        streams = array[order].swapaxes(0, 1)
        return streams.reshape(-1, *streams.shape[2:])

    actions, timeouts = column(buffer.actions), column(buffer.timeouts).astype(bool)
    terminations = column(buffer.dones).astype(bool) & ~timeouts
    # Collection stopped at the last row of each environment, whatever the episode was doing.
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
