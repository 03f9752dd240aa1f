"""The ensemble of a method: the dataset's own, or one that is fitted once for the method and kept."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mopo_env._utils.json_files import canonical_digest
from mopo_env._utils.locks import lock_file
from mopo_env._utils.progress import announce
from mopo_env.datasets.folders import cache_folder
from mopo_env.datasets.locate import load_dataset
from mopo_env.datasets.shared import load_shared_ensemble
from mopo_env.errors import ConfigError, StoreError
from mopo_env.models.ensemble import save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.transitions import Transitions

# Seconds that a process waits for another one that fits the same ensemble.
_LONGEST_FIT = 86_400.0


def ensemble_with(
    options: Mapping[str, Any], dataset: str | Path, *, device: str = "cpu", progress: bool = True
) -> Path | None:
    """Return the folder of an ensemble with these options; all other options are those of the dataset's own ensemble.

    The folder lies in ``ensembles`` in the cache. Its name is a digest of configuration and dataset, so a change of
    either leads to a new fit. If several processes need it, one fits and the others wait. If the cache cannot be
    written, the ensemble lies in a temporary folder. None: the dataset's own ensemble has these options.
    """
    transitions, own = load_dataset(dataset), _own_config(dataset)
    base = own or FitConfig()
    config = replace(base, **options)
    if config == own:
        return None
    key = canonical_digest({"config": asdict(config), "dataset": transitions.fingerprint})[:16]
    folder = cache_folder() / "ensembles" / key
    if _is_fitted(folder, transitions, config):
        return folder
    with ExitStack() as turn:
        try:
            turn.enter_context(lock_file(folder.parent, key, seconds=_LONGEST_FIT))
        except StoreError as error:
            folder = _elsewhere(error)
        if _is_fitted(folder, transitions, config):  # by the process that had its turn before
            return folder
        if progress:
            shown = ", ".join(f"{name}={value}" for name, value in options.items())
            announce(f"No ensemble with {shown} for {dataset} yet: fitting one into {folder}.")
        ensemble = fit_ensemble(transitions, config, device=device, progress=progress)
        try:
            save_ensemble(ensemble, folder)
        except StoreError as error:
            folder = _elsewhere(error)
            save_ensemble(ensemble, folder)
    return folder


def _is_fitted(folder: Path, transitions: Transitions, config: FitConfig) -> bool:
    if not (folder / "ensemble.json").is_file():
        return False
    try:
        found = load_shared_ensemble(folder).metadata
    except StoreError:  # damaged: fit it again
        return False
    if found.get("dataset_fingerprint") != transitions.fingerprint or _own_config(folder) != config:
        raise StoreError(f"{folder}: holds another ensemble than its name says. Remove it to fit the ensemble again.")
    return True


def _elsewhere(error: StoreError) -> Path:
    """Return a temporary folder, because an ensemble that cannot be kept can still be used."""
    folder = Path(tempfile.mkdtemp(prefix="mopo-ensemble-"))
    announce(f"{error} The ensemble is in {folder} instead, and is not kept for other runs.")
    return folder


def _own_config(dataset: str | Path) -> FitConfig | None:
    """Return the configuration of the dataset's own ensemble, or None if there is none on record."""
    try:
        return FitConfig.from_recorded(load_shared_ensemble(dataset).metadata["config"])
    except (StoreError, ConfigError, KeyError, TypeError):
        return None
