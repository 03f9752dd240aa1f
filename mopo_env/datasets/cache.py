"""Datasets that are slow to read, kept flat in our own format after the first time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.errors import DatasetError, StoreError
from mopo_env.transitions import Transitions

__all__ = ["read_through"]

# Raised whenever the same file would be read as other arrays than before.
_READER = 1


def read_through(folder: Path, stamp: Mapping[str, Any], read: Callable[[], Transitions]) -> Transitions:
    """Return the copy that is kept in a folder, or read the source and keep a copy.

    Args:
        folder: Of the copy. One that is damaged, or of another stamp, is replaced; one that cannot be written is not
            missed, since everything works without it.
        stamp: What tells this state of the source from any other, such as its size and the time of its last change.
        read: Reads the source.
    """
    stamp = {**stamp, "reader": _READER}
    with suppress(StoreError, DatasetError):
        kept = load_transitions(folder)
        metadata = kept.metadata.get("metadata")
        if kept.metadata.get("stamp") == stamp and isinstance(metadata, dict):
            return replace(kept, metadata=metadata)
    transitions = read()
    with suppress(StoreError):
        save_transitions(replace(transitions, metadata={"stamp": stamp, "metadata": transitions.metadata}), folder)
    return transitions
