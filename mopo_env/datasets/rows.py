"""Turn recorded rows into transitions with their true next states; the readers share this module."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mopo_env._utils.spaces import ActionSpace
from mopo_env.errors import DatasetError
from mopo_env.transitions import Transitions


def transitions_from_rows(
    *,
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    complete: np.ndarray | None = None,
    next_observations: np.ndarray | None = None,
    action_space: ActionSpace | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Transitions:
    """Build a dataset from recorded rows.

    Without `next_observations`, the next state of a row is the observation of the following row of the same episode.
    The last row of an episode has no following row. So it is dropped, and the row before it is flagged as truncated.
    This includes terminal rows: no row of the result is flagged as terminated, since no terminal state was recorded.

    Args:
        observations: Shape ``(rows, observation)``, raw units.
        actions: Shape ``(rows, action)``, raw units; discrete actions have the shape ``(rows, 1)``.
        rewards: Shape ``(rows,)``.
        terminated: Shape ``(rows,)``, bool; whether the state after the row is terminal.
        truncated: Shape ``(rows,)``, bool; whether the episode ended with the row for another reason. A row with both
            flags counts as terminated. The last row always ends its episode.
        complete: Shape ``(rows,)``, bool; whether the row has an action and a reward. Another row is dropped, but its
            observation is the next state of the row before it. Default: all rows are complete.
        next_observations: Shape ``(rows, observation)``, or None.
        action_space: Default: the box from −1 to 1.
        metadata: Where the rows come from; the number of complete rows that were dropped is added as ``rows_dropped``.

    Raises:
        DatasetError: If there are no rows, or `Transitions` refuses them.
    """
    if len(rewards) == 0:
        raise DatasetError("found no rows; at least two transitions are needed.")
    ends = terminated | truncated
    ends[-1] = True
    incomplete = np.zeros(len(rewards), dtype=bool) if complete is None else ~complete
    if next_observations is None:
        ends |= incomplete
        kept = np.flatnonzero(~ends)
        next_observations = observations[kept + 1]
        terminated, ends = np.zeros(len(kept), dtype=bool), ends[kept + 1]
    else:
        ends[:-1] |= incomplete[1:]
        kept = np.flatnonzero(~incomplete)
        next_observations, terminated, ends = next_observations[kept], terminated[kept], ends[kept]
    dropped = len(rewards) - len(kept) - int(incomplete.sum())
    try:
        return Transitions(
            observations=observations[kept],
            actions=actions[kept],
            rewards=rewards[kept],
            next_observations=next_observations,
            terminations=terminated,
            truncations=ends & ~terminated,
            action_space=action_space,  # type: ignore[arg-type]
            metadata={**(metadata or {}), "rows_dropped": dropped},
        )
    except DatasetError as error:
        if not dropped:
            raise
        raise DatasetError(
            f"{error} (The last row of each episode is not counted here: {dropped} such rows were dropped, since the "
            "file does not hold their next states.)"
        ) from error


def as_flags(values: np.ndarray, place: Callable[[int], str]) -> np.ndarray:
    """Return zeros and ones of any type, shape ``(rows,)``, as booleans. In the message, `place` names the row.

    Raises:
        DatasetError: If there is another value.
    """
    wrong = np.flatnonzero((values != 0) & (values != 1))
    if len(wrong):
        row = int(wrong[0])
        raise DatasetError(f"{place(row)}: found {values[row]:g}, expected booleans or zeros and ones.")
    return values.astype(bool)


def check_finite(values: np.ndarray, place: Callable[[int], str]) -> None:
    """Check an array of shape ``(rows,)`` or ``(rows, width)``. In the message, `place` names the row.

    Raises:
        DatasetError: If a value is not finite.
    """
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise DatasetError(
            f"{place(int(bad[0][0]))}: found {values[tuple(bad[0])]}, and {len(bad)} such "
            f"value{'s' * (len(bad) != 1)} in all; every value must be finite. Repair or drop these rows."
        )
