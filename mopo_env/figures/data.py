"""What a dataset covers, and the returns of its episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from mopo_env._utils.options import check_integer
from mopo_env.datasets.card.card import DatasetCard
from mopo_env.datasets.card.text import printable
from mopo_env.figures.canvas import GREY, new_figure, plain
from mopo_env.transitions import Transitions

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_coverage(
    transitions: Transitions, dimensions: tuple[int, int] | None = None, *, points: int = 4000, seed: int = 0
) -> Figure:
    """Draw where the states of a dataset lie, coloured by the return of their episode, and the episodes' returns.

    Args:
        transitions: The dataset.
        dimensions: Two columns of the observation, from 0. None: the first two principal components.
        points: How many states are drawn.
        seed: Of the choice among them.
    """
    check_integer("points", points)
    figure, (states, returns) = new_figure(2, width=9.0, height=3.6)
    rows = np.sort(np.random.default_rng(seed).permutation(len(transitions))[:points])
    of_row = transitions.episode_returns[np.searchsorted(transitions.episode_ends, rows)]
    if dimensions is None:
        places, shares = principal_components(transitions.observations[rows])
        names = [f"component {k + 1} ({share:.0%} of the variance)" for k, share in enumerate(shares)]
    else:
        places = transitions.observations[rows][:, list(dimensions)].astype(np.float64)
        names = [plain(transitions.observation_names[column]) for column in dimensions]
    drawn = states.scatter(places[:, 0], places[:, 1], c=of_row, s=3, linewidth=0, cmap="viridis")
    figure.colorbar(drawn, ax=states, label="return of the episode")
    states.set(xlabel=names[0], ylabel=names[1])
    states.set_title(f"{len(rows):,} of {len(transitions):,} states", loc="left", fontsize=10)
    returns.hist(transitions.episode_returns, bins=30, color=GREY)
    mean = transitions.episode_returns.mean()
    returns.axvline(mean, color="black", linestyle=":")
    returns.set(xlabel="return of an episode", ylabel="episodes")
    returns.set_title(
        f"{len(transitions.episode_returns):,} episodes, mean {mean:.0f} (dotted)", loc="left", fontsize=10
    )
    return figure


def draw_returns(transitions: Transitions, card: DatasetCard) -> Figure:
    """Draw the distribution of the returns, their mean, and the mean of the paper's batch if the task has one."""
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


def principal_components(
    rows: np.ndarray,
) -> tuple[Float64[np.ndarray, "row 2"], Float64[np.ndarray, " 2"]]:
    """Return the first two principal components of standardised columns, and their shares of the variance.

    Signs are such that the largest loading is positive.

    Args:
        rows: Shape ``(row, column)``, with at least two columns.
    """
    values = rows.astype(np.float64)
    spread = values.std(axis=0)
    values = (values - values.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    _, sizes, directions = np.linalg.svd(values, full_matrices=False)
    directions = directions[:2]
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    shares = sizes**2 / (sizes**2).sum()
    return values @ (directions * np.sign(largest)[:, None]).T, shares[:2]
