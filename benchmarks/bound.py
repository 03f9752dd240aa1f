"""How often the lower bound of the return holds, and whether it says anything: `python benchmarks/bound.py RUN…`.

The last policy of each run plays in the model, and in the real environment for its discounted return.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import tyro
from common import table

from mopo_agents.evaluation import Policy
from mopo_agents.policies import load_policy
from mopo_agents.runs.policy_files import find_policy
from mopo_agents.trust.bound import lower_bound
from mopo_agents.trust.score import PolicyScorer
from mopo_env._utils.json_files import read_json
from mopo_env.datasets.locate import resolve_task
from mopo_env.envs.make import make_penalized_model
from mopo_env.real.real_env import make_real_env
from mopo_env.tasks import Task

GAMMA, STEPS = 0.99, 1000


def real_return(policy: Policy, task: Task, episodes: int) -> np.ndarray:
    """Return the discounted returns of episodes in the real environment."""
    found = []
    with make_real_env(task) as env:
        for seed in range(episodes):
            observation, _ = env.reset(seed=seed)
            total, discount, over = 0.0, 1.0, False
            while not over:
                action, _ = policy.predict(observation, deterministic=True)
                observation, reward, terminated, truncated, _ = env.step(action)
                total, discount, over = total + discount * float(reward), GAMMA * discount, terminated or truncated
            found.append(total)
    return np.array(found)


def main(
    runs: tyro.conf.Positional[tuple[Path, ...]], episodes: int = 2, starts: int = 4, checkpoint: str = "last"
) -> None:
    """Print a row for each run.

    Args:
        runs: Runs on bundled tasks.
        episodes: Of each policy in the real environment.
        starts: Episodes of every member in the model.
        checkpoint: Which policy, as in `mopo evaluate`.
    """
    torch.set_num_threads(1)
    rows = []
    for run in runs:
        task = resolve_task(read_json(run / "config.json")["task"])
        model, policy = make_penalized_model(task.name), load_policy(find_policy(run, checkpoint))
        scorer = PolicyScorer(model, num_starts=starts)
        score = scorer.score(policy)
        bound = lower_bound(policy, model, score, horizon=scorer.horizon, gamma=GAMMA, num_starts=starts)
        real = real_return(policy, task, episodes).mean()
        if bound is None:
            continue
        wrong = [entry.text.split(" ")[1] for entry in bound.assumptions if entry.holds is False]
        numbers = [f"{value:.0f}" for value in (real, bound.estimate, bound.bound, bound.worst)]
        says = "no" if bound.is_vacuous else "yes"
        rows.append([task.label, run.name, *numbers, "yes" if bound.bound <= real else "NO", says, ", ".join(wrong)])
        print(rows[-1], flush=True)
    columns = ["real, discounted", "model", "bound", "lowest reward for ever", "holds", "says something"]
    print(table(["task", "run", *columns, "contradicted"], rows))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
