"""`mopo data show` and `mopo collect`, and what all commands say of a dataset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tyro.conf import OmitArgPrefixes, Positional

from mopo_agents._utils.outputs import check_output
from mopo_agents.collection.config import CollectConfig
from mopo_env.datasets.folders import find_folder, user_folder
from mopo_env.datasets.locate import load_dataset
from mopo_env.tasks import ID_PREFIX, TASKS, Task, get_task
from mopo_env.transitions import Transitions


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


def collect_dataset(
    *,
    config: OmitArgPrefixes[CollectConfig],
    out: Path | None = None,
    minari: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Collect a task's dataset in the real environment.

    After an interruption, the same command resumes the collection and gives the same data.

    Args:
        config: What to collect.
        out: Folder for the dataset and the behaviour policy. None: the folder in which the task's id finds its data.
        minari: Also write a Minari dataset with this id, such as mopo/halfcheetah/mixed-v0.
        overwrite: Replace the dataset that the folder holds.
    """
    from mopo_agents.collection.recipes import collect
    from mopo_env.datasets.minari.reader import check_new_minari_id, save_minari

    folder = out or user_folder() / get_task(config.task).name
    if minari is not None:
        check_new_minari_id(minari)
    try:
        transitions = collect(config, folder=folder, overwrite=overwrite)
    except KeyboardInterrupt:
        print(f"mopo: the work so far is in {folder}; the same command resumes it", file=sys.stderr)
        raise
    print(summary(transitions))
    if minari is not None:
        print(f"Minari dataset {minari}: {save_minari(transitions, minari)}")
    if (folder / "behaviour").is_dir():
        print(f"The behaviour policy is in {folder / 'behaviour'}.")
    print(f"The dataset is in {folder}. Next: mopo fit {folder}")
    return {"folder": folder, **sizes_of(transitions)}


def summary(transitions: Transitions) -> str:
    """Describe a dataset in one line."""
    returns = transitions.episode_returns
    sizes = f"{len(transitions):,} transitions in {count(len(returns), 'episode')}"
    return f"{sizes}; episode returns: mean {returns.mean():.1f}, max {returns.max():.1f}"


def sizes_of(transitions: Transitions) -> dict[str, Any]:
    """Return what `summary` says, for --json."""
    returns = transitions.episode_returns
    return {
        "transitions": len(transitions),
        "episodes": len(returns),
        "return_mean": returns.mean(),
        "return_max": returns.max(),
        "fingerprint": transitions.fingerprint,
    }


def count(number: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _task_of(dataset: str, transitions: Transitions) -> Task | None:
    """Return the task in a dataset's name or metadata, or None."""
    names = (dataset.removeprefix(ID_PREFIX), transitions.metadata.get("task"), transitions.metadata.get("name"))
    return next((TASKS[name] for name in names if isinstance(name, str) and name in TASKS), None)
