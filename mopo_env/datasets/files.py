"""Transitions in our own file format, and flat copies of datasets in slower formats."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from mopo_env._utils.json_files import canonical_digest
from mopo_env._utils.spaces import space_from_tensors, space_tensors
from mopo_env._utils.store import read_artifact, write_artifact
from mopo_env.errors import DatasetError, StoreError
from mopo_env.transitions import Transitions

_NAME = "dataset"
_ROWS = ("observations", "actions", "rewards", "terminations", "truncations")


def save_transitions(transitions: Transitions, folder: Path | str) -> Path:
    """Write a dataset into a folder.

    Within an episode, the next observation is usually the following row's observation. The file keeps only the other
    next observations, which makes it nearly half as large.

    Returns:
        The path of the manifest, ``dataset.json``.

    Raises:
        StoreError: If the folder cannot be written.
    """
    follows = np.zeros(len(transitions), dtype=bool)
    # Compare bits: −0.0 equals 0.0, but has another fingerprint.
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
    return write_artifact(folder, _NAME, tensors, {**transitions.metadata, **_record(transitions)})


def load_transitions(folder: Path | str) -> Transitions:
    """Read what `save_transitions` wrote.

    Raises:
        StoreError: If the files are missing or damaged.
        DatasetError: If their content is not a valid dataset.
    """
    tensors, metadata = read_artifact(folder, _NAME)
    try:
        return _as_recorded(_from_tensors(tensors, metadata), folder)
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


def _as_recorded(transitions: Transitions, folder: Path | str) -> Transitions:
    """Refuse rows that are not those that the manifest describes."""
    found = _record(transitions)
    for name, value in found.items():
        recorded = transitions.metadata.get(name)
        if recorded != value:
            raise StoreError(
                f"{folder}: {name}: found {value}, but the manifest says {recorded}. The dataset is damaged or was "
                "altered: fetch or create it again."
            )
    return transitions


def _record(transitions: Transitions) -> dict[str, Any]:
    return {
        "rows": len(transitions),
        "episodes": len(transitions.episode_ends),
        "fingerprint": transitions.fingerprint,
    }


def _take(tensors: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Move an array out of `tensors`, read-only and with its own memory, so that `Transitions` does not copy it."""
    array = np.array(tensors.pop(name))
    array.setflags(write=False)
    return array


# Increase this number if a change of a reader changes its results.
_READER = 1


def read_through(cache: Path, stamp: Mapping[str, Any], read: Callable[[], Transitions]) -> Transitions:
    """Return the copy in a cache, or call `read` and write a copy.

    The `stamp` identifies the state of the source, such as its size and the time of its last change. Its digest is the
    name of the copy, so processes that see different states do not disturb each other. A damaged copy is replaced. If
    the cache cannot be written, there is no copy.
    """
    stamp = {**stamp, "reader": _READER}
    folder = cache / canonical_digest(stamp)[:16]
    with suppress(StoreError, DatasetError):
        kept = load_transitions(folder)
        metadata = kept.metadata.get("metadata")
        if kept.metadata.get("stamp") == stamp and isinstance(metadata, dict):
            return replace(kept, metadata=metadata)
    transitions = read()
    with suppress(StoreError):
        save_transitions(replace(transitions, metadata={"stamp": stamp, "metadata": transitions.metadata}), folder)
    return transitions
