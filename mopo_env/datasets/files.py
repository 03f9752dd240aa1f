"""Transitions in our own file format, and flat copies of datasets in slower formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from mopo_env._utils.spaces import space_from_tensors, space_tensors
from mopo_env._utils.store import read_artifact, write_artifact
from mopo_env.errors import DatasetError, StoreError
from mopo_env.transitions import Transitions

__all__ = ["load_transitions", "read_through", "save_transitions"]

_NAME = "dataset"
_ROWS = ("observations", "actions", "rewards", "terminations", "truncations")


def save_transitions(transitions: Transitions, folder: Path | str) -> Path:
    """Write a dataset into a folder.

    Within an episode the next observation is the following row's observation. The file keeps only the next
    observations of which this does not hold, and so is nearly half as large.

    Returns:
        The path of the manifest, ``dataset.json``.

    Raises:
        StoreError: If the folder cannot be written.
    """
    follows = np.zeros(len(transitions), dtype=bool)
    # As bits: −0.0 equals 0.0, but the two have different fingerprints.
    observations, next_observations = (
        array.view(np.uint32) for array in (transitions.observations, transitions.next_observations)
    )
    follows[:-1] = (next_observations[:-1] == observations[1:]).all(axis=1)
    tensors = {
        **{name: getattr(transitions, name) for name in _ROWS},
        "breaks": np.flatnonzero(~follows),
        "break_next_observations": transitions.next_observations[~follows],
        **space_tensors("observation", transitions.observation_space),
        **space_tensors("action", transitions.action_space),
    }
    metadata = {
        **transitions.metadata,
        "rows": len(transitions),
        "episodes": len(transitions.episode_ends),
        "fingerprint": transitions.fingerprint,
    }
    return write_artifact(folder, _NAME, tensors, metadata)


def load_transitions(folder: Path | str) -> Transitions:
    """Read what `save_transitions` wrote.

    Raises:
        StoreError: If the files are missing or damaged.
        DatasetError: If their content is not a valid dataset.
    """
    tensors, metadata = read_artifact(folder, _NAME)
    try:
        return _from_tensors(tensors, metadata)
    except (KeyError, IndexError, TypeError, ValueError, AssertionError) as error:
        if isinstance(error, DatasetError):
            raise
        raise StoreError(f"{folder}: the dataset's tensors do not fit together: {error}.") from error


def _from_tensors(tensors: dict[str, np.ndarray], metadata: dict[str, Any]) -> Transitions:
    arrays = {name: _take(tensors, name) for name in _ROWS}
    observations = arrays["observations"]
    next_observations = np.empty_like(observations)
    next_observations[:-1] = observations[1:]
    if len(tensors["breaks"]) == 0 or tensors["breaks"][-1] != len(next_observations) - 1:
        raise ValueError("the last row has no next observation")
    next_observations[tensors["breaks"]] = tensors["break_next_observations"]
    next_observations.setflags(write=False)
    return Transitions(
        **arrays,
        next_observations=next_observations,
        observation_space=Box(*tensors["observation_bounds"], dtype=np.float32),
        action_space=space_from_tensors("action", tensors),
        metadata=metadata,
    )


def _take(tensors: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Move an array out of what was read. It is read-only and owns its memory, so `Transitions` does not copy it."""
    array = np.array(tensors.pop(name))
    array.setflags(write=False)
    return array


# Raise it with every change of a reader that changes what is read.
_READER = 1


def read_through(folder: Path, stamp: Mapping[str, Any], read: Callable[[], Transitions]) -> Transitions:
    """Return the copy that is kept in a folder, or read the source and keep a copy.

    A copy that is damaged or has another stamp is replaced. If the folder cannot be written, no copy is kept.

    Args:
        folder: The folder of the copy.
        stamp: Identifies the state of the source, such as its size and the time of its last change.
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
