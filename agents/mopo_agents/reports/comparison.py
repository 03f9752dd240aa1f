"""Many runs in one table: one row for all seeds of an identity."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

from mopo_agents.reports.iqm import interquartile_mean, iqm_interval
from mopo_agents.runs.methods import METHODS
from mopo_agents.runs.results import Run, read_run
from mopo_env.errors import StoreError
from mopo_env.tasks import TASKS

_LAST = 10
# What all runs of an identity share.
_OF_DATA = ("dataset", "dataset_mean", "dataset_max", "dataset_reward")
_SHARED = ("agent", *_OF_DATA, "rollout_batch_size", "epochs", "paper", "identity")


@dataclass(frozen=True, kw_only=True)
class Row:
    """All seeds of one identity. Standard deviations are over seeds; None: there is only one seed.

    A diverged seed counts like the others. Its policy is that of the epoch before it diverged. No number is that of
    the best seed or of the best evaluation. Without evaluations, the returns are None and the model's numbers remain.

    Attributes:
        task: The task's name, with its data and real environment if they are not the task's own.
        method: The method's name, with the options that differ from the method's.
        dataset: Fingerprint of the dataset.
        rollout_batch_size: b; None without a model.
        epochs: The number of epochs that the run was configured for.
        updates: Gradient steps; a diverged seed has fewer.
        diverged: Number of seeds that diverged.
        collapsed: Number of seeds whose last policy has lost two fifths of the largest gain.
        dataset_mean: Mean episode return of the dataset.
        dataset_max: Largest episode return of the dataset.
        last: Mean return of the last evaluation.
        last_10: Mean return of the last ten evaluations, or of all if there are fewer.
        last_10_iqm: Interquartile mean over the seeds of the same.
        iqm_low: Lower bound of its 95 % bootstrap interval; None: there is only one seed.
        iqm_high: Upper bound of the same.
        normalised_last: `last` on D4RL's scale; None if the task has no such scale.
        normalised_last_10: `last_10` on D4RL's scale.
        paper: The paper's return for this method; None if there is none, or if options were changed.
        dataset_reward: Mean reward of the dataset's transitions.
        model_reward: Mean r̂ of the last epoch's rollouts; None without a model.
        penalty: Mean u of the same.
        score: Score of the last policy by the model alone; None without scores.
        left: Share of the last policy's episodes in the model that leave the data.
        seconds: Mean training time, without evaluations.
        machine: Where the runs were computed, as ``result.json`` says.
        identity: The digest in ``config.json`` of everything but the seed that changes the result.
    """

    task: str
    method: str
    agent: str
    dataset: str
    rollout_batch_size: int | None
    epochs: int
    updates: int
    seeds: int
    diverged: int
    collapsed: int
    dataset_mean: float
    dataset_max: float
    last: float | None
    last_std: float | None
    last_10: float | None
    last_10_std: float | None
    last_10_iqm: float | None
    iqm_low: float | None
    iqm_high: float | None
    normalised_last: float | None
    normalised_last_10: float | None
    paper: float | None
    dataset_reward: float
    model_reward: float | None
    penalty: float | None
    score: float | None
    left: float | None
    seconds: float
    machine: str | None
    identity: str

    @property
    def name(self) -> str:
        """The method, and the agent if it is not SAC."""
        return _name(self.method, self.agent)

    @property
    def failures(self) -> str:
        """How many seeds diverged or collapsed; empty if none did."""
        counts = {"diverged": self.diverged, "collapsed": self.collapsed}
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


Groups: TypeAlias = Sequence[tuple[Row, Sequence[Run]]]


@dataclass(frozen=True, kw_only=True)
class Overall:
    """One method over several tasks, on D4RL's scale.

    Attributes:
        tasks: The tasks; methods with others are not to be compared with this one.
        runs: Number of runs.
        iqm: Interquartile mean over all runs of the normalised mean of the last ten evaluations.
        low: Lower bound of its 95 % interval, by a bootstrap that is stratified by task.
        high: Upper bound of the same.
    """

    method: str
    agent: str
    tasks: tuple[str, ...]
    runs: int
    iqm: float
    low: float
    high: float

    @property
    def name(self) -> str:
        """The method, and the agent if it is not SAC."""
        return _name(self.method, self.agent)


def compare(folders: Iterable[Path]) -> tuple[list[Row], list[str]]:
    """Return a row for each identity, and a reason for each run that is left out."""
    groups, left_out = group_runs(folders)
    return [make_row(runs) for runs in groups], left_out


def group_runs(folders: Iterable[Path]) -> tuple[list[list[Run]], list[str]]:
    """Return the runs of each identity, in the order of the paper's tables, and a reason for each that is left out.

    If several runs have the same identity and the same seed, only the first counts.
    """
    groups: dict[str, dict[int, Run]] = {}
    left_out: list[str] = []
    for folder in folders:
        try:
            run = read_run(folder)
        except StoreError as error:
            left_out.append(str(error))
            continue
        group = groups.setdefault(run.identity, {})
        if run.seed in group:
            left_out.append(f"{folder}: repeats seed {run.seed} of {group[run.seed].folder}.")
        else:
            group[run.seed] = run
    return [list(group.values()) for group in sorted(groups.values(), key=_place)], left_out


def by_task(groups: Iterable[Sequence[Run]]) -> list[Groups]:
    """Return the groups of each task and dataset, each with its row."""
    pairs = ((make_row(runs), runs) for runs in groups)
    return [list(part) for _, part in groupby(pairs, key=lambda pair: (pair[0].task, pair[0].dataset))]


def make_row(runs: Sequence[Run]) -> Row:
    """Summarise the seeds of one identity."""
    first = runs[0]
    evaluated = [run for run in runs if run.returns]
    last, last_std = _mean_and_std([run.returns[-1] for run in evaluated])
    values = [last_ten(run) for run in evaluated]
    last_10, last_10_std = _mean_and_std(values)
    low, high = iqm_interval([values]) if len(values) > 1 else (None, None)
    task = TASKS.get(first.task) if evaluated and all(run.has_scale for run in evaluated) else None
    machines = {run.machine: None for run in runs if run.machine is not None}
    return Row(
        task=first.setting,
        method=first.label,
        **{name: getattr(first, name) for name in _SHARED},
        updates=max(run.updates for run in runs),
        seeds=len(runs),
        diverged=sum(run.diverged for run in runs),
        collapsed=sum(run.collapsed for run in runs),
        last=last,
        last_std=last_std,
        last_10=last_10,
        last_10_std=last_10_std,
        last_10_iqm=float(interquartile_mean(values)) if values else None,
        iqm_low=low,
        iqm_high=high,
        normalised_last=None if task is None or last is None else task.normalised(last),
        normalised_last_10=None if task is None or last_10 is None else task.normalised(last_10),
        model_reward=_mean_and_std([run.model_reward for run in runs if run.model_reward is not None])[0],
        penalty=_mean_and_std([run.penalty for run in runs if run.penalty is not None])[0],
        score=_mean_and_std([run.scores[-1].score for run in runs if run.scores])[0],
        left=_mean_and_std([run.scores[-1].left for run in runs if run.scores])[0],
        seconds=statistics.fmean(run.seconds for run in runs),
        machine="; ".join(machines) or None,
    )


def last_ten(run: Run) -> float:
    """Return the mean return of a run's last ten evaluations, or of all if there are fewer."""
    return statistics.fmean(run.returns[-_LAST:])


