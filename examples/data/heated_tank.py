"""The plant behind heated_tank.csv, and its clumsy operator. The example does not read this; a test does.

    python examples/data/heated_tank.py > examples/data/heated_tank.csv

A tank of warm water is filled with cold water through a valve, heated, and drained by a demand that nobody controls.
The hotter the water, the more it is worth. When the tank runs low or over or gets too hot, the plant trips and the run
ends.
"""

import csv
import sys

import numpy as np

SECONDS, AREA = 20.0, 500.0  # of a step; litres for each metre of level
INFLOW, POWER, COLD = 2.0, 350.0, 15.0  # litres a second, kilowatts, °C
LOWEST, HIGHEST, HOTTEST = 0.3, 1.7, 85.0  # metres, metres, °C
STEPS, RUNS = 60, 98


def start(random: np.random.Generator) -> np.ndarray:
    """Return level, temperature and demand at the start of a run."""
    return np.array([random.uniform(0.6, 1.4), random.uniform(35.0, 75.0), random.uniform(0.7, 1.3)])


def step(state: np.ndarray, action: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, float, bool]:
    """Open the valve and heat for 20 seconds; both actions go from 0 to 1."""
    level, temperature, demand = state
    valve, heater = np.clip(action, 0.0, 1.0)
    water = level * AREA
    warming = POWER * heater / 4.186 - INFLOW * valve * (temperature - COLD)
    following = np.array(
        [
            level + SECONDS * (INFLOW * valve - demand) / AREA + random.normal(0.0, 0.004),
            temperature + SECONDS * warming / water + random.normal(0.0, 0.15),
            np.clip(1.0 + 0.95 * (demand - 1.0) + random.normal(0.0, 0.06), 0.5, 1.5),
        ]
    ).round(3)  # as far as the instruments go
    tripped = not (LOWEST < following[0] < HIGHEST and following[1] < HOTTEST)
    return following, float(following[1] - COLD) / (HOTTEST - COLD), tripped


class Operator:
    """Fills by feel, and switches the heater on and off."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random, self._mood = random, random.normal(0.0, 0.5, 2)

    def act(self, state: np.ndarray) -> np.ndarray:
        """Return valve and heater, from 0 to 1."""
        self._mood = 0.9 * self._mood + self._random.normal(0.0, 0.4, 2)
        heater = 0.9 if state[1] < 65.0 else 0.3
        return np.clip(np.array([0.5 + 0.1 * (1.0 - state[0]), heater]) + self._mood, 0.0, 1.0)


def main() -> None:
    """Print the log: one row for each step."""
    random = np.random.default_rng(0)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = ("level", "temperature", "demand")
    writer.writerow(["run", *names, "valve", "heater", "worth", *(f"{name}_after" for name in names), "tripped"])
    for run in range(RUNS):
        state, operator = start(random).round(3), Operator(random)
        for _ in range(STEPS):
            action = operator.act(state).round(3)
            following, worth, tripped = step(state, action, random)
            writer.writerow([run, *state, *action, round(worth, 4), *following, int(tripped)])
            if tripped:
                break
            state = following


if __name__ == "__main__":
    main()
