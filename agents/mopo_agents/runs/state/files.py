"""The files of an unfinished run: a folder that belongs to one configuration, a log of rows, and one state file.

Files that are missing, damaged or of another version raise a `StoreError`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mopo_agents._utils.trees import differing, flatten, unflatten
from mopo_env._utils.json_files import json_ready
from mopo_env._utils.store import read_artifact, write_artifact
from mopo_env.errors import ConfigError, MopoError, StoreError

_CONFIGURATION = "configuration"
# Increase it when the same names in a state get another meaning.
_STATE_VERSION = 1


def claim_folder(folder: Path, configuration: Mapping[str, Any]) -> None:
    """Claim a folder for a configuration, or check that it was claimed for the same configuration.

    The configuration is everything that decides the result, as JSON data.

    Raises:
        ConfigError: If the work began with other options, which the message names, or if the folder holds other files.
        StoreError: If the folder cannot be read or written.
    """
    if not (folder / f"{_CONFIGURATION}.json").is_file():
        # A crash in this function leaves only files with this name.
        if folder.exists() and any(_CONFIGURATION not in path.name for path in folder.iterdir()):
            raise ConfigError(f"{folder} holds files that are not of unfinished work. Choose another folder.")
        write_artifact(folder, _CONFIGURATION, {}, configuration)
        return
    if differences := differing(read_artifact(folder, _CONFIGURATION)[1], json_ready(configuration)):
        raise ConfigError(
            f"{folder} holds unfinished work with other options ({'; '.join(differences)}). Use the original options "
            "to resume it, choose another folder, or remove this one to start anew."
        )


def remove_folder(folder: Path) -> None:
    """Remove a folder if it exists. A crash at any moment leaves the whole folder or none of it under its name."""
    removed = folder.with_name(f".{folder.name}-removed")
    shutil.rmtree(removed, ignore_errors=True)  # from an earlier crash
    if folder.is_dir():
        folder.rename(removed)
        shutil.rmtree(removed)


class AppendLog:
    """Arrays that only grow: parts in one folder, each an artifact whose name is the position at which it starts.

    If a run crashes after it wrote a part and before it saved the position, the next part replaces that one. The log
    therefore needs no clean-up.

    Attributes:
        position: The length of what was appended or read so far, in the caller's unit, such as rows. If the caller
            sets it to a later one, what lies between is never read.
    """

    def __init__(self, folder: Path) -> None:
        self.position = 0
        self._folder = folder
        self._starts: list[int] = []

    def append(self, arrays: dict[str, np.ndarray], *, length: int) -> None:
        """Write one more part, whose length is in the unit of the position.

        Raises:
            StoreError: If the part cannot be written; the position is then unchanged.
        """
        write_artifact(self._folder, self._part, arrays, {"length": length})
        self._starts.append(self.position)
        self.position += length

    def start_of(self, position: int) -> int:
        """Return where the part with this position starts."""
        return max((start for start in self._starts if start <= position), default=position)

    def keep_only(self, start: int, until: int) -> None:
        """Remove all parts that start outside these two positions, and what a crash left of them."""
        self._starts = [found for found in self._starts if start <= found < until]
        # The manifests first: a part without its manifest does not exist.
        for path in sorted(self._folder.glob("*part-*"), key=lambda path: path.suffix != ".json"):
            found = re.match(r"\.?part-(\d+)", path.name)
            if found and not start <= int(found[1]) < until:
                path.unlink(missing_ok=True)

    def read(self, *, start: int = 0, until: int | None = None) -> list[dict[str, np.ndarray]]:
        """Return the parts from one position to another; None: to the last. The next `append` continues after them."""
        self.position, self._starts = start, []
        parts = []
        while self.position < until if until is not None else (self._folder / f"{self._part}.json").is_file():
            arrays, metadata = read_artifact(self._folder, self._part)
            parts.append(arrays)
            length = metadata.get("length")
            if not isinstance(length, int) or length < 1 or (until is not None and self.position + length > until):
                raise StoreError(
                    f"{self._folder / self._part}.json: found a part of length {length!r} at {self.position}, expected "
                    f"one that ends by {until}. The files are not of one run: remove the folder to start anew."
                )
            self._starts.append(self.position)
            self.position += length
        return parts

    @property
    def _part(self) -> str:
        return f"part-{self.position:010d}"


def write_state(folder: Path, name: str, state: Mapping[str, Any]) -> None:
    """Replace the state of this name completely, or not at all.

    A state consists of nested dictionaries whose leaves are arrays, numbers, strings and None.

    Raises:
        StoreError: If the state cannot be written, or a leaf has a wrong type; the previous state is then intact.
    """
    leaves = flatten(state)
    arrays = {path: leaf for path, leaf in leaves.items() if isinstance(leaf, np.ndarray)}
    numbers = {path: leaf for path, leaf in leaves.items() if path not in arrays}
    write_artifact(folder, name, arrays, {"state_version": _STATE_VERSION, "state": numbers})


def read_state(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the state of this name, or None if there is none. Empty dictionaries are not preserved."""
    if not (folder / f"{name}.json").is_file():
        return None
    arrays, metadata = read_artifact(folder, name)
    if metadata.get("state_version") != _STATE_VERSION:
        raise StoreError(
            f"{folder / name}.json: found state version {metadata.get('state_version')!r}, expected {_STATE_VERSION}. "
            "Resume with the version of mopo-env that wrote it, or remove the folder to start anew."
        )
    return unflatten({**metadata["state"], **arrays})


def remove_strays(folder: Path, name: str) -> None:
    """Remove what crashes left beside the state of this name: temporary files, and arrays that no manifest names."""
    manifest = folder / f"{name}.json"
    text = manifest.read_text() if manifest.is_file() else ""
    for path in [*folder.glob(f"{name}-*.safetensors"), *folder.glob(f".{name}*.tmp")]:
        if path.name not in text:
            path.unlink(missing_ok=True)


@contextmanager
def restoring(folder: Path) -> Iterator[None]:
    """Report a saved state that does not fit the run that restores it.

    Raises:
        StoreError: Replaces errors about missing names and about values of wrong types or shapes.
    """
    try:
        yield
    except MopoError:
        raise
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise StoreError(
            f"{folder}: the saved state does not fit this run: {type(error).__name__}: {error}. Use the same options "
            "as before, or remove the folder to start anew."
        ) from error
