"""Compare what can be known of policies without the real system with their real returns: can it choose, does it warn?

    python benchmarks/scores.py RUN… --keep FILE [--fqe-every 20]

RUN are finished or unfinished runs of `mopo train` with evaluations and checkpoints. Every policy that was evaluated
and kept is scored again, in the ensemble of its task. FILE keeps what was computed, so that the tables can be printed
again, and fitted-Q evaluation, which is slow, be added for every 20th epoch.

A policy has collapsed if it lost more than half of what an earlier policy of its run had gained over the run's first
one, and that gain was at least a tenth of the range of the task's returns. Nothing here is fitted to real returns.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import tyro
from common import table

from mopo_agents.policies import load_policy
from mopo_agents.runs.policy_files import checkpoint_folder
from mopo_agents.trust.alarms import find_alarms
from mopo_agents.trust.critics import critic_values
from mopo_agents.trust.fqe import fitted_q_evaluation
from mopo_agents.trust.model_returns import first_observations
from mopo_agents.trust.score import PolicyScore, PolicyScorer
from mopo_env._utils.json_files import read_json
from mopo_env.datasets.shared import load_shared_dataset
from mopo_env.envs.make import make_penalized_model
from mopo_env.models.card.card import rank_correlation

FQE = {"num_updates": 4000, "batch_size": 256, "tau": 0.05}


@dataclass(frozen=True, kw_only=True)
class Judged(PolicyScore):
    """A policy, what data and model say of it, and what the real environment says."""

    task: str
    run: str
    epoch: int
    real: float
    critic: float
    fqe: float = float("nan")


Number = Callable[[Judged], float]
RULES: dict[str, Number] = {
    "score": lambda row: row.score,
    "worst member": lambda row: row.worst_member,
    "model return (TOReL's per-elite returns, mean)": lambda row: row.model_return,
    "critic's value": lambda row: row.critic,
    "fitted-Q evaluation": lambda row: row.fqe,
    "last epoch, best score": lambda row: row.score,
}


def judge(run: Path, kept: dict[tuple[str, int], Judged], fqe_every: int) -> Iterator[Judged]:
    """Yield the policies of a run that were evaluated and kept."""
    config = read_json(run / "config.json")
    with (run / "evaluations.csv").open(newline="") as stream:
        returns = {int(row["epoch"]): float(row["return_mean"]) for row in csv.DictReader(stream)}
    folders = {epoch: checkpoint_folder(run, epoch) for epoch in returns}
    if (run / "policy.json").is_file():
        folders[max(returns)] = run
    data = load_shared_dataset(config["task"])
    for epoch, folder in folders.items():
        if not (folder / "policy.json").is_file():
            continue
        found = kept.get((run.name, epoch))
        wants_fqe = bool(fqe_every) and (epoch % fqe_every == 0 or len(returns) <= 3)
        if found is None:
            policy = load_policy(folder)
            values = critic_values(policy, first_observations(data))
            score = _scorer(config["task"], *(config[f"penalty{part}"] for part in PARTS)).score(policy)
            about = {"task": config["task"], "run": run.name, "epoch": epoch, "real": returns[epoch]}
            found = Judged(**asdict(score), **about, critic=float("nan" if values is None else values.mean()))
        if wants_fqe and np.isnan(found.fqe):
            found = replace(found, fqe=fitted_q_evaluation(load_policy(folder), data, **FQE).value)
        yield found


PARTS = ("", "_members", "_reward", "_units")


@lru_cache
def _scorer(task: str, name: str, *options: object) -> PolicyScorer:
    names = [part.removeprefix("_") for part in PARTS[1:]]
    return PolicyScorer(make_penalized_model(task, penalty={"name": name, **dict(zip(names, options, strict=True))}))


def collapsed(rows: Sequence[Judged], extent: float) -> list[bool]:
    """Say of each policy of a run, in order, whether it has collapsed."""
    best, found = rows[0].real, []
    for row in rows:
        gain = best - rows[0].real
        found.append(gain >= 0.1 * extent and best - row.real > 0.5 * gain)
        best = max(best, row.real)
    return found


def choices(task: str, rows: list[Judged]) -> Iterator[list[str]]:
    """Yield a row for each rule: how it ranks, what it chooses in the task, and in each run."""
    runs = defaultdict(list)
    for row in rows:
        runs[row.run].append(row)
    extent = max(float(np.ptp([row.real for row in rows])), 1e-9)
    gone = {
        (row.run, row.epoch)
        for found in runs.values()
        for row, is_gone in zip(found, collapsed(found, extent), strict=True)
        if is_gone
    }
    for rule, number in RULES.items():
        known = [row for row in rows if not np.isnan(number(row))]
        if not known:
            continue
        if rule.startswith("last"):
            known = [found[-1] for found in runs.values()]
        real, values = np.array([row.real for row in known]), np.array([number(row) for row in known])
        among = [row for row in rows if not np.isnan(number(row))]
        highest = max(row.real for row in among)
        chosen = known[int(values.argmax())]
        of_runs = [[row for row in known if row.run == name] for name in runs]
        picks = [max(found, key=number) for found in of_runs if found]
        best = [max(row.real for row in among if row.run == pick.run) for pick in picks]
        regrets = [(top - pick.real) / extent for top, pick in zip(best, picks, strict=True)]
        yield [
            task,
            rule,
            f"{len(known)}",
            f"{rank_correlation(values, real):+.2f}",
            f"{chosen.real:.0f}",
            f"{(highest - chosen.real) / extent:.0%}",
            f"{np.mean(regrets):.0%}",
            f"{sum((pick.run, pick.epoch) in gone for pick in picks)} of {len(picks)}",
        ]
    real = np.array([row.real for row in rows])
    mean = np.mean([max(row.real for row in found) - np.mean([row.real for row in found]) for found in runs.values()])
    numbers = ["–", f"{real.mean():.0f}", f"{(real.max() - real.mean()) / extent:.0%}", f"{mean / extent:.0%}"]
    yield [task, "at random", f"{len(rows)}", *numbers, f"{len(gone)} of {len(rows)} policies"]


def alarms(task: str, rows: list[Judged]) -> Iterator[list[str]]:
    """Yield a row for each run: when it collapsed, and the epochs of the first alarm of each kind."""
    extent = float(np.ptp([row.real for row in rows]))
    scores = [field.name for field in fields(PolicyScore)]
    for name in dict.fromkeys(row.run for row in rows):
        found, first = [row for row in rows if row.run == name], {}
        for count in range(1, len(found) + 1):
            seen = [PolicyScore(**{key: getattr(row, key) for key in scores}) for row in found[:count]]
            for kind in find_alarms(seen):
                first.setdefault(kind, found[count - 1].epoch)
        fell = [row.epoch for row, is_gone in zip(found, collapsed(found, extent), strict=True) if is_gone]
        told = ", ".join(f"{kind} {epoch}" for kind, epoch in sorted(first.items(), key=lambda item: item[1]))
        yield [task, name, str(found[-1].epoch), ", ".join(map(str, fell)) or "–", told or "–"]


def main(runs: tyro.conf.Positional[tuple[Path, ...]], keep: Path, fqe_every: int = 0) -> None:
    """Print the tables.

    Args:
        runs: Runs to judge.
        keep: A file of what was computed; lines of JSON.
        fqe_every: Epochs between policies that fitted-Q evaluation judges; of short runs, all. 0: only those in FILE.
    """
    torch.set_num_threads(1)
    lines = keep.read_text().splitlines() if keep.exists() else []
    kept = {(row["run"], row["epoch"]): Judged(**row) for row in map(json.loads, lines)}
    by_task: dict[str, list[Judged]] = defaultdict(list)
    with keep.open("a") as stream:
        for run in runs:
            for row in judge(run, kept, fqe_every):
                if row != kept.get((row.run, row.epoch)):
                    print(json.dumps(asdict(row)), file=stream, flush=True)
                by_task[row.task].append(row)
    columns = ["policies", "rank correlation", "chosen", "regret", "regret in a run", "collapsed picks"]
    print(table(["task", "rule", *columns], [row for task, rows in by_task.items() for row in choices(task, rows)]))
    told = [row for task, rows in by_task.items() for row in alarms(task, rows)]
    print("\n" + table(["task", "run", "epochs", "collapsed at", "alarms"], told))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
