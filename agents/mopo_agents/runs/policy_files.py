"""The policies in the folder of a run: the last one, checkpoints, and which of them is the best so far."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from mopo_env._utils.store import read_artifact
from mopo_env.errors import ConfigError, StoreError
from mopo_env.tasks import Task

__all__ = ["checkpoint_folder", "find_policy", "policy_metadata", "remove_checkpoints_after"]

_CHECKPOINTS = "checkpoints"


def policy_metadata(task: Task, epoch: int) -> dict[str, Any]:
    """Return what is saved with a policy. The user's own data have a path as their name, so only their label."""
    return {"task": None if task.recipe is None else task.name, "trained_on": task.label, "epoch": epoch}


def checkpoint_folder(run: Path, epoch: int) -> Path:
    """Return the folder of a checkpoint."""
    return run / _CHECKPOINTS / f"epoch-{epoch:05d}"


def find_policy(run: Path, checkpoint: str = "last") -> Path:
    """Return the folder of a saved policy.

    Args:
        run: A training run, finished or not, or any folder with a policy.
        checkpoint: ``"last"``, the name of a checkpoint such as ``"epoch-00050"``, or ``"best"``: the policy with the
            highest mean return in ``evaluations.csv`` among those that were saved.

    Raises:
        ConfigError: If there is no such checkpoint, or the run was never evaluated.
        StoreError: If a file is damaged.
    """
    names = sorted(path.parent.name for path in (run / _CHECKPOINTS).glob("epoch-*/policy.json"))
    if checkpoint == "best":
        return _best(run, names)
    if checkpoint != "last":
        if checkpoint not in names:
            known = ", ".join(["last", "best", *names])
            raise ConfigError(f"checkpoint: found {checkpoint!r}, expected one of {known}.")
        return run / _CHECKPOINTS / checkpoint
    is_unfinished = names and not (run / "policy.json").is_file()
    return run / _CHECKPOINTS / names[-1] if is_unfinished else run


def remove_checkpoints_after(run: Path, epoch: int) -> None:
    """Remove the checkpoints of later epochs: a resumed run computes them again."""
    for folder in (run / _CHECKPOINTS).glob("epoch-*"):
        if folder.name > checkpoint_folder(run, epoch).name:
            # The manifest first: without it, there is no policy.
            for path in sorted(folder.iterdir(), key=lambda path: path.name != "policy.json"):
                path.unlink()
            folder.rmdir()


def _best(run: Path, names: list[str]) -> Path:
    saved = {int(name.removeprefix("epoch-")): run / _CHECKPOINTS / name for name in names}
    if (run / "policy.json").is_file():
        saved[read_artifact(run, "policy")[1].get("epoch", -1)] = run
    try:
        with (run / "evaluations.csv").open(newline="") as stream:
            returns = {int(row["epoch"]): float(row["return_mean"]) for row in csv.DictReader(stream)}
    except FileNotFoundError:
        returns = {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{run / 'evaluations.csv'}: cannot be read: {type(error).__name__}: {error}.") from error
    known = returns.keys() & saved.keys()
    if not known:
        raise ConfigError(
            f"checkpoint: found 'best', but no saved policy of {run} was evaluated. Choose one of "
            f"{', '.join(['last', *names])}."
        )
    return saved[max(sorted(known), key=returns.__getitem__)]
