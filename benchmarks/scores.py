"""Compare the scores of policies by the model alone with their real returns: can the score choose among them?

    python benchmarks/scores.py RUN…

RUN are finished or unfinished runs of `mopo train` with evaluations and checkpoints. Every policy that was evaluated
and kept is scored again, in the ensemble of its task.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mopo_agents.policies import load_policy
from mopo_agents.runs.policy_files import checkpoint_folder
from mopo_agents.trust.score import PolicyScore, PolicyScorer
from mopo_env._utils.json_files import read_json
from mopo_env.envs.make import make_penalized_model
from mopo_env.models.card.card import rank_correlation


class Judged(NamedTuple):
    """A policy, what the model says of it, and what the real environment says."""

    run: str
    epoch: int
    score: PolicyScore
    real: float


def judge(run: Path, scorer: PolicyScorer) -> list[Judged]:
    """Score the policies of a run that were evaluated and kept."""
    with (run / "evaluations.csv").open(newline="") as stream:
        returns = {int(row["epoch"]): float(row["return_mean"]) for row in csv.DictReader(stream)}
    folders = {epoch: checkpoint_folder(run, epoch) for epoch in returns}
    if (run / "policy.json").is_file():
        folders[max(returns)] = run
    kept = {epoch: folder for epoch, folder in folders.items() if (folder / "policy.json").is_file()}
    return [
        Judged(run.name, epoch, scorer.score(load_policy(folder)), returns[epoch]) for epoch, folder in kept.items()
    ]


def summary(judged: list[Judged]) -> str:
    """Return one row: rank correlation, and what the policy with the best score gives away, in % of the range."""
    real = np.array([found.real for found in judged])
    scores = np.array([found.score.score for found in judged])
    chosen = judged[int(scores.argmax())]
    spread = max(float(np.ptp(real)), 1e-9)
    regret = (real.max() - chosen.real) / spread
    random = (real.max() - real.mean()) / spread
    cells = [
        f"{len(judged)}",
        f"{real.min():.0f} … {real.max():.0f}",
        f"{rank_correlation(scores, real):+.2f}",
        f"{chosen.real:.0f} ({chosen.run}, epoch {chosen.epoch})",
        f"{regret:.0%}",
        f"{random:.0%}",
    ]
    return " | ".join(cells)


def main() -> None:
    """Print each policy, and a row for each task."""
    torch.set_num_threads(1)
    by_task: dict[str, list[Judged]] = defaultdict(list)
    scorers: dict[str, PolicyScorer] = {}
    print("| run | epoch | score | worst member | left | real return |\n|---|---:|---:|---:|---:|---:|")
    for run in map(Path, sys.argv[1:]):
        task = read_json(run / "config.json")["task"]
        if task not in scorers:
            scorers[task] = PolicyScorer(make_penalized_model(task))
        for found in judge(run, scorers[task]):
            by_task[task].append(found)
            score = found.score
            print(
                f"| {found.run} | {found.epoch} | {score.score:.0f} | {score.worst_member:.0f} | {score.left:.0%} | "
                f"{found.real:.0f} |",
                flush=True,
            )
    print("\n| task | policies | real returns | rank correlation | chosen by score | regret | of a random pick |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for task, judged in by_task.items():
        print(f"| {task} | {summary(judged)} |")


if __name__ == "__main__":
    main()
