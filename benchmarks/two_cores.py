"""What a second core brings to an epoch: `python benchmarks/two_cores.py`, on a machine with two free ones.

The sizes are those of `epoch.py`. The second core can share every product with the first (two threads of PyTorch), or
roll the next epoch out while the first updates (``overlap``). Times are of the clock on the wall.
"""

from __future__ import annotations

import itertools
import statistics
import time
from typing import Any

import torch
import tyro
from common import ACTION_DIM, OBSERVATION_DIM, header, random_transitions, table

from mopo_agents.agents import make_agent
from mopo_env import GaussianEnsemble, PenalizedModel

HORIZON = 5


def main(rollouts: int = 50_000, updates: int = 1000, dataset: int = 101_000, repeats: int = 3) -> None:
    """Print one table.

    Args:
        rollouts: b.
        updates: Of SAC, in each epoch.
        dataset: Rows of D_env.
        repeats: Epochs timed of each kind, after two that are not.
    """
    penalized_model = PenalizedModel(
        GaussianEnsemble(OBSERVATION_DIM, ACTION_DIM).requires_grad_(False), random_transitions(dataset)
    )
    kinds: dict[str, dict[str, Any]] = {
        "one thread": {},
        "two threads of PyTorch": {"threads": 2},
        "one thread, and rollouts beside the updates": {"overlap": True},
    }
    times: dict[str, list[float]] = {}
    for name, options in kinds.items():
        torch.set_num_threads(options.get("threads", 1))
        agent = make_agent(
            "SAC",
            penalized_model,
            horizon=HORIZON,
            rollout_batch_size=rollouts,
            gradient_steps=updates,
            overlap=options.get("overlap", False),
        )
        times[name] = _epochs(agent, rollouts, repeats)
    torch.set_num_threads(1)
    alone = statistics.median(times["one thread"])
    rows = []
    for name, found in times.items():
        middle = statistics.median(found)
        rows.append([name, f"{middle:.1f}", f"{alone / middle:.2f}", f"{min(found):.1f} to {max(found):.1f}"])
    print(header(f"A second core, b = {rollouts:,}"))
    print(table(["how", "s an epoch (median)", "times as fast", "from … to"], rows))


def _epochs(agent: Any, rollouts: int, repeats: int) -> list[float]:
    """Return what whole epochs take, from one's first step to the next one's; the first two and the last are left out.

    With overlap the first epoch rolls out alone, and the last leaves nothing to be rolled out beside it.
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
