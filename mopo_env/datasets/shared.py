"""Load what the folders of datasets hold, once in a process. Nobody writes to what is loaded."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from mopo_env.datasets.folders import find_artifact, find_folder
from mopo_env.datasets.locate import load_dataset
from mopo_env.errors import StoreError
from mopo_env.models.ensemble import GaussianEnsemble, load_ensemble
from mopo_env.terminations.learned import LearnedTermination, load_termination
from mopo_env.transitions import Transitions

Name = str | Path
Loaded = TypeVar("Loaded")


def load_shared_dataset(name: Name) -> Transitions:
    """Load a dataset as `load_dataset` does. One in our own format is shared within the process.

    Raises:
        DatasetError: If there is no such dataset; the message says how to get one.
        StoreError: If its files are damaged.
    """
    folder = find_folder(name)
    return load_dataset(name) if folder is None else _shared(load_dataset, folder / "dataset.json")


def load_shared_ensemble(name: Name, *, device: str = "cpu") -> GaussianEnsemble:
    """Load the ensemble of a task, or the one in a folder.

    Raises:
        StoreError: If there is none, or its files are damaged.
    """
    folder = find_folder(name) or Path(name).expanduser()
    if not (folder / "ensemble.json").is_file():
        raise StoreError(
            f"no ensemble for {str(name)!r}: {folder / 'ensemble.json'} does not exist. "
            f"Fit one with `mopo fit {name} --out FOLDER`, and name FOLDER as the dataset."
        )
    return _shared(load_ensemble, folder / "ensemble.json", device=device)


def load_shared_termination(*names: Name | None, device: str = "cpu") -> LearnedTermination:
    """Load the learned rule from the first of several tasks or folders that holds one; None is skipped.

    Raises:
        StoreError: If none of them holds a learned rule, or its files are damaged.
    """
    folder = find_artifact("termination", *names)
    if folder is None:
        where = " nor ".join(repr(str(name)) for name in names if name is not None)
        raise StoreError(
            f"no learned termination rule in {where}: no termination.json was found there. "
            "Fit one with `mopo fit-termination`, or name another rule."
        )
    return _shared(load_termination, folder / "termination.json", device=device)


def _shared(load: Callable[..., Loaded], manifest: Path, **options: Any) -> Loaded:
    """Load an artifact once, and again after its manifest has changed."""
    loaded: Loaded = _load(load, manifest.parent.resolve(), manifest.stat().st_mtime_ns, **options)
    return loaded


@lru_cache(maxsize=6)
def _load(load: Callable[..., Any], folder: Path, changed: int, **options: Any) -> Any:
    return load(folder, **options)
