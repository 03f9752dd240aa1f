"""A dataset card as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mopo_env.datasets.card.card import DatasetCard
from mopo_env.datasets.card.statistics import Columns, correlation
from mopo_env.datasets.card.text import printable
from mopo_env.errors import StoreError, require_extra
from mopo_env.transitions import Transitions

__all__ = ["plot_card", "principal_components"]

_MOST_POINTS = 20_000


def plot_card(transitions: Transitions, card: DatasetCard, path: Path | str) -> Path:
    """Draw the distributions of returns, lengths and rewards, and where in state space the data lie.

    Args:
        transitions: The dataset.
        card: Its card.
        path: Of the picture; the ending decides the format, such as ``.png``.

    Raises:
        MissingExtraError: If matplotlib is not installed.
        StoreError: If the picture cannot be written.
    """
    require_extra("matplotlib", "plots")
    # The object-oriented interface draws without a screen and changes no global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    (returns, lengths), (rewards, coverage) = figure.subplots(2, 2)
    _draw_returns(returns, transitions, card)
    # From 0 on: where all episodes are of one length, a bin of that length alone could not be seen.
    lengths.hist(
        np.diff(transitions.episode_ends, prepend=-1), bins=40, range=(0, 1.05 * card.lengths.maximum), color="0.45"
    )
    lengths.set(xlabel="steps of an episode", ylabel="episodes")
    rewards.hist(transitions.rewards, bins=80, color="0.45")
    rewards.set(xlabel="reward of a step", ylabel="transitions")
    _draw_coverage(figure, coverage, transitions, card)
    for axes in (returns, lengths, rewards, coverage):
        axes.spines[["top", "right"]].set_visible(False)
    # Dollars would start a formula, and names come from files.
    name = printable(str(card.metadata.get("name", "dataset"))).replace("$", r"\$")
    figure.suptitle(f"{name}: {card.rows:,} transitions, {card.episodes:,} episodes")
    path = Path(path)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:  # ValueError: an ending that matplotlib does not know
        raise StoreError(f"{path}: the picture cannot be written: {error}.") from error
    return path


def principal_components(array: np.ndarray, columns: Columns, *, count: int = 2) -> np.ndarray:
    """Project rows on the directions in which the scaled columns vary most.

    Args:
        array: Shape ``(rows, column)``, raw units.
        columns: Of the dataset that the rows come from; the directions are its own.
        count: How many directions; where fewer columns vary, the rest is 0.

    Returns:
        Shape ``(rows, count)``, in standard deviations.
    """
    varying = columns.maximum > columns.minimum
    scaled = (array[:, varying] - columns.mean[varying]) / columns.std[varying]
    _, vectors = np.linalg.eigh(correlation(columns))  # in ascending order of the variance
    projected: np.ndarray = np.zeros((len(array), count))
    found = min(count, vectors.shape[1])
    projected[:, :found] = scaled @ vectors[:, ::-1][:, :found]
    return projected


def _draw_returns(axes: Any, transitions: Transitions, card: DatasetCard) -> None:
    axes.hist(transitions.episode_returns, bins=40, color="0.45")
    axes.set(xlabel="return of an episode", ylabel="episodes")
    axes.axvline(card.returns.mean, color="tab:blue", label=f"mean {card.returns.mean:.1f}")
    published: float | None = None if card.task is None else card.task.paper_dataset_mean
    if published is not None:
        label = f"mean of the paper's batch {published:.1f}"
        axes.axvline(published, color="tab:orange", linestyle="--", label=label)
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def _draw_coverage(figure: Any, axes: Any, transitions: Transitions, card: DatasetCard) -> None:
    # Evenly over the recording, and drawn in any order: the last episodes would cover the first.
    rows = np.linspace(0, card.rows - 1, min(card.rows, _MOST_POINTS)).astype(int)
    np.random.default_rng(0).shuffle(rows)
    points = principal_components(transitions.observations[rows], card.observations)
    returns = transitions.episode_returns[np.searchsorted(transitions.episode_ends, rows)]
    drawn = axes.scatter(points[:, 0], points[:, 1], c=returns, s=2, linewidths=0, rasterized=True)
    axes.set(xlabel="first principal component of the observations", ylabel="second principal component")
    figure.colorbar(drawn, ax=axes, label="return of the episode")
