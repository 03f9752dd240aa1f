"""The folder of a run: found or made for one process at a time, and read again to resume the run.

What is refused raises a `ConfigError` that says what to do; what is missing or damaged, a `StoreError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mopo_agents._utils.trees import differing
from mopo_agents.runs.config import NEEDS, TrainConfig
from mopo_agents.runs.state.files import remove_folder
from mopo_env._utils.json_files import json_ready, read_json
from mopo_env._utils.locks import lock_file
from mopo_env.errors import ConfigError, StoreError


def state_folder(run: Path) -> Path:
    """Return where a run keeps what it needs to resume. The folder is removed when the run ends."""
    return run / "unfinished"


def is_finished(run: Path) -> bool:
    """Return whether a run has its result."""
    return (run / "result.json").is_file()


def check_free(folder: Path) -> None:
    """Refuse a folder that holds a run."""
    if not (folder / "config.json").exists():
        if state_folder(folder).is_dir() and any(state_folder(folder).glob("*.json")):
            raise ConfigError(f"{folder} holds a run, but no config.json. Choose another folder, or remove this one.")
        return
    if is_finished(folder):
        raise ConfigError(f"{folder} already holds a run. Choose another folder, or remove this one.")
    raise ConfigError(
        f"{folder} holds an unfinished run. Resume it with `mopo train --resume {folder}` or "
        f"mopo_agents.resume({str(folder)!r}), choose another folder, or remove this one."
    )


def new_folder(name: str) -> Path:
    """Make a new folder in ``runs/``; two processes never get the same one."""
    folder, number = Path("runs") / name, 2
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            folder, number = Path("runs") / f"{name}-{number}", number + 1
        except OSError as error:
            raise StoreError(f"{folder}: cannot be made: {error.strerror or error}.") from error
        else:
            return folder


@contextmanager
def running(run: Path) -> Iterator[None]:
    """Keep other processes from working on a run. At the end, the state of a finished run is removed.

    Raises:
        BusyError: If another process works on it.
        StoreError: If the folder cannot be written.
    """
    with lock_file(state_folder(run), "run", seconds=0):
        try:
            yield
        finally:  # a run that diverged is finished, too
            if is_finished(run):
                remove_folder(state_folder(run))


def check_unfinished(run: Path, record: Mapping[str, Any]) -> None:
    """Refuse to resume a run that has its result."""
    if is_finished(run):
        remove_folder(state_folder(run))  # from a crash right after the result was written
        raise ConfigError(
            f"{run}: the run is finished, there is nothing to resume. For more than {record.get('epochs')} epochs, "
            "train a new run, because schedules depend on their number."
        )


def recorded_config(run: Path) -> tuple[TrainConfig, dict[str, Any]]:
    """Return the options of a run, finished or not, and all that its ``config.json`` says."""
    if not (run / "config.json").is_file():
        raise StoreError(f"{run}: found no config.json, expected the folder of a training run.")
    record = read_json(run / "config.json")
    if missing := sorted(NEEDS.keys() - record.keys()):
        raise ConfigError(
            f"{run}: config.json has no {', '.join(missing)}. Use the version of mopo-env that began the run."
        )
    return TrainConfig(**options_of(record)), record


def options_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in the content of a ``config.json``; what it lacks is left out, and has its default."""
    # null stands for options that do not apply to the agent, too.
    return {
        name: record[name] for name, needs in NEEDS.items() if name in record and not (record[name] is None and needs)
    }


def check_same_run(run: Path, record: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume a run whose dataset, ensemble or anything else that changes its result is another one now."""
    now = json_ready(now)
    if record.get("identity") == now["identity"]:
        return
    left_out = {"identity", "versions", "changed", "device", "threads"}
    before, after = (
        {name: value for name, value in content.items() if name not in left_out} for content in (record, now)
    )
    differences = differing(before, after)
    if not differences:  # the options are read from the record, so they cannot differ from it
        raise ConfigError(
            f"{run}: cannot be resumed, because its config.json was edited: its options give the identity "
            f"{now['identity'][:12]!r}…, but it was begun as {str(record.get('identity'))[:12]!r}…. A resumed run "
            "keeps its options. Restore the file, or train a new run."
        )
    raise ConfigError(
        f"{run}: cannot be resumed, because its inputs have changed ({'; '.join(differences)}). Restore them, or train "
        "a new run."
    )
