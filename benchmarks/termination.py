"""The accuracy of learned termination rules: `python benchmarks/termination.py ROBOT MIXED`.

ROBOT is hopper or walker2d. MIXED is the folder of a dataset from a better policy, such as `mopo collect ROBOT-mixed`
makes. One rule is fitted to 20,000 random steps and one to MIXED. Each is measured on the hold-out episodes of its own
fit and on all of the other dataset, against the flags of the real environment. "never" is the accuracy of a rule that
never terminates.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from common import COLUMNS, header, table

from mopo_env import LearnedTermination, TerminationConfig, Transitions, fit_termination, load_dataset
from mopo_env.real.real_env import make_real_env
from mopo_env.terminations.fit import detection

SEEDS = (0, 1, 2)
HEADINGS = ["fitted on", "measured on", "rows", "terminal", "precision", "recall", "F1", "F1 of each seed", "never"]


def main() -> None:
    """Print a table of medians over the seeds of the fit."""
    robot, folder = sys.argv[1:]
    data = {"random": _random_steps(robot, 20_000), "mixed": load_dataset(folder)}
    print(header(f"Learned termination of {robot}"))
    rows = []
    for fitted, transitions in data.items():
        (other,) = data.keys() - {fitted}
        rules = [fit_termination(transitions, TerminationConfig(seed=seed), progress=False) for seed in SEEDS]
        held_out = [rule.metadata["test"] for rule in rules]
        rows.append(_row(fitted, f"{fitted}, held-out episodes", held_out))
        rows.append(_row(fitted, other, [_measure(rule, data[other]) for rule in rules]))
    print(table(HEADINGS, rows))


def _random_steps(robot: str, num_steps: int) -> Transitions:
    env = make_real_env(f"{robot}-random")
    env.action_space.seed(0)
    columns: dict[str, list[object]] = {name: [] for name in COLUMNS}
    observation, _ = env.reset(seed=0)
    for _ in range(num_steps):
        action = env.action_space.sample()
        following, reward, terminated, truncated, _ = env.step(action)
        row = (observation, action, reward, following, terminated, truncated)
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
        observation = env.reset()[0] if terminated or truncated else following
    env.close()
    return Transitions(**{name: np.array(column) for name, column in columns.items()})


def _measure(rule: LearnedTermination, transitions: Transitions) -> dict[str, float]:
    rows = (torch.tensor(getattr(transitions, name)) for name in ("observations", "actions", "next_observations"))
    found = detection(rule(*rows), torch.tensor(transitions.terminations))
    return {**found._asdict(), "rows": len(transitions), "terminal_rows": int(transitions.terminations.sum())}


def _row(fitted: str, measured: str, found: list[dict[str, float]]) -> list[str]:
    middle = {name: float(np.median([one[name] for one in found])) for name in found[0]}
    return [
        fitted,
        measured,
        f"{middle['rows']:,.0f}",
        f"{middle['terminal_rows']:,.0f}",
        *(f"{middle[name]:.3f}" for name in ("precision", "recall", "f1")),
        ", ".join(f"{one['f1']:.3f}" for one in found),
        f"{1 - middle['terminal_rows'] / middle['rows']:.1%}",
    ]


if __name__ == "__main__":
    main()
