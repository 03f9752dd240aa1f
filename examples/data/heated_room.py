"""The room behind heated_room.csv, and its unreliable logger. The page on preparing a log imports what it wrote.

    python examples/data/heated_room.py > examples/data/heated_room.csv

A radiator heats a room through a valve. By day, people warm the room and want 21 °C; by night, 17 °C are enough. The
logger writes a row every five minutes, unless it restarts. It sends some rows twice and some hours late, and its
sensors fail now and then.
"""

import csv
import sys
from datetime import datetime, timedelta

import numpy as np

START, MINUTES, ROWS = datetime(2026, 1, 5), 5, 2000
COLD, CALM = 4.0, 101_325.0  # °C outside, Pa in the pipe without flow


def step(room: float, wall: float, valve: float, mode: str, random: np.random.Generator) -> tuple[float, float, float]:
    """Return the temperatures of room and wall after five minutes, in °C, and the pressure in the pipe, in Pa."""
    people = 0.12 if mode == "day" else 0.0
    return (
        room + 0.9 * valve + people + 0.12 * (wall - room) + random.normal(0.0, 0.05),
        wall + 0.03 * (room - wall) + 0.02 * (COLD - wall) + random.normal(0.0, 0.03),
        CALM - 2500.0 * valve + random.normal(0.0, 60.0),
    )


def record(random: np.random.Generator) -> list[list[str]]:
    """Return what a perfect logger would write."""
    room, wall, pressure, rows = 18.0, 15.0, CALM, []
    for index in range(ROWS):
        time = START + timedelta(minutes=MINUTES * index)
        mode = "day" if 7 <= time.hour < 22 else "night"
        wanted = 21.0 if mode == "day" else 17.0
        valve = float(np.clip(0.4 * (wanted - room) + random.normal(0.3, 0.25), 0.0, 1.0))
        reward = -abs(room - wanted) - 0.5 * valve
        rows.append(
            [
                f"{time:%Y-%m-%d %H:%M}",
                f"{room:.2f}",
                f"{wall:.2f}",
                f"{pressure:.0f}",
                mode,
                f"{valve:.2f}",
                f"{reward:.3f}",
            ]
        )
        room, wall, pressure = step(room, wall, valve, mode, random)
    return rows


def spoil(rows: list[list[str]], random: np.random.Generator) -> list[list[str]]:
    """Return what the logger wrote."""
    for column, text, count in ((1, "-", 12), (2, "n/a", 8), (4, "", 3), (5, "-", 6)):
        for row in random.choice(ROWS, count, replace=False):
            rows[row][column] = text
    lost = {
        row + offset for row in random.choice(ROWS - 20, 18, replace=False) for offset in range(random.integers(1, 9))
    }
    written = [row for index, row in enumerate(rows) if index not in lost]
    for row in sorted(random.choice(len(written), 5, replace=False), reverse=True):
        written.insert(row, written[row])
    late = written[700:760]
    return written[:700] + written[760:800] + late + written[800:]


def main() -> None:
    """Print the log."""
    random = np.random.default_rng(0)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["time", "room", "wall", "pressure", "mode", "valve", "reward"])
    writer.writerows(spoil(record(random), random))


if __name__ == "__main__":
    main()
