"""The ensemble that a method asks for: the dataset's own, or one fitted for it once and kept."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mopo_env._utils.store import json_text
from mopo_env.datasets.folders import user_folder
from mopo_env.datasets.locate import load_dataset
from mopo_env.envs.make import load_shared_ensemble
from mopo_env.errors import ConfigError, StoreError
from mopo_env.models.ensemble import save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.transitions import Transitions

__all__ = ["ensemble_with"]


def ensemble_with(
    options: Mapping[str, Any], dataset: str | Path, *, device: str = "cpu", progress: bool = True
) -> Path | None:
    """Return the folder of an ensemble fitted with these options, and otherwise as the dataset's own was.

    So methods differ in what they say they do, and in nothing else. The ensembles are kept in a folder named after
    configuration and dataset, ``ensembles`` beside the collected datasets, and fitted again if either changes.

    Args:
        options: Of `FitConfig`.
        dataset: A task's name, a folder or a Minari id.
        device: Where to fit.
        progress: Whether to say so, and to show a progress bar.

    Returns:
        The folder, or None if the dataset's own ensemble was fitted so.

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
    folder = user_folder() / "ensembles" / _key(config, transitions)
    if _holds(folder, config, transitions):
        return folder
    if progress:
        shown = ", ".join(f"{name}={value}" for name, value in options.items())
        tqdm.write(f"No ensemble with {shown} for {dataset} yet: fitting it once, into {folder}.", file=sys.stderr)
    save_ensemble(fit_ensemble(transitions, config, device=device, progress=progress), folder)
    return folder


def _own_config(dataset: str | Path) -> FitConfig | None:
    """Return how the dataset's own ensemble was fitted, or None where there is none that says so."""
    try:
        return FitConfig.from_recorded(load_shared_ensemble(dataset).metadata["config"])
    except (StoreError, ConfigError, KeyError, TypeError):
        return None


def _key(config: FitConfig, transitions: Transitions) -> str:
    content = json_text({"config": asdict(config), "dataset": transitions.fingerprint})
    return hashlib.sha256(content).hexdigest()[:16]


def _holds(folder: Path, config: FitConfig, transitions: Transitions) -> bool:
    if not (folder / "ensemble.json").is_file():
        return False
    found = load_shared_ensemble(folder).metadata
    if found.get("dataset_fingerprint") != transitions.fingerprint or _own_config(folder) != config:
        raise StoreError(f"{folder}: holds another ensemble than its name says. Remove it; it will be fitted again.")
    return True
