"""The commands of `mopo data` that import data in other formats."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gymnasium.spaces import Box, Discrete
from tyro.conf import Positional

from mopo_agents._utils.outputs import check_room, refuse_to_replace
from mopo_agents.cli.data import count, sizes_of, summary
from mopo_env._utils.locks import folder_lock
from mopo_env._utils.options import check_integer
from mopo_env._utils.spaces import ActionSpace
from mopo_env.errors import ConfigError
from mopo_env.transitions import Transitions

# A share of the rows. With more gaps, the usual step is hardly usual.
_MANY_GAPS = 0.1


def import_d4rl(
    file: Positional[Path],
    /,
    *,
    out: Path,
    max_episode_steps: int | None = None,
    sha256: str | None = None,
    action_low: tuple[float, ...] | None = None,
    action_high: tuple[float, ...] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Import an HDF5 file of D4RL, or one with the same fields.

    Args:
        file: The file, such as hopper_medium-v2.hdf5.
        out: Folder for the dataset.
        max_episode_steps: The time limit of an episode, for a file that records no timeouts. None: 1000.
        sha256: Refuse a file with another SHA-256 checksum.
        action_low: Lower bounds of the actions: one number for all, or one for each. None: -1.
        action_high: Upper bounds of the actions: one number for all, or one for each. None: 1.
        overwrite: Replace the dataset that the folder holds.
    """
    from mopo_env.datasets.d4rl import action_width, load_d4rl

    with _import_into(out, file, overwrite=overwrite):
        space = None
        if action_low is not None or action_high is not None:
            space = _action_box(action_width(file), action_low, action_high)
        transitions = load_d4rl(file, action_space=space, max_episode_steps=max_episode_steps, sha256=sha256)
        return _save_import(transitions, out, note=_provenance(file, transitions))


