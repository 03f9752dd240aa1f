"""The page that compares runs: for each task the numbers that decide, the curves, a table, and every run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from mopo_agents.figures import draw_learning_curves
from mopo_agents.reports import page
from mopo_agents.reports.comparison import Groups, Overall, Row, by_task, over_tasks
from mopo_agents.reports.curves import draw_model_numbers, returns_panel
from mopo_agents.reports.page import Html, tag
from mopo_agents.reports.terminal import shown
from mopo_agents.runs.results import Run
from mopo_env.figures.canvas import COLOURS

_NOTES = (
    "Last 10 is the mean of the last ten evaluations, or of all if there are fewer; last is the last one. No number is "
    "that of the best seed or of the best evaluation.",
    "± is one standard deviation over seeds. IQM is the interquartile mean over seeds, with its 95 % interval by a "
    "stratified bootstrap (Agarwal et al., 2021). With three seeds, such intervals are too narrow.",
    "Normalised is D4RL's scale: 0 is a random policy, 100 an expert. The paper's returns are on the paper's data, and "
    "only for methods without changes.",
    "A run has diverged if a number ceased to be finite; it counts with the policy of the epoch before. It has "
    "collapsed if its last policy has lost two fifths of the largest gain over the data and its first policy.",
    "Model reward and penalty are means over the rollouts of the last epoch. The score is what the model believes of "
    "the last policy, until it leaves the data. None of them shows how good the policy is in the real system.",
    "Time is that of training, without evaluations.",
)


def runs_page(groups: Sequence[Sequence[Run]], left_out: Sequence[str] = ()) -> str:
    """Return the page about the runs of each identity, as `group_runs` returns them, and why others are left out."""
    tasks = by_task(groups)
    parts = [_task(part) for part in tasks]
    overall = over_tasks(groups)
    if overall:
        parts.insert(0, _overall(overall))
    if left_out:
        parts.append(page.section("Left out", page.items(left_out)))
    parts.append(
        tag("section", page.details("How to read the numbers", page.items(_NOTES, class_="note")), class_="note")
    )
    count = sum(map(len, groups))
    bad = sum(run.diverged or run.collapsed for runs in groups for run in runs)
    lead = f"{_count(count, 'run')} of {_count(len(groups), 'configuration')} on {_count(len(tasks), 'task')}. " + (
        f"{bad} of them diverged or collapsed." if bad else "None of them diverged or collapsed."
    )
    return page.html_page("Training runs", *parts, lead=lead)


def _overall(overall: Sequence[Overall]) -> Html:
    rows = [
        (row.name, ", ".join(row.tasks), row.runs, f"{row.iqm:.1f} [{row.low:.1f}, {row.high:.1f}]") for row in overall
    ]
    head = ("method", "tasks", "runs", "IQM [95 %], normalised, last 10")
    return page.section("Over tasks", page.table(head, rows, texts=2))


def _task(groups: Groups) -> Html:
    rows = [row for row, _ in groups]
    parts = list(_warnings(groups))
    parts.append(page.tiles(_numbers(rows)))
    panel, numbers = returns_panel(groups), draw_model_numbers(groups)
    if panel is not None:
        returns = draw_learning_curves(replace(panel, title=""))
        caption = "Mean over seeds, band of one standard deviation, and each seed as a thin line."
        parts.append(page.figure(returns, alt=f"Returns over gradient steps on {rows[0].task}", caption=caption))
        parts.append(_returns(rows))
    if numbers is not None:
        caption = "What the model says during training. It does not show how good the policy is in the real system."
        parts.append(
            page.figure(numbers, alt=f"Model rewards, penalties and scores on {rows[0].task}", caption=caption)
        )
        parts.append(_model(rows))
    parts.append(page.details("Every run", _every_run(groups)))
    return page.section(rows[0].task, *parts)


def _warnings(groups: Groups) -> Iterator[Html]:
    texts = [f"{row.name}: of {_count(row.seeds, 'seed')}, {row.failures}." for row, _ in groups if row.failures]
    texts += [f"{row.name}, seed {run.seed}: {alarm}" for row, runs in groups for run in runs for alarm in run.alarms]
    if texts:
        yield page.items(texts, class_="warnings")


def _numbers(rows: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    first, evaluated = rows[0], [row for row in rows if row.last_10 is not None]
    if evaluated:
        best = max(evaluated, key=lambda row: row.last_10 or 0.0)
        which = "highest of all methods, last 10" if len(evaluated) > 1 else "return, last 10"
        yield which, _number(best.last_10, best.last_10_std), f"{best.name}, {_count(best.seeds, 'seed')}"
        yield "data, best episode", _number(first.dataset_max), f"mean {_number(first.dataset_mean)}"
        if best.paper is not None:
            yield "the paper", _number(best.paper), "this method, on the paper's data"
        return
    for row in rows[:1]:
        yield "model reward a step", _number(row.model_reward), f"{row.name}; the data: {_number(row.dataset_reward)}"
        yield "penalty a step", _number(row.penalty), ""
        if row.score is not None:
            yield (
                "score by the model alone",
                _number(row.score),
                f"leaves the data in {row.left or 0.0:.0%} of episodes",
            )
    yield "real environment", "none", "the policy was not evaluated"


def _returns(rows: Sequence[Row]) -> Html:
    return _table(
        rows,
        lambda row: {
            "last 10": _cell(row.last_10, row.last_10_std),
            "IQM [95 %]": None
            if row.iqm_low is None
            else f"{_number(row.last_10_iqm)} [{_number(row.iqm_low)}, {_number(row.iqm_high)}]",
            "last": _cell(row.last, row.last_std),
            "normalised": _cell(row.normalised_last_10),
            "paper": _cell(row.paper),
            "time": _time(row.seconds),
        },
    )


def _model(rows: Sequence[Row]) -> Html:
    return _table(
        rows,
        lambda row: {
            "model reward": _cell(row.model_reward),
            "the data's": _cell(row.dataset_reward),
            "penalty": _cell(row.penalty),
            "score": _cell(row.score),
            "leaves the data": None if row.left is None else f"{row.left:.0%}",
            # Of what was evaluated, the time stands beside the returns.
            "time": None if row.last is not None else _time(row.seconds),
        },
    )


def _table(rows: Sequence[Row], numbers: Callable[[Row], Mapping[str, str | None]]) -> Html:
    """Return a table of the methods, without columns in which there is nothing."""
    found = [numbers(row) for row in rows]
    head = [name for name in found[0] if any(line[name] is not None for line in found)]
    cells = [
        (
            tag("span", page.swatch(COLOURS[at % len(COLOURS)]), row.name),
            tag("span", row.seeds, tag("div", row.failures, class_="bad")) if row.failures else row.seeds,
            *(line[name] or "–" for name in head),
        )
        for at, (row, line) in enumerate(zip(rows, found, strict=True))
    ]
    return page.table(["method", "seeds", *head], cells)


def _every_run(groups: Groups) -> Html:
    rows = [
        (
            row.name,
            run.folder,
            run.machine or "–",
            run.seed,
            "diverged" if run.diverged else "collapsed" if run.collapsed else "–",
            f"{run.updates:,}",
            _number(run.returns[-1] if run.returns else None),
            _number(run.scores[-1].score if run.scores else None),
            _time(run.seconds),
        )
        for row, runs in groups
        for run in sorted(runs, key=lambda run: run.seed)
    ]
    head = ("method", "folder", "machine", "seed", "failure", "updates", "last", "score", "time")
    return page.table(head, rows, texts=3)


def _cell(value: float | None, std: float | None = None) -> str | None:
    return None if value is None else _number(value, std)


def _number(value: float | None, std: float | None = None) -> str:
    return shown(value, std).replace("-", "−")


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"
