"""The state of a run in one file: a tree of dictionaries whose leaves are arrays, numbers, strings and None."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mopo_agents._utils.trees import flatten, unflatten
from mopo_env._utils.store import read_artifact, write_artifact
from mopo_env.errors import MopoError, StoreError

__all__ = ["read_state", "restoring", "write_state"]

# To be raised when the same names come to mean something else.
_VERSION = 1


def write_state(folder: Path, name: str, state: Mapping[str, Any]) -> None:
    """Replace the state that is kept under a name, all of it or nothing.

    Raises:
        StoreError: If it cannot be written, or a leaf cannot be kept; what was there before is intact.
    """
    leaves = flatten(state)
    arrays = {path: leaf for path, leaf in leaves.items() if isinstance(leaf, np.ndarray)}
    numbers = {path: leaf for path, leaf in leaves.items() if path not in arrays}
    write_artifact(folder, name, arrays, {"state_version": _VERSION, "state": numbers})


def read_state(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the state that is kept under a name, or None if there is none. Empty dictionaries do not come back.

    Raises:
        StoreError: If the files are damaged, or of another version.
    """
    if not (folder / f"{name}.json").is_file():
        return None
    arrays, metadata = read_artifact(folder, name)
    if metadata.get("state_version") != _VERSION:
        raise StoreError(
            f"{folder / name}.json: found state version {metadata.get('state_version')!r}, expected {_VERSION}. "
            "Go on with the mopo-env that wrote it, or remove the folder to start anew."
        )
    return unflatten({**metadata["state"], **arrays})


@contextmanager
def restoring(folder: Path) -> Iterator[None]:
    """Report a state that does not fit what it is put into.

    Raises:
        StoreError: Instead of the errors of missing names, and of values of wrong types or shapes.
    """
    try:
        yield
    except MopoError:
        raise
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise StoreError(
            f"{folder}: the saved state does not fit this run: {type(error).__name__}: {error}. Use the options it was "
            "saved with, or remove the folder to start anew."
        ) from error
