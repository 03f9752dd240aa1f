"""The log of `pendulum.py` and others: an operator who swings a pendulum up, not very well, in Gymnasium's Pendulum-v1.

`python examples/data/pendulum.py > pendulum.csv` writes it. The examples call `write_log` themselves.
"""

import csv
import sys
from pathlib import Path
from typing import IO

import gymnasium as gym
import numpy as np

EPISODES = 60
COLUMNS = ["episode", "cos", "sin", "speed", "torque", "reward", "cos_after", "sin_after", "speed_after"]


def operate(state: np.ndarray, skill: float, random: np.random.Generator) -> np.ndarray:
    """Return a torque: add energy below, balance above, and slip from time to time."""
    cos, sin, speed = state
    if random.random() > skill:
        return random.uniform(-2.0, 2.0, 1).astype(np.float32)
    energy = speed**2 / 6.0 + 5.0 * (cos - 1.0)
    torque = -8.0 * np.arctan2(sin, cos) - 2.0 * speed if cos > 0.9 else -2.0 * np.sign(speed * energy)
    return np.clip([torque], -2.0, 2.0).astype(np.float32)


def write(table: IO[str]) -> None:
    """Record and write all episodes."""
    rows, random = csv.writer(table, lineterminator="\n"), np.random.default_rng(0)
    rows.writerow(COLUMNS)
    env = gym.make("Pendulum-v1")
    for episode in range(EPISODES):
        state, _ = env.reset(seed=episode)
        skill, over = random.uniform(0.0, 0.6), False
        while not over:
            action = operate(state, skill, random)
            following, reward, terminated, truncated, _ = env.step(action)
            rows.writerow([episode, *state, *action, float(reward), *following])
            state, over = following, terminated or truncated


def write_log(path: Path | str) -> None:
    """Write the log into a file."""
    with Path(path).open("w") as table:
        write(table)


if __name__ == "__main__":
    write(sys.stdout)
