"""Figures of training runs. Each function returns a matplotlib `Figure`; nothing touches pyplot or a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from mopo_env.figures.canvas import COLOURS, GREY, legend_below, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A quantity over the updates, of one run or of several seeds.

    Attributes:
        label: The name in the legend.
        updates: Gradient steps, in order.
        values: The quantity of every seed. A seed that ended early keeps its last value; before its first, it is NaN.
        band: Half the height of the band around the mean, or None: one standard deviation over the seeds.
    """

    label: str
    updates: Float64[np.ndarray, " point"]
    values: Float64[np.ndarray, "seed point"]
    band: Float64[np.ndarray, " point"] | None = None


def make_curve(label: str, series: Sequence[Mapping[int, float]]) -> Curve:
    """Put the series of several seeds, values by updates, on one axis."""
    updates = np.array(sorted({point for one in series for point in one}), dtype=np.float64)
    values = np.full((len(series), len(updates)), np.nan)
    for row, one in zip(values, series, strict=True):
        value = np.nan
        for column, point in enumerate(updates):
            row[column] = value = one.get(int(point), value)
    return Curve(label=label, updates=updates, values=values)


def draw_curves(axes: Axes, curves: Sequence[Curve], *, marker: str | None = None) -> None:
    """Draw the mean of each curve over its seeds, a band around it, and each seed as a thin line."""
    for index, curve in enumerate(curves):
        colour = COLOURS[index % len(COLOURS)]
        known = ~np.isnan(curve.values).all(axis=0)
        updates, values = curve.updates[known], curve.values[:, known]
        mean = np.nanmean(values, axis=0)
        axes.plot(updates, mean, color=colour, linewidth=2, marker=marker, markersize=3, label=plain(curve.label))
        if len(values) > 1:
            axes.plot(updates, values.T, color=colour, linewidth=0.6, alpha=0.5)
        band = curve.band[known] if curve.band is not None else np.nanstd(values, axis=0, ddof=0)
        axes.fill_between(updates, mean - band, mean + band, color=colour, alpha=0.18, linewidth=0)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What is drawn of one task.

    Attributes:
        title: Such as the name of the task.
        curves: The returns of each method.
        dataset_mean: Mean episode return of the dataset.
        dataset_max: Largest episode return of the dataset.
        paper: The paper's return, drawn as a line too; None: without it.
    """

    title: str
    curves: Sequence[Curve]
    dataset_mean: float
    dataset_max: float
    paper: float | None = None


def draw_learning_curves(*panels: Panel) -> Figure:
    """Draw returns over the updates, one task above the other, with mean and best episode of the data as lines."""
    figure, all_axes = new_figure(width=9.0, heights=[3.9 + 0.18 * len(panel.curves) for panel in panels])
    for axes, panel in zip(all_axes, panels, strict=True):
        draw_curves(axes, panel.curves, marker="o")
        lines = [(panel.dataset_max, "--", GREY, "best episode of the data")]
        lines.append((panel.dataset_mean, ":", GREY, "mean episode of the data"))
        lines += [] if panel.paper is None else [(panel.paper, "-.", "black", "the paper's return")]
        for value, style, colour, label in lines:
            axes.axhline(value, color=colour, linestyle=style, linewidth=1.3, label=f"{label}: {value:.0f}")
        axes.set(xlabel="gradient steps", ylabel="return in the real environment")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(plain(panel.title), loc="left", fontweight="bold")
        legend_below(axes)
    return figure


def draw_return_against_uncertainty(
    points: Mapping[str, Sequence[tuple[float, float]]], *, title: str, xlabel: str = "mean penalty of the rollouts"
) -> Figure:
    """Draw the return of each evaluated policy against the uncertainty of the model about it; later ones are darker.

    Args:
        points: Uncertainty and return of each policy in the order of training, by the name of the run.
        title: Such as the name of the task.
        xlabel: What the uncertainty is.
    """
    figure, (axes,) = new_figure(height=4.0 + 0.18 * len(points))
    for index, (name, found) in enumerate(points.items()):
        uncertainty, returns = np.array(found, dtype=np.float64).reshape(-1, 2).T
        colour = COLOURS[index % len(COLOURS)]
        shades = [f"{colour}{round(255 * darkness):02x}" for darkness in np.linspace(0.25, 1.0, len(returns))]
        axes.plot(uncertainty, returns, color=colour, linewidth=0.6, alpha=0.5)
        axes.scatter(uncertainty, returns, c=shades, s=28, linewidth=0)
        axes.plot([], [], "o", color=colour, label=plain(name))
    axes.set(xlabel=xlabel, ylabel="return in the real environment")
    axes.set_title(plain(title), loc="left", fontweight="bold")
    legend_below(axes)
    return figure
