"""The gain from a second core: `python benchmarks/two_cores.py`, on a machine with two free cores.

The sizes are those of `epoch.py`. The second core can share every matrix product with the first (two threads of
PyTorch), or roll out the next epoch during the updates (``overlap``). The table has wall-clock times.
"""

from __future__ import annotations

import itertools
import statistics
import time
from typing import Any

import torch
import tyro
from common import header, random_model, table

from mopo_agents.agents import make_agent

HORIZON = 5


def main(rollouts: int = 50_000, updates: int = 1000, dataset: int = 101_000, repeats: int = 3) -> None:
    """Print one table.

    Args:
        rollouts: b.
        updates: Updates of SAC in each epoch.
        dataset: Rows of D_env.
        repeats: Timed epochs of each kind, after two warm-up epochs.
    """
    penalized_model = random_model(dataset)
    kinds = {
        "one thread": (1, False),
        "two threads of PyTorch": (2, False),
        "one thread, and rollouts during the updates": (1, True),
    }
    options = {"horizon": HORIZON, "rollout_batch_size": rollouts, "gradient_steps": updates}
    times: dict[str, list[float]] = {}
    for name, (threads, overlap) in kinds.items():
        torch.set_num_threads(threads)
        times[name] = _epochs(make_agent("SAC", penalized_model, overlap=overlap, **options), rollouts, repeats)
    torch.set_num_threads(1)
    alone = statistics.median(times["one thread"])
    rows = []
    for name, found in times.items():
        middle = statistics.median(found)
        rows.append([name, f"{middle:.1f}", f"{alone / middle:.2f}", f"{min(found):.1f} to {max(found):.1f}"])
    print(header(f"A second core, b = {rollouts:,}"))
    print(table(["how", "s an epoch (median)", "times as fast", "from … to"], rows))


def _epochs(agent: Any, rollouts: int, repeats: int) -> list[float]:
    """Return the times of whole epochs, from first step to first step, without the first two and the last.

    With overlap, the first epoch rolls out before its updates, and the last epoch has no next epoch to roll out.
    """
    marks: list[float] = []

    def mark(*_: Any) -> bool:
        if agent.num_timesteps % (rollouts * HORIZON) == rollouts:
            marks.append(time.perf_counter())
        return True

    agent.learn((repeats + 3) * rollouts * HORIZON, log_interval=None, callback=mark)
    return [after - before for before, after in itertools.pairwise(marks[2:])]


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