def over_tasks(groups: Iterable[Sequence[Run]]) -> list[Overall]:
    """Return each method that was run on several tasks with D4RL's scale."""
    methods: dict[tuple[str, str], dict[str, list[float]]] = {}
    for runs in groups:
        task = TASKS.get(runs[0].task)
        found = [] if task is None else [task.normalised(last_ten(run)) for run in runs if run.has_scale]
        scores = [value for value in found if value is not None]
        if scores:
            methods.setdefault((runs[0].label, runs[0].agent), {}).setdefault(runs[0].setting, []).extend(scores)
    rows = []
    for (method, agent), strata in methods.items():
        if len(strata) > 1:
            scores = [value for values in strata.values() for value in values]
            low, high = iqm_interval(list(strata.values()))
            rows.append(
                Overall(
                    method=method,
                    agent=agent,
                    tasks=tuple(strata),
                    runs=len(scores),
                    iqm=float(interquartile_mean(scores)),
                    low=low,
                    high=high,
                )
            )
    return rows


def _name(method: str, agent: str) -> str:
    return method if agent == "SAC" else f"{method} ({agent})"


def _mean_and_std(values: Sequence[float]) -> tuple[float | None, float | None]:
    return statistics.fmean(values) if values else None, statistics.stdev(values) if len(values) > 1 else None


def _place(group: dict[int, Run]) -> tuple[object, ...]:
    """Sort by the order of `TASKS` and `METHODS`; unknown names come last."""
    run = next(iter(group.values()))
    task = list(TASKS).index(run.task) if run.task in TASKS else len(TASKS)
    method = list(METHODS).index(run.method) if run.method in METHODS else len(METHODS)
    return task, run.setting, run.dataset, method, run.label, run.agent, run.epochs, run.updates
