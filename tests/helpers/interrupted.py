"""Processes that are killed, and whether what they began ends as if they had not been."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mopo_env._utils.store import read_artifact

# Operations on files after each of which a process can die; the last of them is the one on a whole folder.
_OPERATIONS = [(Path, "replace"), (Path, "unlink"), (Path, "rename"), (os, "fsync")]


def in_child(work: Callable[[], Any]) -> int:
    """Run something in a process of its own; return its exit code, or minus the signal that killed it."""
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that do nothing, such as a progress bar's
        process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(AttributeError, OSError):  # some tests break it
                sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def die_after(count: int) -> None:
    """Make this process die right before the operation on files that comes after `count` others."""
    done = 0

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal done
            if done == count:
                os.kill(os.getpid(), signal.SIGKILL)
            done += 1
            return operation(*args, **options)

        return call

    patch = pytest.MonkeyPatch()  # never undone: the process dies
    for owner, name in _OPERATIONS:
        patch.setattr(owner, name, counted(getattr(owner, name)))


def outcome(folder: Path) -> dict[str, Any]:
    """Return everything a run left that does not depend on the clock."""
    left = {str(path.relative_to(folder)): read_artifact(path.parent, "policy") for path in folder.rglob("policy.json")}
    found: dict[str, Any] = {
        name: ({key: array.tobytes() for key, array in tensors.items()}, metadata)
        for name, (tensors, metadata) in left.items()
    }
    for name in ("progress.csv", "evaluations.csv", "scores.csv"):
        if (folder / name).exists():
            with (folder / name).open(newline="") as stream:
                lines = list(csv.DictReader(stream))
            found[name] = [{key: value for key, value in line.items() if "seconds" not in key} for line in lines]
    result = json.loads((folder / "result.json").read_text())
    for row in result["evaluations"]:
        del row["seconds"]
    found["result"] = {key: value for key, value in result.items() if key not in ("seconds", "resumed", "sha256")}
    found["config"] = json.loads((folder / "config.json").read_text())
    found["files"] = sorted(path.name for path in folder.iterdir() if not path.name.startswith("events.out"))
    return found
