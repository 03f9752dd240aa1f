"""`mopo data`: show a dataset, and import data in other formats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tyro
from gymnasium.spaces import Box, Discrete
from tyro.conf import Positional

from mopo_agents._utils.outputs import check_output, check_room, refuse_to_replace
from mopo_env._utils.locks import folder_lock
from mopo_env._utils.options import check_integer
from mopo_env._utils.spaces import ActionSpace
from mopo_env.datasets.folders import find_folder
from mopo_env.datasets.locate import load_dataset
from mopo_env.errors import ConfigError
from mopo_env.tasks import ID_PREFIX, TASKS, Task, get_task
from mopo_env.transitions import Transitions

__all__ = ["data_app", "summary"]

data_app = tyro.extras.SubcommandApp()


@data_app.command(name="show")
def show(
    dataset: Positional[str], /, *, task: str | None = None, plot: Path | None = None, overwrite: bool = False
) -> None:
    """Show a dataset: returns, episode lengths, the range of every column, and possible problems.

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
        from mopo_env.datasets.card.plot import plot_card

        print(f"Picture: {plot_card(transitions, card, plot)}")


@data_app.command(name="import-d4rl")
def import_d4rl(
    file: Positional[Path],
    /,
    *,
    out: Path,
    max_episode_steps: int | None = None,
    sha256: str | None = None,
    overwrite: bool = False,
) -> None:
    """Import an HDF5 file of D4RL's gym-mujoco tasks.

    Args:
        file: The file, such as hopper_medium-v2.hdf5.
        out: Folder for the dataset.
        max_episode_steps: The time limit of an episode, for a file that records no timeouts. None: 1000.
        sha256: Refuse a file with another SHA-256 checksum.
        overwrite: Replace the dataset that the folder holds.
    """
    from mopo_env.datasets.d4rl import load_d4rl

    with _import_into(out, file, overwrite=overwrite):
        transitions = load_d4rl(file, max_episode_steps=max_episode_steps, sha256=sha256)
        _save_import(transitions, out, note=_provenance(file, transitions))


@data_app.command(name="import-table")
def import_table(
    file: Positional[Path],
    /,
    *,
    out: Path,
    observations: tuple[str, ...],
    actions: tuple[str, ...],
    reward: str,
    next_observations: tuple[str, ...] | None = None,
    terminated: str | None = None,
    truncated: str | None = None,
    episode: str | None = None,
    action_low: tuple[float, ...] | None = None,
    action_high: tuple[float, ...] | None = None,
    discrete_actions: int | None = None,
    overwrite: bool = False,
) -> None:
    """Import a table of logged steps from CSV or Parquet.

    Args:
        file: The table, with one row for each step. Its name ends in .csv or .parquet.
        out: Folder for the dataset.
        observations: Columns of the state.
        actions: Columns of the action.
        reward: Column of the reward.
        next_observations: Columns of the next state. None: use the state of the following row.
        terminated: Column that tells whether the next state is terminal.
        truncated: Column that tells whether the episode was cut off after this step.
        episode: Column that identifies the episode.
        action_low: Lower bounds of the actions: one number for all, or one for each. None: -1.
        action_high: Upper bounds of the actions: one number for all, or one for each. None: 1.
        discrete_actions: Number of discrete actions. The column holds integers from 0.
        overwrite: Replace the dataset that the folder holds.
    """
    from mopo_env.datasets.tables import load_table

    with _import_into(out, file, overwrite=overwrite):
        transitions = load_table(
            file,
            observations=observations,
            actions=actions,
            reward=reward,
            next_observations=next_observations,
            terminated=terminated,
            truncated=truncated,
            episode=episode,
            action_space=_action_space(len(actions), action_low, action_high, discrete_actions),
        )
        _save_import(transitions, out)


def summary(transitions: Transitions) -> str:
    """Describe a dataset in one line."""
    returns = transitions.episode_returns
    return f"{len(transitions):,} transitions; episode returns: mean {returns.mean():.1f}, max {returns.max():.1f}"


def _task_of(dataset: str, transitions: Transitions) -> Task | None:
    """Return the task in a dataset's name or metadata, or None."""
    names = (dataset.removeprefix(ID_PREFIX), transitions.metadata.get("task"), transitions.metadata.get("name"))
    return next((TASKS[name] for name in names if isinstance(name, str) and name in TASKS), None)


def _provenance(file: Path, transitions: Transitions) -> str:
    from mopo_env.datasets.d4rl import D4RL_FILES

    digest, published = transitions.metadata["sha256"], transitions.metadata.get("d4rl_file")
    if published is not None:
        return f"SHA-256 {digest}: the {published} that D4RL published."
    if file.name in D4RL_FILES:
        return f"SHA-256 {digest}: not the {file.name} that D4RL published, whose SHA-256 is {D4RL_FILES[file.name]}."
    return f"SHA-256 {digest}: not a file that D4RL published."


@contextmanager
def _import_into(folder: Path, file: Path, *, overwrite: bool) -> Iterator[None]:
    """Reserve the folder, after a look at what it holds and at the room for what it will hold."""
    refuse_to_replace(folder, "dataset", overwrite=overwrite)
    if file.is_file():
        check_room(folder, file.stat().st_size)
    with folder_lock(folder):
        yield


def _save_import(transitions: Transitions, folder: Path, *, note: str | None = None) -> None:
    from mopo_env.datasets.files import save_transitions

    save_transitions(transitions, folder)
    print(summary(transitions))
    if note is not None:
        print(note)
    dropped = transitions.metadata["rows_dropped"]
    if dropped:
        print(f"{dropped:,} rows were dropped, the last of each episode, because the file lacks their next states.")
    print(f"The dataset is in {folder}. Next: mopo data show {folder}; mopo fit {folder}")


def _action_space(
    width: int, low: tuple[float, ...] | None, high: tuple[float, ...] | None, discrete: int | None = None
) -> ActionSpace | None:
    if discrete is not None:
        check_integer("--discrete-actions", discrete)
        if width != 1 or low is not None or high is not None:
            raise ConfigError(
                "--discrete-actions: expected one column in --actions, and neither --action-low nor --action-high."
            )
        return Discrete(discrete)
    if low is None and high is None:
        return None
    bounds = []
    for name, values in (("--action-low", low or (-1.0,)), ("--action-high", high or (1.0,))):
        if len(values) not in (1, width):
            raise ConfigError(f"{name}: found {len(values)} numbers, expected 1 or {width}, one for each action.")
        bounds.append(np.broadcast_to(np.array(values, dtype=np.float32), (width,)))
    if not (np.isfinite(bounds).all() and (bounds[0] < bounds[1]).all()):
        raise ConfigError(f"--action-low, --action-high: found {low} and {high}, expected finite low below high.")
    return Box(bounds[0], bounds[1], dtype=np.float32)
