"""The order of logged rows in time, and the steps between them that are no steps of the system."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["TimeSteps", "numbered", "time_order", "time_steps"]


def numbered(labels: Sequence[Hashable | None]) -> np.ndarray:
    """Number labels in the order in which they first occur, shape ``(rows,)``; None counts as the label before it."""
    numbers: dict[Hashable, int] = {}
    found = np.zeros(len(labels), dtype=np.int64)
    for row, label in enumerate(labels):
        found[row] = found[row - 1] if label is None and row else numbers.setdefault(label, len(numbers))
    return found


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


@dataclass(frozen=True, kw_only=True)
class TimeSteps:
    """The steps in time of ordered rows.

    Attributes:
        usual: The median of the steps above zero; None if there is no such step.
        gaps: Whether the step after a row is unlike the usual one, shape ``(rows,)``.
        duplicates: Whether the following row has the same time, shape ``(rows,)``.
    """

    usual: float | None
    gaps: np.ndarray
    duplicates: np.ndarray


def time_steps(times: np.ndarray, ends: np.ndarray, *, tolerance: float) -> TimeSteps:
    """Find gaps and duplicates within episodes.

    Args:
        times: In order, shape ``(rows,)``; NaN is unknown, and the steps to such a row are neither.
        ends: Whether an episode ends with a row, shape ``(rows,)``. The step after such a row is neither.
        tolerance: A step is a gap if it differs from the usual one by this share of it or more.
    """
    steps = np.append(np.diff(times), np.nan)
    steps[ends] = np.nan
    duplicates = steps == 0
    forward = steps[steps > 0]
    if len(forward) == 0:
        return TimeSteps(usual=None, gaps=np.zeros(len(times), dtype=bool), duplicates=duplicates)
    usual = float(np.median(forward))
    gaps = (steps > 0) & (np.abs(steps - usual) >= tolerance * usual)
    return TimeSteps(usual=usual, gaps=gaps, duplicates=duplicates)
