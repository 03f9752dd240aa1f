"""`mopo data show`: show a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tyro.conf import Positional

from mopo_agents._utils.outputs import check_output
from mopo_env.datasets.folders import find_folder
from mopo_env.datasets.locate import load_dataset
from mopo_env.tasks import ID_PREFIX, TASKS, Task, get_task
from mopo_env.transitions import Transitions

__all__ = ["show_dataset"]


def show_dataset(
    dataset: Positional[str], /, *, task: str | None = None, plot: Path | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Show what a dataset holds, and what looks wrong in it.

    These are returns, episode lengths, the range of every column, and possible problems.

    Args:
        dataset: A task's name, the folder of a dataset, or a Minari id.
        task: Compare with the termination rule and the published returns of this task. None: the dataset's own task.
        plot: Also draw the returns and save the picture in this file, such as card.png.
        overwrite: Replace the picture if the file exists.
    """
    check_output(plot, "--plot", overwrite=overwrite)
    transitions = load_dataset(dataset)
    from mopo_env.datasets.card.card import dataset_card
    from mopo_env.datasets.card.text import card_text, printable

    card = dataset_card(transitions, _task_of(dataset, transitions) if task is None else get_task(task))
    print(card_text(card))
    folder = find_folder(dataset)
    if folder is not None:
        from mopo_env._utils.store import artifact_versions

        versions = ", ".join(f"{name} {version}" for name, version in artifact_versions(folder, "dataset").items())
        print(f"\nThe dataset is in {folder}, written with {printable(versions)}.")
    if plot is not None:
        from mopo_env.figures.canvas import save_figure
        from mopo_env.figures.data import draw_returns

        print(f"Picture: {save_figure(draw_returns(transitions, card), plot, dpi=120)}")
    return {"folder": folder, "card": card}


def _task_of(dataset: str, transitions: Transitions) -> Task | None:
    """Return the task in a dataset's name or metadata, or None."""
    names = (dataset.removeprefix(ID_PREFIX), transitions.metadata.get("task"), transitions.metadata.get("name"))
    return next((TASKS[name] for name in names if isinstance(name, str) and name in TASKS), None)
