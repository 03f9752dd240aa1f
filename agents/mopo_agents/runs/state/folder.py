"""Folders of unfinished work: each belongs to one configuration, and is removed as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mopo_agents._utils.trees import flatten
from mopo_env._utils.store import json_ready, read_artifact, write_artifact
from mopo_env.errors import ConfigError

__all__ = ["claim_folder", "remove_folder"]

_NAME = "configuration"


def claim_folder(folder: Path, configuration: Mapping[str, Any]) -> None:
    """Claim a folder for a configuration, or check that it was claimed for the same configuration.

    Args:
        folder: Created if missing.
        configuration: Everything that decides the result, as JSON data.

    Raises:
        ConfigError: If the work began with other options, which the message names, or if the folder holds other files.
        StoreError: If the folder cannot be read or written.
    """
    if not (folder / f"{_NAME}.json").is_file():
        # A crash in this function leaves only files with this name.
        if folder.exists() and any(_NAME not in path.name for path in folder.iterdir()):
            raise ConfigError(f"{folder} holds files that are not of unfinished work. Choose another folder.")
        write_artifact(folder, _NAME, {}, configuration)
        return
    begun, now = flatten(read_artifact(folder, _NAME)[1]), flatten(json_ready(configuration))
    differences = [
        f"{name}: begun with {begun.get(name)!r}, now {now.get(name)!r}"
        for name in sorted(begun.keys() | now.keys())
        if begun.get(name) != now.get(name)
    ]
    if differences:
        raise ConfigError(
            f"{folder} holds unfinished work with other options ({'; '.join(differences)}). Use the same options to "
            "resume it, choose another folder, or remove this one to start anew."
        )


def remove_folder(folder: Path) -> None:
    """Remove a folder if it exists. A crash at any moment leaves the whole folder or none of it under its name."""
    removed = folder.with_name(f".{folder.name}-removed")
    shutil.rmtree(removed, ignore_errors=True)  # from an earlier crash
    if folder.is_dir():
        folder.rename(removed)
        shutil.rmtree(removed)
