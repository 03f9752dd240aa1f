"""Several processes in one folder: every read gives one whole content, and long work is not done twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.agents import halfcheetah_rows

from mopo_env._utils.locks import folder_lock, lock_file
from mopo_env._utils.store import read_artifact, write_artifact
from mopo_env.datasets.files import save_transitions
from mopo_env.errors import StoreError

Mopo = Callable[..., tuple[int, str, str]]

# Its arguments: the folder, the number of contents that take turns, seconds, a number of its own.
WRITER = """
import sys, time
import numpy as np
from mopo_env._utils.store import write_artifact
folder, contents, seconds, number = sys.argv[1], *map(int, sys.argv[2:])
end, written = time.monotonic() + seconds, 0
while time.monotonic() < end:
    content = (written * 7 + number) % contents
    write_artifact(folder, "thing", {"values": np.full(5_000, content, np.float32)}, {"content": content})
    written += 1
print(written)
"""


_STARTED: list[subprocess.Popen[str]] = []


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    _STARTED.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    return _STARTED[-1]


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:
    yield
    while _STARTED:
        end(_STARTED.pop())


def read_while_three_write(folder: Path, contents: int, seconds: int) -> tuple[int, int]:
    """Return how often was read and written. A read that fails, or mixes two contents, fails the test."""
    write_artifact(folder, "thing", {"values": np.zeros(5_000, np.float32)}, {"content": 0})
    writers = [start(WRITER, folder, contents, seconds, number) for number in range(3)]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        tensors, metadata = read_artifact(folder, "thing")
        assert (tensors["values"] == metadata["content"]).all()
        reads += 1
    written = [int(writer.communicate()[0]) for writer in writers]
    assert all(writer.returncode == 0 for writer in writers)
    (left,) = folder.glob("*.safetensors")
    assert sorted(path.name for path in folder.iterdir()) == sorted(["thing.json", left.name]), "no leftovers"
    read_artifact(folder, "thing")
    return reads, sum(written)


def test_no_read_fails_while_contents_come_back(tmp_path: Path) -> None:
    """Content that comes back has the name of a file that another writer is about to remove."""
    reads, writes = read_while_three_write(tmp_path / "store", contents=2, seconds=3)
    assert reads > 50
    assert writes > 20


@pytest.mark.slow
@pytest.mark.parametrize("contents", [2, 3, 1000])
def test_no_read_fails_in_a_minute(tmp_path: Path, contents: int) -> None:
    reads, writes = read_while_three_write(tmp_path / "store", contents=contents, seconds=60)
    print(f"{contents} contents: {reads} reads, {writes} writes, 0 failed")  # noqa: T201  # counts for the record


HOLDER = """
import sys, time
from mopo_env._utils.locks import folder_lock
with folder_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    holder = start(HOLDER, folder)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.fixture
def held(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that works in the folder `work`, which holds a dataset."""
    save_transitions(halfcheetah_rows(), tmp_path / "work")
    return hold(tmp_path / "work")


@pytest.mark.parametrize(
    "command",
    [
        ["fit", "work", "--overwrite"],
        ["fit-termination", "work", "--overwrite"],
        ["collect", "halfcheetah-mixed", "--out", "work", "--overwrite"],
        ["data", "import-table", "log.csv", "--out", "work", "--overwrite", "--observations", "x", "--actions", "a"],
    ],
    ids=lambda command: command[0] if command[0] != "data" else command[1],
)
def test_the_second_command_is_refused_and_names_the_first(
    mopo: Mopo, held: subprocess.Popen[str], tmp_path: Path, command: list[str]
) -> None:
    """Two collections of one folder ended in a traceback; two fits take twice as long for one result."""
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    code, out, err = mopo(*command, *(["--reward", "r"] if command[0] == "data" else []))
    assert (code, out) == (2, "")
    assert err.startswith(f"mopo: work: process {held.pid} on ")
    assert "works in this folder. Wait until it has ended, or choose another folder." in err
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()} == before


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    """The operating system releases it, so no number of a process that ended has to be judged."""
    holder = hold(tmp_path / "work")
    end(holder)
    assert (tmp_path / "work" / ".mopo.lock").exists()
    with folder_lock(tmp_path / "work"):
        pass
    assert not (tmp_path / "work").exists() or not list((tmp_path / "work").iterdir())


def test_a_lock_file_that_is_left_is_no_lock(tmp_path: Path) -> None:
    """Copied with its folder, or restored from a backup."""
    (tmp_path / ".mopo.lock").write_text(f"process {os.getpid()} on here, since now,")
    with folder_lock(tmp_path):
        pass


def test_a_lock_leaves_nothing_behind(tmp_path: Path) -> None:
    """Work that fails in a folder that it made leaves no folder."""
    with pytest.raises(RuntimeError, match="work"), folder_lock(tmp_path / "a" / "b"):
        raise RuntimeError("work")
    assert not list(tmp_path.glob("a*"))


WAITER = """
import sys, time
from mopo_env._utils.locks import lock_file
from pathlib import Path
folder = Path(sys.argv[1])
for _ in range(40):
    with lock_file(folder, "count", seconds=60):
        number = int((folder / "number").read_text())
        time.sleep(0.001)
        (folder / "number").write_text(str(number + 1))
"""


def test_one_at_a_time_although_the_file_is_removed_each_time(tmp_path: Path) -> None:
    """Who waited for a removed lock file must not hold it beside who made the new one."""
    (tmp_path / "number").write_text("0")
    waiters = [start(WAITER, tmp_path) for _ in range(3)]
    assert [waiter.wait(60) for waiter in waiters] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "120"
    assert [path.name for path in tmp_path.iterdir()] == ["number"]


def test_a_writer_waits_for_another_and_says_so_if_it_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mopo_env._utils.store._PATIENCE_OF_WRITERS", 0.05)
    program = HOLDER.replace("folder_lock(sys.argv[1])", "lock_file(Path(sys.argv[1]), 'thing', seconds=0)")
    holder = start(program.replace("import folder_lock", "import lock_file; from pathlib import Path"), tmp_path)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(StoreError, match=f"process {holder.pid} on"):
        write_artifact(tmp_path, "thing", {}, {})
    end(holder)
    write_artifact(tmp_path, "thing", {}, {})


def test_files_of_killed_writers_go_and_nothing_else(tmp_path: Path) -> None:
    """Tensor files without a manifest, and temporary files; a user's notes are not ours, nor is another artifact."""
    ours = ["thing-0123456789ab.safetensors", f".thing.json.1.{'a' * 32}.tmp"]
    ours.append(f".thing-0123456789ab.safetensors.{os.getpid()}.{'b' * 32}.tmp")
    others = ["thing-notes.safetensors", "thing-0123456789ab.txt", "another-0123456789ab.safetensors", ".thing.tmp"]
    for name in (*ours, *others):
        (tmp_path / name).write_text("left")
    write_artifact(tmp_path, "thing", {"a": np.zeros(3)}, {})
    found = {path.name for path in tmp_path.iterdir()}
    assert not found & set(ours)
    assert set(others) <= found


FITTER = """
import sys
from mopo_agents.runs import method_ensembles
real = method_ensembles.fit_ensemble
def fit(*arguments, **options):
    print("fitted", flush=True)
    return real(*arguments, **options)
method_ensembles.fit_ensemble = fit
options = {"max_epochs": 1, "hidden_sizes": (4,), "weight_decay": (0.0, 0.0)}
print(method_ensembles.ensemble_with(options, sys.argv[1], progress=False))
"""


@pytest.mark.slow
def test_two_processes_fit_an_ensemble_of_the_cache_once(tmp_path: Path) -> None:
    save_transitions(halfcheetah_rows(), tmp_path / "data")
    outputs = [process.communicate(timeout=120)[0] for process in [start(FITTER, tmp_path / "data") for _ in range(2)]]
    assert "".join(outputs).count("fitted") == 1
    assert len({output.splitlines()[-1] for output in outputs}) == 1


def test_reading_needs_no_lock_and_no_permission_to_write(tmp_path: Path) -> None:
    """Data that are shared with all users of a machine cannot be locked by them."""
    write_artifact(tmp_path / "shared", "thing", {"a": np.zeros(3)}, {})
    with lock_file(tmp_path / "shared", "thing", seconds=0):
        began = time.monotonic()
        read_artifact(tmp_path / "shared", "thing")
        assert time.monotonic() - began < 1
