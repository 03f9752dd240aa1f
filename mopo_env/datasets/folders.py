"""Find the folders of datasets, ensembles and learned rules, without reading files."""

import os
from pathlib import Path

from mopo_env.tasks import ID_PREFIX, TASKS

_BUNDLED = Path(__file__).resolve().parent.parent / "bundled"


def user_folder() -> Path:
    """Return the folder of collected data: ``$MOPO_DATASETS_PATH``, or ``~/.mopo/datasets``."""
    return Path(os.environ.get("MOPO_DATASETS_PATH") or Path.home() / ".mopo" / "datasets")


def cache_folder() -> Path:
    """Return the folder of what can be made again.

    It is ``$MOPO_CACHE_PATH``, else ``$XDG_CACHE_HOME/mopo``, else ``~/.cache/mopo``.
    """
    if own := os.environ.get("MOPO_CACHE_PATH"):
        return Path(own)
    shared = Path(os.environ.get("XDG_CACHE_HOME") or "")
    # The specification of XDG says to ignore a relative path.
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "mopo"


def bundled_folder(task: str) -> Path | None:
    """Return the folder of a task's bundled data, or None."""
    folder = _BUNDLED / task
    return folder if task in TASKS and (folder / "dataset.json").is_file() else None


def find_folder(name: str | Path) -> Path | None:
    """Return the folder of a dataset in our own format, or None.

    A task's bundled data are preferred to data that the user collected for it, so that an id means the same data on
    every machine. To use the collected data, pass their path.
    """
    task = task_name(name)
    try:
        folder = Path(name).expanduser() if task is None else bundled_folder(task) or user_folder() / task
        return folder if (folder / "dataset.json").is_file() else None
    except (OSError, RuntimeError):  # the name is too long, or its ~user does not exist
        return None


def find_artifact(artifact: str, *names: str | Path | None) -> Path | None:
    """Return the first of several folders that holds an artifact, such as an ensemble, or None.

    Args:
        artifact: The name of the artifact, such as ``"ensemble"``.
        *names: Task names or folders; None is skipped.
    """
    for name in names:
        if name is None:
            continue
        try:
            folder = find_folder(name) or Path(name).expanduser()
            if (folder / f"{artifact}.json").is_file():
                return folder
        except (OSError, RuntimeError):  # as in find_folder
            continue
    return None


def task_name(name: str | Path) -> str | None:
    """Return the name of the task with this name or id, or None."""
    task = str(name).removeprefix(ID_PREFIX)
    return task if isinstance(name, str) and task in TASKS else None
