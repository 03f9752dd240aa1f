"""Hashes of rows and of episodes, in which copies are found."""

import numpy as np

from mopo_env.transitions import Transitions

_MIX = np.uint64(0x9E3779B97F4A7C15)


def row_keys(transitions: Transitions) -> np.ndarray:
    """Return a hash of each row, a uint64: different rows have the same hash with probability 2⁻⁶⁴."""
    keys = np.zeros(len(transitions), dtype=np.uint64)
    for name in ("observations", "actions", "rewards", "next_observations"):
        bits = getattr(transitions, name).reshape(len(transitions), -1).view(np.uint32)
        for column in range(bits.shape[1]):
            keys += bits[:, column]
            keys *= _MIX
            keys ^= keys >> np.uint64(29)
    return keys


def episode_keys(transitions: Transitions) -> np.ndarray:
    """Return a hash of each episode, in which the order of its rows counts."""
    ends = transitions.episode_ends
    starts = np.concatenate([[0], ends[:-1] + 1])
    steps = np.arange(len(transitions)) - np.repeat(starts, ends - starts + 1)
    weights = (steps.astype(np.uint64) * _MIX) | np.uint64(1)
    keys: np.ndarray = np.add.reduceat(row_keys(transitions) * weights, starts)
    return keys