def import_minari(
    dataset_id: Positional[str], /, *, out: Path, flatten: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Import a Minari dataset.

    One whose observations are vectors needs no import: use its id.

    Args:
        dataset_id: Such as D4RL/pointmaze/umaze-v2.
        out: Folder for the dataset.
        flatten: Join the parts of observations that are dictionaries, tuples, images or numbers into one vector.
        overwrite: Replace the dataset that the folder holds.
    """
    from mopo_env.datasets.minari.reader import load_minari

    with _import_into(out, overwrite=overwrite):
        return _save_import(load_minari(dataset_id, flatten=flatten), out)


def import_table(
    *files: Positional[Path],
    out: Path,
    observations: tuple[str, ...],
    actions: tuple[str, ...],
    reward: str,
    next_observations: tuple[str, ...] | None = None,
    terminated: str | None = None,
    truncated: str | None = None,
    episode: str | None = None,
    time: str | None = None,
    time_tolerance: float = 0.5,
    one_hot: tuple[str, ...] = (),
    na: tuple[str, ...] = (),
    drop_missing: bool = False,
    delimiter: str | None = None,
    decimal: Literal[".", ","] = ".",
    encoding: str = "utf-8",
    action_low: tuple[float, ...] | None = None,
    action_high: tuple[float, ...] | None = None,
    discrete_actions: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Import tables of logged steps from CSV or Parquet.

    Args:
        files: The tables, with one row for each step: .csv, .tsv, .txt (also compressed, such as .csv.gz) or .parquet.
            Each file ends an episode.
        out: Folder for the dataset.
        observations: Columns of the state.
        actions: Columns of the action.
        reward: Column of the reward.
        next_observations: Columns of the next state. None: use the state of the following row.
        terminated: Column that tells whether the next state is terminal.
        truncated: Column that tells whether the episode was cut off after this step.
        episode: Column that identifies the episode.
        time: Column of times, numbers or ISO timestamps. Rows are sorted by it; gaps and duplicates end episodes.
        time_tolerance: A step that differs from the usual one by this share of it, or by more, is a gap.
        one_hot: Columns of the state that hold categories. Each category becomes a column of zeros and ones.
        na: Texts that mean a missing value, beside empty cells and nan.
        drop_missing: Drop rows with missing values, and end their episodes. Otherwise they are refused.
        delimiter: What separates the cells of a text file, or tab. None: a comma, and a tab in .tsv.
        decimal: The decimal mark of a text file.
        encoding: The encoding of a text file, such as cp1252.
        action_low: Lower bounds of the actions: one number for all, or one for each. None: -1.
        action_high: Upper bounds of the actions: one number for all, or one for each. None: 1.
        discrete_actions: Number of discrete actions. The column holds integers from 0.
        overwrite: Replace the dataset that the folder holds.
    """
    from mopo_env.datasets.tables.reader import load_table

    known = inspect.signature(load_table).parameters
    options: dict[str, Any] = {name: given for name, given in locals().items() if name in known}
    with _import_into(out, *files, overwrite=overwrite):
        space = _action_space(len(actions), action_low, action_high, discrete_actions)
        transitions = load_table(files, action_space=space, **options)
        return _save_import(transitions, out)


def _provenance(file: Path, transitions: Transitions) -> str:
    from mopo_env.datasets.d4rl import D4RL_FILES

    digest, published = transitions.metadata["sha256"], transitions.metadata.get("d4rl_file")
    if published is not None:
        return f"SHA-256 {digest}: the {published} that D4RL published."
    if file.name in D4RL_FILES:
        return f"SHA-256 {digest}: not the {file.name} that D4RL published, whose SHA-256 is {D4RL_FILES[file.name]}."
    return f"SHA-256 {digest}: not a file that D4RL published."


@contextmanager
def _import_into(folder: Path, *files: Path, overwrite: bool) -> Iterator[None]:
    """Reserve the folder, after a look at what it holds and at the room for what it will hold."""
    refuse_to_replace(folder, "dataset", overwrite=overwrite)
    check_room(folder, sum(file.stat().st_size for file in files if file.is_file()))
    with folder_lock(folder):
        yield


def _save_import(transitions: Transitions, folder: Path, *, note: str | None = None) -> dict[str, Any]:
    from mopo_env.datasets.files import save_transitions

    save_transitions(transitions, folder)
    print(summary(transitions))
    for line in (note, *_log_report(transitions.metadata.get("log"))):
        if line is not None:
            print(line)
    dropped = transitions.metadata.get("rows_dropped", 0)
    if dropped:
        print(f"{dropped:,} rows were dropped, the last of each episode, because the file lacks their next states.")
    print(f"The dataset is in {folder}. Next: mopo data show {folder}; mopo fit {folder}")
    return {"folder": folder, "rows_dropped": dropped, **sizes_of(transitions)}


def _log_report(log: Mapping[str, Any] | None) -> Iterator[str]:
    """Describe what ended episodes in a log, and what was left out."""
    if log is None:
        return
    if log["rows_missing"]:
        yield f"{log['rows_missing']:,} of {log['rows']:,} rows had missing values and were dropped."
    if "gaps" not in log:
        return
    if log["out_of_order"]:
        yield f"The rows were out of order at {count(log['out_of_order'], 'place')}, and were sorted by time."
    if log["time_step"] is None:
        yield "No two rows of an episode differ in time, so gaps cannot be found."
        return
    unit = " s" if log["timestamps"] else ""
    yield (
        f"The usual time step is {log['time_step']:g}{unit}. {count(log['gaps'], 'gap')} in time and "
        f"{count(log['duplicate_times'], 'duplicate time')} ended episodes."
    )
    if log["gaps"] > _MANY_GAPS * log["rows"]:
        yield (
            "These are many gaps. If the log has no fixed step, resample it to one. If its step varies, raise "
            "--time-tolerance."
        )


def _action_space(
    width: int, low: tuple[float, ...] | None, high: tuple[float, ...] | None, discrete: int | None = None
) -> ActionSpace | None:
    if discrete is not None:
        check_integer("--discrete-actions", discrete)
        if width != 1 or low is not None or high is not None:
            raise ConfigError(
                "--discrete-actions: expected one column in --actions, and neither --action-low nor --action-high."
            )
        return Discrete(discrete)
    return None if low is None and high is None else _action_box(width, low, high)


def _action_box(width: int, low: tuple[float, ...] | None, high: tuple[float, ...] | None) -> Box:
    bounds = []
    for name, values in (("--action-low", low or (-1.0,)), ("--action-high", high or (1.0,))):
        if len(values) not in (1, width):
            raise ConfigError(f"{name}: found {len(values)} numbers, expected 1 or {width}, one for each action.")
        bounds.append(np.broadcast_to(np.array(values, dtype=np.float32), (width,)))
    if not (np.isfinite(bounds).all() and (bounds[0] < bounds[1]).all()):
        raise ConfigError(f"--action-low, --action-high: found {low} and {high}, expected finite low below high.")
    return Box(bounds[0], bounds[1], dtype=np.float32)
