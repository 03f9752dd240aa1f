"""The order of logged rows in time, and the steps between them that are no steps of the system."""

from collections.abc import Hashable, Iterable

import numpy as np

__all__ = ["numbered", "time_order", "time_steps"]


def numbered(labels: Iterable[Hashable | None]) -> np.ndarray:
    """Number labels in the order in which they first occur, shape ``(rows,)``; None counts as the label before it."""
    numbers: dict[Hashable, int] = {}
    found: list[int] = []
    for label in labels:
        found.append(found[-1] if label is None and found else numbers.setdefault(label, len(numbers)))
    return np.array(found, dtype=np.int64)


def time_order(times: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Return the rows in the order of their runs, and of time within a run.

    Rows of the same time stay in their order. A row without a time, NaN, stays behind the row before it.

    Args:
        times: Shape ``(rows,)``.
        runs: The number of the recording or the episode to which a row belongs, shape ``(rows,)``.
    """
    known = np.maximum.accumulate(np.where(np.isnan(times), 0, np.arange(len(times))))
    order: np.ndarray = np.lexsort((times[known], runs))
    return order


def time_steps(times: np.ndarray, ends: np.ndarray, *, tolerance: float) -> tuple[float | None, np.ndarray, np.ndarray]:
    """Find gaps and duplicates within episodes.

    Args:
        times: In order, shape ``(rows,)``; NaN is unknown, and the steps to such a row are neither.
        ends: Whether an episode ends with a row, shape ``(rows,)``. The step after such a row is neither.
        tolerance: A step is a gap if it differs from the usual one by this share of it or more.

    Returns:
        The usual step, the median of those above zero, or None if there is none; and for each row, whether the step
        after it is a gap, and whether the following row has the same time.
    """
    steps = np.append(np.diff(times), np.nan)
    steps[ends] = np.nan
    forward = steps[steps > 0]
    usual = float(np.median(forward)) if len(forward) else None
    gaps = (steps > 0) & (np.abs(steps - (usual or 0.0)) >= tolerance * (usual or 0.0))
    return usual, gaps, steps == 0
