"""Compare a policy learned from data alone with the agent that collected them, at equal numbers of updates.

    python benchmarks/equal_updates.py RUN…

The "mixed" and relabelled data are the record of SAC's training in the real environment, with one update a step. The
episodes that ended after so many updates say how good that agent was then, with the true dynamics and with exploration.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from common import table

from mopo_env import Transitions, load_dataset
from mopo_env._utils.json_files import read_json


def collector_returns(data: Transitions, updates: list[int]) -> list[float]:
    """Return the mean return of the episodes that ended in the tenth of the data before each number of updates."""
    window = len(data) // 10
    means = []
    for until in updates:
        inside = (data.episode_ends >= until - window) & (data.episode_ends < until)
        means.append(float(data.episode_returns[inside].mean()) if inside.any() else float("nan"))
    return means


def main(runs: list[Path]) -> None:
    """Print a line for each run, and above it that of the agent that collected its data."""
    for run in runs:
        name = str(read_json(run / "config.json")["task"])
        data = load_dataset(name)
        with (run / "evaluations.csv").open(newline="") as stream:
            found = {int(row["updates"]): float(row["return_mean"]) for row in csv.DictReader(stream)}
        shown = [updates for updates in found if updates <= len(data)]
        rows = [
            ["collected the data", *(f"{mean:.0f}" for mean in collector_returns(data, shown))],
            [run.name, *(f"{found[updates]:.0f}" for updates in shown)],
        ]
        print(f"\n{name}: mean {data.episode_returns.mean():.0f}, best {data.episode_returns.max():.0f}\n")
        print(table(["updates", *(f"{updates:,}" for updates in shown)], rows))
        later = [f"{updates:,}: {found[updates]:.0f}" for updates in found if updates > len(data)]
        if later:
            print(f"\nAfter more updates than the data have: {', '.join(later)}")


if __name__ == "__main__":
    if len(sys.argv) < 2 or not all(Path(run).is_dir() for run in sys.argv[1:]):
        sys.exit(__doc__)
    main([Path(run) for run in sys.argv[1:]])
