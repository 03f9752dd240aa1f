"""The policies in the folder of a run: the last one, checkpoints, and which of them is the best so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mopo_agents._utils.csv_tables import read_csv
from mopo_env._utils.store import read_artifact
from mopo_env.errors import ConfigError
from mopo_env.tasks import Task

_CHECKPOINTS = "checkpoints"
_BEST_OF = {"best": ("evaluations.csv", "return_mean"), "best-score": ("scores.csv", "score")}


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
        checkpoint: ``"last"``, the name of a checkpoint such as ``"epoch-00050"``, ``"best"``: the policy with the
            highest mean return in ``evaluations.csv`` among those that were saved, or ``"best-score"``: the same in
            ``scores.csv``, which no step of the real system went into.

    Raises:
        ConfigError: If there is no such checkpoint, or the run was never evaluated or scored.
        StoreError: If a file is damaged.
    """
    names = sorted(path.parent.name for path in (run / _CHECKPOINTS).glob("epoch-*/policy.json"))
    if checkpoint in _BEST_OF:
        return _best(run, names, checkpoint)
    if checkpoint != "last":
        if checkpoint not in names:
            known = ", ".join(["last", *_BEST_OF, *names])
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


def _best(run: Path, names: list[str], which: str) -> Path:
    table, column = _BEST_OF[which]
    saved = {int(name.removeprefix("epoch-")): run / _CHECKPOINTS / name for name in names}
    if (run / "policy.json").is_file():
        saved[read_artifact(run, "policy")[1].get("epoch", -1)] = run
    returns = dict(read_csv(run / table, lambda row: (int(row["epoch"]), float(row[column]))))
    known = returns.keys() & saved.keys()
    if not known:
        raise ConfigError(
            f"checkpoint: found {which!r}, but no saved policy of {run} is in {table}. Choose one of "
            f"{', '.join(['last', *names])}."
        )
    return saved[max(sorted(known), key=returns.__getitem__)]
