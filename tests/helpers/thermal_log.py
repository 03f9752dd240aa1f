"""A log of a heated room, as people have it: each column in its own unit, so that their sizes differ by millions."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box

from mopo_env.transitions import Transitions

NOISE = np.array([0.05, 0.05, 40.0, 0.2])
"""True standard deviations of the next room temperature (°C), wall temperature (°C), pressure (Pa), and reward."""


def thermal_log(*, rows: int = 6000, pascals: float = 1.0, seed: int = 0) -> Transitions:
    """Return a log of one long run.

    Args:
        rows: Steps.
        pascals: The unit of the pressure; 1000 gives kPa.
        seed: Of everything.
    """
    random = np.random.default_rng(seed)
    state = np.empty((rows + 1, 3))
    state[0] = 20.0, 18.0, 101_325.0
    heat = np.clip(0.5 + np.cumsum(random.normal(0.0, 0.1, rows)) % 2.0 - 1.0, 0.0, 1.0)
    reward = np.empty(rows)
    for step in range(rows):
        room, wall, pressure = state[step]
        following = (
            room + 0.3 * heat[step] + 0.1 * (wall - room),
            wall + 0.05 * (room - wall) + 0.05 * (8.0 - wall),
            pressure + 0.2 * (101_325.0 - pressure) + 600.0 * heat[step] - 300.0,
        )
        state[step + 1] = np.array(following) + NOISE[:3] * random.normal(size=3)
        reward[step] = -abs(room - 21.0) - 0.2 * heat[step] + NOISE[3] * random.normal()
    state[:, 2] /= pascals
    ends = np.zeros(rows, dtype=bool)
    ends[-1] = True
    return Transitions(
        observations=state[:-1],
        actions=heat[:, None],
        rewards=reward,
        next_observations=state[1:],
        terminations=np.zeros(rows, dtype=bool),
        truncations=ends,
        action_space=Box(0.0, 1.0, (1,)),
    )
