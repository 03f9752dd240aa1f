"""The ensemble of a method: the dataset's own, or one that is fitted once for the method and kept."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mopo_env._utils.json_files import canonical_digest
from mopo_env.datasets.folders import user_folder
from mopo_env.datasets.locate import load_dataset
from mopo_env.envs.make import load_shared_ensemble
from mopo_env.errors import ConfigError, StoreError
from mopo_env.models.ensemble import save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig

__all__ = ["ensemble_with"]


def ensemble_with(
    options: Mapping[str, Any], dataset: str | Path, *, device: str = "cpu", progress: bool = True
) -> Path | None:
    """Return the folder of an ensemble with these options; all other options are those of the dataset's own ensemble.

    The folder lies in ``ensembles`` beside the collected datasets. Its name is a digest of configuration and dataset,
    so a change of either leads to a new fit.

    Args:
        options: Options of `FitConfig`.
        dataset: A task's name, a folder or a Minari id.
        device: Where to fit.
        progress: Whether to announce the fit.

    Returns:
        The folder, or None if the dataset's own ensemble has these options.

    Raises:
        DatasetError: If the data are missing or wrong.
        StoreError: If the folder cannot be written.
        ConfigError: If an option is wrong.
    """
    transitions, own = load_dataset(dataset), _own_config(dataset)
    base = own or FitConfig()
    config = replace(base, **options)
    if config == own:
        return None
    key = canonical_digest({"config": asdict(config), "dataset": transitions.fingerprint})[:16]
    folder = user_folder() / "ensembles" / key
    if (folder / "ensemble.json").is_file():
        found = load_shared_ensemble(folder).metadata
        if found.get("dataset_fingerprint") != transitions.fingerprint or _own_config(folder) != config:
            raise StoreError(
                f"{folder}: holds another ensemble than its name says. Remove it to fit the ensemble again."
            )
        return folder
    if progress:
        shown = ", ".join(f"{name}={value}" for name, value in options.items())
        tqdm.write(f"No ensemble with {shown} for {dataset} yet: fitting one into {folder}.", file=sys.stderr)
    save_ensemble(fit_ensemble(transitions, config, device=device, progress=progress), folder)
    return folder


def _own_config(dataset: str | Path) -> FitConfig | None:
    """Return the configuration of the dataset's own ensemble, or None if there is none on record."""
    try:
        return FitConfig.from_recorded(load_shared_ensemble(dataset).metadata["config"])
    except (StoreError, ConfigError, KeyError, TypeError):
        return None
