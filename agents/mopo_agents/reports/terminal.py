"""A comparison of runs as text that fits a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Generator, Iterator, Sequence
from itertools import groupby

from mopo_agents.reports.comparison import Overall, Row

_WIDTH = 80
_NAME = 13


def terminal_table(rows: Sequence[Row], overall: Sequence[Overall] = ()) -> str:
    """Return one block for each task, and one for methods over several tasks, in lines of at most 80 characters."""
    blocks = ["\n".join(_block(list(group))) for _, group in groupby(rows, key=lambda row: (row.task, row.dataset))]
    if overall:
        blocks.append("\n".join(_overall(overall)))
    return "\n\n".join(blocks)


def shown(value: float | None, std: float | None = None) -> str:
    """Return a number with about four digits, and a standard deviation behind it; a dash stands for no number."""
    if value is None:
        return "–"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}" if std is None else f"{value:.{digits}f} ± {std:.{digits}f}"


def _block(rows: Sequence[Row]) -> Iterator[str]:
    first = rows[0]
    evaluated = [row for row in rows if row.last is not None]
    others = [row for row in rows if row.last is None]
    if evaluated:
        data = f"data: mean {shown(first.dataset_mean)}, best episode {shown(first.dataset_max)}"
        yield from _heading(first.task, data)
        yield f"{'':<{_NAME}}{'seeds':>6}{'last 10':>14}{'IQM [95 %]':>21}{'last':>14}{'norm.':>6}{'paper':>6}"
        for row in evaluated:
            # Of one seed, it would repeat the mean.
            low, high = shown(row.iqm_low), shown(row.iqm_high)
            iqm = "–" if row.iqm_low is None else f"{shown(row.last_10_iqm)} [{low}, {high}]"
            numbers = (
                f"{row.seeds:>6}{shown(row.last_10, row.last_10_std):>14}{iqm:>21}"
                f"{shown(row.last, row.last_std):>14}{shown(row.normalised_last_10):>6}{shown(row.paper):>6}"
            )
            yield from _named(row, numbers)
    if others:
        if evaluated:
            yield ""
        yield from _heading(first.task, f"not evaluated · data: mean reward {shown(first.dataset_reward)} a step")
        yield f"{'':<{_NAME}}{'seeds':>6}{'model reward':>14}{'penalty':>10}{'score':>10}{'left data':>11}"
        for row in others:
            left = "–" if row.left is None else f"{row.left:.0%}"
            numbers = f"{row.seeds:>6}{shown(row.model_reward):>14}{shown(row.penalty):>10}{shown(row.score):>10}"
            yield from _named(row, f"{numbers}{left:>11}")


def _heading(task: str, data: str) -> Iterator[str]:
    line = f"{task} · {data}"
    yield from textwrap.wrap(line, _WIDTH)


def _named(row: Row, numbers: str) -> Iterator[str]:
    """Yield a name before its numbers, on lines of its own where it is long, and what went wrong below them."""
    name = yield from _long_name(row.name)
    yield f"{name:<{_NAME}}{numbers}"
    if row.failures:
        yield f"{'':<{_NAME + 1}}of {row.seeds}: {row.failures}"


def _long_name(name: str) -> Generator[str, None, str]:
    """Yield a long name, on lines of its own, and return what stands before the numbers."""
    if len(name) <= _NAME:
        return name
    yield from textwrap.wrap(name, _WIDTH, subsequent_indent="  ")
    return ""


def _overall(overall: Sequence[Overall]) -> Iterator[str]:
    yield "Over tasks, normalised, last 10"
    yield f"{'':<{_NAME}}{'runs':>6}{'IQM [95 %]':>22}  tasks"
    for row in overall:
        name = yield from _long_name(row.name)
        interval = f"{row.iqm:.1f} [{row.low:.1f}, {row.high:.1f}]"
        start = f"{name:<{_NAME}}{row.runs:>6}{interval:>22}  "
        yield from textwrap.wrap(", ".join(row.tasks), _WIDTH, initial_indent=start, subsequent_indent=" " * len(start))
