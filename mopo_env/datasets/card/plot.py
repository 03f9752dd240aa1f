"""Plot the returns of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mopo_env.datasets.card.card import DatasetCard
from mopo_env.datasets.card.text import printable
from mopo_env.figures.canvas import new_figure, plain, save_figure
from mopo_env.transitions import Transitions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_card", "plot_card"]


def plot_card(transitions: Transitions, card: DatasetCard, path: Path | str) -> Path:
    """Write the picture of `draw_card`. The ending of `path` decides the format, such as ``.png``.

    Raises:
        MissingExtraError: If matplotlib is not installed.
        StoreError: If the picture cannot be written.
    """
    return save_figure(draw_card(transitions, card), path, dpi=120)


def draw_card(transitions: Transitions, card: DatasetCard) -> Figure:
    """Draw the distribution of the returns, their mean, and the mean of the paper's batch if the task has one.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    figure, (axes,) = new_figure(height=4.0)
    axes.hist(transitions.episode_returns, bins=40, color="0.45")
    axes.set(xlabel="return of an episode", ylabel="episodes")
    axes.axvline(card.returns.mean, color="tab:blue", label=f"mean {card.returns.mean:.1f}")
    published = None if card.task is None else card.task.paper_dataset_mean
    if published is not None:
        label = f"mean of the paper's batch {published:.1f}"
        axes.axvline(published, color="tab:orange", linestyle="--", label=label)
    axes.legend(frameon=False, fontsize=8)
    name = plain(printable(str(card.metadata.get("name", "dataset"))))
    figure.suptitle(f"{name}: {card.rows:,} transitions, {card.episodes:,} episodes")
    return figure
