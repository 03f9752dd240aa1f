"""A model report card as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mopo_env.datasets.card.text import printable
from mopo_env.figures.canvas import new_figure, plain, save_figure
from mopo_env.models.card.scores import ModelCard

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_card", "plot_card"]


def plot_card(card: ModelCard, path: Path | str) -> Path:
    """Write the picture of `draw_card`.

    Raises:
        MissingExtraError: If matplotlib is not installed.
        StoreError: If the file cannot be written, or its ending names no format.
    """
    return save_figure(draw_card(card), path)


def draw_card(card: ModelCard) -> Figure:
    """Draw errors and calibration by column, and rollouts beside the recording.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    height = max(3.5, 1.5 + 0.25 * len(card.columns))
    figure, (errors, calibration, rollouts) = new_figure(3, width=11, height=height)
    names = [plain(printable(column.name)) for column in card.columns]
    places = range(len(names))
    errors.barh(places, [column.rmse / column.spread for column in card.columns], height=0.6)
    guesses = [column.unchanged / column.spread for column in card.columns]
    errors.plot(guesses, places, "|", color="0.2", markersize=10, label="no change")
    errors.set(title="error", xlabel="standard deviations of the change")
    errors.set_yticks(places, names, fontsize=8)
    z2 = [column.z2 for column in card.columns]
    calibration.plot(z2, places, "o")
    calibration.axvline(1.0, color="0.2", linestyle="--", linewidth=1, label="calibrated")
    limits = {"xlim": (min(0.1, 0.5 * min(z2)), max(10.0, 2.0 * max(z2))), "ylim": errors.get_ylim()}
    calibration.set(title="z²", xlabel="squared error in predicted variances", xscale="log", **limits)
    calibration.set_yticks(places, [])
    steps = [score.steps for score in card.rollouts]
    rollouts.plot(steps, [score.error for score in card.rollouts], marker="o", label="distance from the recording")
    rollouts.plot(steps, [score.outside for score in card.rollouts], marker="s", label="share outside the data")
    rollouts.set(title="rollouts with the recorded actions", xlabel="steps", xscale="log", ylim=(0.0, None))
    rollouts.set_xticks(steps, [str(step) for step in steps])
    rollouts.minorticks_off()
    for axes in (errors, calibration):
        axes.invert_yaxis()
    for axes in (errors, calibration, rollouts):
        axes.legend(frameon=False, fontsize=8)
    return figure
