"""The memory of a run at the paper's scale: `python benchmarks/memory.py`.

HalfCheetah's sizes, b = 50,000, h = 5, a buffer of five epochs, and two million real transitions. Every row of the
buffer is written, because unwritten memory does not count.
"""

from __future__ import annotations

import tyro
from common import header, peak_memory, random_model, table

from mopo_agents.agents import make_agent


def main(
    dataset: int = 2_000_000, rollouts: int = 50_000, horizon: int = 5, retain: int = 5, updates: int = 20
) -> None:
    """Print one table.

    Args:
        dataset: Rows of D_env.
        rollouts: b.
        horizon: h.
        retain: Epochs whose model rows are kept; one more epoch is run.
        updates: Updates of SAC in each epoch.
    """
    rows = [["Python, PyTorch and what is imported", f"{peak_memory():.2f}"]]
    penalized_model = random_model(dataset)
    rows.append([f"{dataset:,} transitions and an ensemble", f"{peak_memory():.2f}"])
    options = {"rollout_batch_size": rollouts, "gradient_steps": updates, "retain_epochs": retain}
    agent = make_agent("SAC", penalized_model, horizon=horizon, **options)
    rows.append(["agent and its buffer", f"{peak_memory():.2f}"])
    for _ in range(retain + 1):
        agent.learn(rollouts * horizon, log_interval=None)
    rows.append([f"{retain + 1} epochs of {rollouts:,} rollouts", f"{peak_memory():.2f}"])
    print(header("Memory"))
    print(table(["after", "most held so far, GiB"], rows))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
