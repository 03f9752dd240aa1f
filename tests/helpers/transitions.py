"""Datasets for tests: random unless a test says what it needs."""

from __future__ import annotations

from typing import Any

import numpy as np

from mopo_env.transitions import Transitions

ARRAYS = ("observations", "actions", "rewards", "next_observations", "terminations", "truncations")


def transitions(rows: int = 10, *, widths: tuple[int, int] = (2, 1), seed: int = 0, **given: Any) -> Transitions:
    """Return one unfinished episode of random numbers.

    Args:
        rows: Number of transitions, unless an array is given: then as many as it has.
        widths: Of an observation and an action.
        seed: Of the random numbers.
        **given: What takes the place of random numbers, and spaces and metadata.
    """
    rows = next((len(given[name]) for name in ARRAYS if name in given), rows)
    random = np.random.default_rng(seed)
    states = random.normal(size=(rows + 1, widths[0]))
    content: dict[str, Any] = {
        "observations": states[:-1],
        "actions": random.uniform(-1, 1, (rows, widths[1])),
        "rewards": random.normal(size=rows),
        "next_observations": states[1:],
        "terminations": np.zeros(rows, dtype=bool),
        "truncations": np.zeros(rows, dtype=bool),
    }
    return Transitions(**{**content, **given})


def arrays_of(dataset: Transitions) -> dict[str, np.ndarray]:
    """Return copies of a dataset's arrays by name."""
    return {name: getattr(dataset, name).copy() for name in ARRAYS}
