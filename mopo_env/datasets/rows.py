"""From rows in the order in which they were recorded to transitions, each with its true next state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mopo_env._utils.spaces import ActionSpace
from mopo_env.errors import DatasetError
from mopo_env.transitions import Transitions

__all__ = ["transitions_from_rows"]


def transitions_from_rows(
    *,
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    next_observations: np.ndarray | None = None,
    action_space: ActionSpace | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Transitions:
    """Build a dataset from recorded rows, and invent no next state.

    Where `next_observations` is None, the next state is the observation of the following row of the same episode. The
    last row of an episode has no such row: what follows it in the file is the start of the next episode, which a
    model would learn as a jump. So the last row of every episode is dropped, a terminal one too, and the row before
    it is flagged as truncated. No row is then flagged as terminated, since no terminal state was recorded.

    Args:
        observations: Shape ``(rows, observation)``, raw units.
        actions: Shape ``(rows, action)``, raw units; or ``(rows, 1)``, numbers.
        rewards: Shape ``(rows,)``.
        terminated: Shape ``(rows,)``, bool; whether the state after the row is terminal.
        truncated: Shape ``(rows,)``, bool; whether the episode ended with the row for another reason. A row that is
            both counts as terminated. The last row always ends its episode.
        next_observations: Shape ``(rows, observation)``, or None.
        action_space: Default: the box from −1 to 1.
        metadata: Where the rows come from; the number of dropped rows is added as ``rows_dropped``.

    Raises:
        DatasetError: If there are no rows, or `Transitions` refuses them.
    """
    if len(rewards) == 0:
        raise DatasetError("found no rows; at least two transitions are needed.")
    ends = terminated | truncated
    ends[-1] = True
    kept = np.arange(len(rewards)) if next_observations is not None else np.flatnonzero(~ends)
    if next_observations is None:
        next_observations = observations[kept + 1]
        terminations, truncations = np.zeros(len(kept), dtype=bool), ends[kept + 1]
    else:
        terminations, truncations = terminated, ends & ~terminated
    dropped = len(rewards) - len(kept)
    try:
        return Transitions(
            observations=observations[kept],
            actions=actions[kept],
            rewards=rewards[kept],
            next_observations=next_observations,
            terminations=terminations,
            truncations=truncations,
            action_space=action_space,  # type: ignore[arg-type]
            metadata={**(metadata or {}), "rows_dropped": dropped},
        )
    except DatasetError as error:
        if not dropped:
            raise
        raise DatasetError(
            f"{error} (Rows are counted without the last row of each episode, of which {dropped} were dropped: "
            "their next states are not in the file.)"
        ) from error
