"""Find datasets and tasks by name, path or Minari id."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from mopo_env.datasets.files import load_transitions
from mopo_env.datasets.folders import find_artifact, find_folder, task_name, user_folder
from mopo_env.datasets.minari.reader import has_minari_dataset, load_minari
from mopo_env.errors import ConfigError, DatasetError, UnknownNameError
from mopo_env.tasks import ID_PREFIX, TASKS, Task, get_task
from mopo_env.transitions import Transitions


def load_dataset(name: str | Path) -> Transitions:
    """Load a dataset by task name, by the path of its folder, or by Minari id.

    Raises:
        DatasetError: If there is no such dataset; the message says how to get one.
        StoreError: If its files are damaged.
    """
    folder = find_folder(name)
    if folder is not None:
        return load_transitions(folder)
    task = task_name(name)
    if task is not None:
        raise DatasetError(
            f"no data for the task {task!r}: nothing is bundled, and {user_folder() / task} holds no dataset. "
            f"{TASKS[task].how_to_get_data}"
        )
    if isinstance(name, str) and has_minari_dataset(name):
        return load_minari(name)
    raise DatasetError(
        f"no dataset {str(name)!r}: no task, no folder with a dataset.json and no local Minari dataset has this name. "
        "`mopo tasks` lists the tasks, `minari list local` the Minari datasets."
    )


def resolve_task(
    name: str | Path | Task | None = None, *, ensemble: str | Path | None = None, real_env: str | None = None
) -> Task:
    """Return the task of a name or an id, or make a task of the user's own dataset.

    The task of the user's own dataset has h = 5 and λ = 1. Its termination rule is the learned rule in the folder of
    the ensemble or of the dataset, or `never` if there is no such rule. It has a real environment only if the caller
    names one. No file can name it, since making an environment runs its code.

    Args:
        name: A task's name or id, the folder of a dataset, or a Minari id. None: the task is only `real_env`.
        ensemble: The folder of the ensemble, if it differs from that of the dataset.
        real_env: The Gymnasium id of an environment for evaluation. A task's normalised score is kept only if this is
            another version of the task's own environment.

    Raises:
        UnknownNameError: If there is no such task or dataset; the message holds the nearest names.
        ConfigError: If no name is given, or an argument has the wrong type.
    """
    if not isinstance(real_env, str | None):
        raise ConfigError(f"real_env: expected the id of a Gymnasium environment, found {real_env!r}.")
    if name is None and real_env is not None:
        return Task(name=real_env, real_env_id=real_env)
    found = name if isinstance(name, Task) else _named(name, ensemble)
    if real_env is None:
        return found
    if found.real_env_id is not None and real_env.rpartition("-v")[0] == found.real_env_id.rpartition("-v")[0]:
        return replace(found, real_env_id=real_env)
    return replace(found, real_env_id=real_env, reference_min=None, reference_max=None)


def _named(name: Any, ensemble: str | Path | None) -> Task:
    if name is None:
        raise ConfigError("task: found none, expected a task's name, or a dataset's folder or Minari id.")
    if not isinstance(name, str | Path):
        raise ConfigError(f"task: expected a name or a path, found {name!r}.")
    if isinstance(name, str) and name.removeprefix(ID_PREFIX) in TASKS:
        return get_task(name)
    folder = find_folder(name)
    if folder is None and not (isinstance(name, str) and has_minari_dataset(name)):
        raise UnknownNameError("task, folder of a dataset or local Minari id", str(name), TASKS)
    learned = find_artifact("termination", ensemble, name)
    return Task(
        # The whole path: a folder may have the name of a task.
        name=str(name) if folder is None else str(folder.resolve()),
        termination="never" if learned is None else "learned",
    )
