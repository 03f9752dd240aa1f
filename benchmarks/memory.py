"""What a run at the paper's scale holds in memory: `python benchmarks/memory.py`.

HalfCheetah's sizes, b = 50,000, h = 5, five epochs kept, on two million real transitions. One process, so that the most
it ever held is the answer; every row of the buffer is written, since memory counts only then.
"""

from __future__ import annotations

import tyro
from common import ACTION_DIM, OBSERVATION_DIM, header, peak_memory, random_transitions, table

from mopo_agents.agents import make_agent
from mopo_env import GaussianEnsemble, PenalizedModel


def main(
    dataset: int = 2_000_000, rollouts: int = 50_000, horizon: int = 5, retain: int = 5, updates: int = 20
) -> None:
    """Print one table.

    Args:
        dataset: Rows of D_env.
        rollouts: b.
        horizon: h.
        retain: Epochs whose model rows are kept; one more is run.
        updates: Of SAC, in each epoch.
    """
    rows = [["Python, PyTorch and what is imported", f"{peak_memory():.2f}"]]
    transitions = random_transitions(dataset)
    rows.append([f"{dataset:,} transitions, made", f"{peak_memory():.2f}"])
    penalized_model = PenalizedModel(GaussianEnsemble(OBSERVATION_DIM, ACTION_DIM).requires_grad_(False), transitions)
    agent = make_agent(
        "SAC",
        penalized_model,
        horizon=horizon,
        rollout_batch_size=rollouts,
        gradient_steps=updates,
        retain_epochs=retain,
    )
    rows.append(["agent and its buffer", f"{peak_memory():.2f}"])
    for _ in range(retain + 1):
        agent.learn(rollouts * horizon, log_interval=None)
    rows.append([f"{retain + 1} epochs of {rollouts:,} rollouts", f"{peak_memory():.2f}"])
    print(header("Memory"))
    print(table(["after", "most held so far, GiB"], rows))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
