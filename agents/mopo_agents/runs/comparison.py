"""Many runs in one table: a row for each identity, over its seeds."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from mopo_agents.runs.methods import METHODS
from mopo_agents.runs.results import Run, read_run
from mopo_env.errors import StoreError
from mopo_env.tasks import TASKS

__all__ = ["Row", "compare", "csv_text", "markdown"]

_LAST = 10


@dataclass(frozen=True, kw_only=True)
class Row:
    """All seeds of one identity; standard deviations are over seeds, None for one seed.

    A diverged seed counts as the others do, with the policy that it left: that of the epoch before.

    Attributes:
        task: The task's name, and the data and the real environment where they are others than the task's.
        method: The method's name, and the options that make the runs others than it.
        agent: The agent's name.
        dataset: Fingerprint of the dataset.
        rollout_batch_size: b, None without a model.
        epochs: Epochs there were to be.
        updates: Gradient steps; of diverged seeds fewer.
        seeds: How many.
        diverged: How many of them diverged.
        dataset_mean: Mean episode return of the dataset.
        dataset_max: Largest episode return of the dataset.
        last: Mean return of the last evaluation.
        last_std: Its standard deviation.
        last_10: Mean return of the last ten evaluations, or of as many as there are.
        last_10_std: Its standard deviation.
        normalised_last: `last` on D4RL's scale, None where the task has none.
        normalised_last_10: `last_10` on D4RL's scale.
        paper: The paper's return for this method, None where it has none, or where options were changed.
        seconds: Spent training, mean.
        identity: The digest of all that changes the result but the seed, as ``config.json`` has it.
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
    dataset_mean: float
    dataset_max: float
    last: float
    last_std: float | None
    last_10: float
    last_10_std: float | None
    normalised_last: float | None
    normalised_last_10: float | None
    paper: float | None
    seconds: float
    identity: str


def compare(folders: Iterable[Path]) -> tuple[list[Row], list[str]]:
    """Return a row for each identity, and why the runs that are left out are.

    Of runs that differ in nothing, seed included, the first counts: a repetition is no further seed.
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
    rows = [_row(list(group.values())) for group in sorted(groups.values(), key=_place)]
    return rows, left_out


def markdown(rows: Sequence[Row]) -> str:
    """Return the table for the terminal and for documents."""
    head = ["task", "method", "agent", "b", "epochs", "updates", "seeds", "data mean", "data max", "last", "last 10"]
    head += ["normalised", "… last 10", "paper", "seconds", "identity"]
    body = [
        [
            row.task,
            row.method,
            row.agent,
            "–" if row.rollout_batch_size is None else f"{row.rollout_batch_size:,}",
            f"{row.epochs:,}",
            f"{row.updates:,}",
            f"{row.seeds}, {row.diverged} diverged" if row.diverged else str(row.seeds),
            f"{row.dataset_mean:.1f}",
            f"{row.dataset_max:.1f}",
            _with_std(row.last, row.last_std),
            _with_std(row.last_10, row.last_10_std),
            _or_dash(row.normalised_last),
            _or_dash(row.normalised_last_10),
            _or_dash(row.paper),
            f"{row.seconds:,.0f}",
            row.identity[:8],
        ]
        for row in rows
    ]
    # Two at least: a rule that aligns to the right is a dash and a colon.
    widths = [max(2, *(len(line[column]) for line in [head, *body])) for column in range(len(head))]
    rule = ["-" * width if column < 3 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines = [
        [
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in [head, rule, *body]
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def csv_text(rows: Sequence[Row]) -> str:
    """Return all columns, unrounded; what there is not is left empty."""
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, [column.name for column in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(vars(row) for row in rows)
    return table.getvalue()


def _row(runs: Sequence[Run]) -> Row:
    first, task = runs[0], TASKS.get(runs[0].task)
    last, last_std = _mean_and_std([run.returns[-1] for run in runs])
    last_10, last_10_std = _mean_and_std([statistics.fmean(run.returns[-_LAST:]) for run in runs])
    task = task if all(run.has_scale for run in runs) else None
    return Row(
        task=first.setting,
        method=first.label,
        agent=first.agent,
        dataset=first.dataset,
        rollout_batch_size=first.rollout_batch_size,
        epochs=first.epochs,
        updates=max(run.updates for run in runs),
        seeds=len(runs),
        diverged=sum(run.diverged for run in runs),
        dataset_mean=first.dataset_mean,
        dataset_max=first.dataset_max,
        last=last,
        last_std=last_std,
        last_10=last_10,
        last_10_std=last_10_std,
        normalised_last=None if task is None else task.normalised(last),
        normalised_last_10=None if task is None else task.normalised(last_10),
        paper=first.paper,
        seconds=statistics.fmean(run.seconds for run in runs),
        identity=first.identity,
    )


def _mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def _place(group: dict[int, Run]) -> tuple[object, ...]:
    """Sort as the tables of tasks and methods do, what is unknown at the end."""
    run = next(iter(group.values()))
    places = [
        list(known).index(name) if name in known else len(known)
        for name, known in ((run.task, TASKS), (run.method, METHODS))
    ]
    return places[0], run.setting, places[1], run.label, run.agent, run.epochs, run.updates


def _with_std(mean: float, std: float | None) -> str:
    return f"{mean:.1f}" if std is None else f"{mean:.1f} ± {std:.1f}"


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
