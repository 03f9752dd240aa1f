"""kill -9 at every step of a write: the old content or the new is there, and the next writer clears up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mopo_env._utils.store import read_artifact, write_artifact

# Replaces content 1 by content 2, and is killed at the given call of the given step.
KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from mopo_env._utils import store
step, number = sys.argv[2], int(sys.argv[3])
calls = 0
def killed_at(function, after):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call
name, _, when = step.partition(" ")
owner = {"fsync": os, "replace": Path, "unlink": Path, "open": Path}[name]
setattr(owner, name, killed_at(getattr(owner, name), when == "after"))
store.write_artifact(sys.argv[1], "thing", {"values": np.full(50_000, 2.0)}, {"content": 2})
"""

# Syncs: tensors, folder, manifest, folder. Replacements: tensors, manifest. The last unlinks are the old tensors' and
# the lock's.
POINTS = [(f"fsync {when}", number) for number in (1, 2, 3, 4) for when in ("before", "after")]
POINTS += [(f"replace {when}", number) for number in (1, 2) for when in ("before", "after")]
POINTS += [(f"unlink {when}", number) for number in (1, 2) for when in ("before", "after")]


@pytest.mark.parametrize(("step", "number"), POINTS)
def test_killed(step: str, number: int, tmp_path: Path) -> None:
    write_artifact(tmp_path, "thing", {"values": np.full(50_000, 1.0)}, {"content": 1})
    command = [sys.executable, "-c", KILLED, str(tmp_path), step, str(number)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -9
    tensors, metadata = read_artifact(tmp_path, "thing")
    assert (tensors["values"] == metadata["content"]).all()
    # The manifest's replacement is what counts. The fourth sync and all removals come after it.
    is_new = (step, number) == ("replace after", 2) or step.startswith("unlink") or (step[:5], number) == ("fsync", 4)
    assert metadata["content"] == (2 if is_new else 1)
    write_artifact(tmp_path, "thing", {"values": np.full(50_000, 3.0)}, {"content": 3})
    assert read_artifact(tmp_path, "thing")[1]["content"] == 3
    (tensor_file,) = tmp_path.glob("*.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["thing.json", tensor_file.name])
