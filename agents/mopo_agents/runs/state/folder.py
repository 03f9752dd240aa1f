"""A folder of unfinished work belongs to the options it was begun with, and goes as a whole."""

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
    """Claim a folder for a configuration, or check that it was claimed for the same one.

    Args:
        folder: Created when missing.
        configuration: All that decides the result; anything JSON can hold.

    Raises:
        ConfigError: If the work was begun with other options, and the message names them all; or if the folder holds
            other files.
        StoreError: If the folder cannot be read or written.
    """
    if not (folder / f"{_NAME}.json").is_file():
        # What a crash in this very function leaves has the name in it.
        if folder.exists() and any(_NAME not in path.name for path in folder.iterdir()):
            raise ConfigError(f"{folder} holds files that are not of unfinished work; choose another folder.")
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
            f"{folder} holds unfinished work of other options ({'; '.join(differences)}). Use those again to go on, "
            "choose another folder, or remove this one to start anew."
        )


def remove_folder(folder: Path) -> None:
    """Remove a folder whose work is done, if it is there; a crash at any moment leaves all of it or nothing to find."""
    removed = folder.with_name(f".{folder.name}-removed")
    shutil.rmtree(removed, ignore_errors=True)  # what such a crash left
    if folder.is_dir():
        folder.rename(removed)
        shutil.rmtree(removed)
