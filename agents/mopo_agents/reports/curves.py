"""The curves of finished runs: returns, and what the model said after each epoch."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mopo_agents._utils.csv_tables import read_csv
from mopo_agents.figures import Curve, Panel, draw_curves, make_curve
from mopo_agents.reports.comparison import Groups, Row
from mopo_agents.runs.results import Run
from mopo_env.figures.canvas import GREY, legend_below, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def returns_panel(groups: Groups) -> Panel | None:
    """Return the returns of all methods of one task over the updates; None if nothing was evaluated."""
    evaluated = [(row, [run for run in runs if run.returns]) for row, runs in groups if row.last is not None]
    if not evaluated:
        return None
    first, papers = evaluated[0][0], {row.paper for row, _ in evaluated if row.paper is not None}
    curves = [
        make_curve(_label(row), [dict(zip(run.evaluated_at, run.returns, strict=True)) for run in runs])
        for row, runs in evaluated
    ]
    return Panel(
        title=first.task,
        curves=curves,
        dataset_mean=first.dataset_mean,
        dataset_max=first.dataset_max,
        # The paper's numbers of several methods would be lines that cannot be told apart.
        paper=papers.pop() if len(papers) == 1 else None,
    )


def draw_model_numbers(groups: Groups) -> Figure | None:
    """Draw r̂, u and the scores of all methods of one task over the epochs; None if no run has a model."""
    rewards = _curves(groups, lambda run: read_progress(run.folder, "mopo/model_reward_mean"))
    panels = [
        ("reward of the model, a step", rewards),
        ("penalty", _curves(groups, lambda run: read_progress(run.folder, "mopo/penalty_mean"))),
        ("score by the model alone", _curves(groups, lambda run: {row.epoch: row.score for row in run.scores})),
    ]
    panels = [(title, curves) for title, curves in panels if curves]
    if not panels:
        return None
    figure, all_axes = new_figure(len(panels), width=max(5.0, 3.0 * len(panels)), height=2.8 + 0.18 * len(groups))
    for axes, (title, curves) in zip(all_axes, panels, strict=True):
        draw_curves(axes, curves)
        axes.set(xlabel="epoch")
        axes.set_title(title, loc="left", fontsize=9)
    all_axes[0].axhline(groups[0][0].dataset_reward, color=GREY, linestyle=":", label="mean reward of the data")
    legend_below(all_axes[0])
    return figure


def read_progress(run: Path, column: str) -> Mapping[int, float]:
    """Return a column of a run's ``progress.csv`` by epoch; nothing if there is no such file or column."""

    def read(row: Mapping[str, str]) -> tuple[int, float | None]:
        return int(row["mopo/epoch"]), float(row[column]) if row.get(column) else None

    return {epoch: value for epoch, value in read_csv(run / "progress.csv", read) if value is not None}


def _curves(groups: Groups, numbers: Callable[[Run], Mapping[int, float]]) -> list[Curve]:
    # A method without numbers keeps its place, and so its colour.
    curves = [make_curve(_label(row), [numbers(run) for run in runs]) for row, runs in groups]
    return curves if any(len(curve.updates) for curve in curves) else []


def _label(row: Row) -> str:
    seeds = f"{row.name} ({row.seeds} seed{'s' * (row.seeds > 1)})"
    return plain(textwrap.fill(seeds, 95, subsequent_indent="  "))
