"""The returns of a dataset as a picture."""

from __future__ import annotations

from pathlib import Path

from mopo_env.datasets.card.card import DatasetCard
from mopo_env.datasets.card.text import printable
from mopo_env.errors import StoreError, require_extra
from mopo_env.transitions import Transitions

__all__ = ["plot_card"]


def plot_card(transitions: Transitions, card: DatasetCard, path: Path | str) -> Path:
    """Draw the distribution of the returns, their mean, and the mean of the paper's batch if the task has one.

    Args:
        transitions: The dataset.
        card: Its card.
        path: The file of the picture; the ending decides the format, such as ``.png``.

    Raises:
        MissingExtraError: If matplotlib is not installed.
        StoreError: If the picture cannot be written.
    """
    require_extra("matplotlib", "plots")
    # The object-oriented interface draws without a screen and changes no global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.hist(transitions.episode_returns, bins=40, color="0.45")
    axes.set(xlabel="return of an episode", ylabel="episodes")
    axes.axvline(card.returns.mean, color="tab:blue", label=f"mean {card.returns.mean:.1f}")
    published = None if card.task is None else card.task.paper_dataset_mean
    if published is not None:
        label = f"mean of the paper's batch {published:.1f}"
        axes.axvline(published, color="tab:orange", linestyle="--", label=label)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    # A dollar would start a formula, and the name comes from a file.
    name = printable(str(card.metadata.get("name", "dataset"))).replace("$", r"\$")
    figure.suptitle(f"{name}: {card.rows:,} transitions, {card.episodes:,} episodes")
    path = Path(path)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:  # ValueError: an ending that matplotlib does not know
        raise StoreError(f"{path}: the picture cannot be written: {error}.") from error
    return path
