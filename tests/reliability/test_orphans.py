"""Workers of a sweep end with the process that started them, also when it is killed and can tell them nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.agents import halfcheetah_rows

from mopo_env.datasets.files import save_transitions
from mopo_env.models.ensemble import save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig

STARTS = """
import os, subprocess, sys
child = "import sys, time; from mopo_agents._utils.processes import end_with; end_with(int(sys.argv[1])); "
child += "print('ready', flush=True); time.sleep(60)"
process = subprocess.Popen([sys.executable, "-c", child, str(os.getpid())], start_new_session=True)
print(process.pid, flush=True)
process.wait()
"""
PLAN = """
out = "out"
[options]
task = "{data}"
epochs = 100_000
gradient_steps = 2
rollout_batch_size = 8
agent_options = {{policy_kwargs = {{net_arch = [16]}}}}
[[grid]]
seed = [0, 1]
"""


def is_alive(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    with contextlib.suppress(OSError):
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks into Linux's /proc")


def test_a_process_ends_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTS], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        lines = {parent.stdout.readline().strip() for _ in range(2)}
        (child,) = map(int, lines - {"ready"})
        try:
            assert is_alive(child)
            parent.kill()
            assert wait_for(lambda: not is_alive(child), 10)
        finally:
            if is_alive(child):
                os.kill(child, signal.SIGKILL)


@pytest.mark.slow
def test_the_workers_of_a_killed_sweep(tmp_path: Path) -> None:
    """They would hold their runs for days, and the next sweep would be refused. The next one goes on at once."""
    rows = halfcheetah_rows(100)
    save_transitions(rows, tmp_path / "data")
    tiny = FitConfig(max_epochs=1, hidden_sizes=(8,), weight_decay=(0.0, 0.0), num_members=2, num_elites=1)
    save_ensemble(fit_ensemble(rows, tiny, progress=False), tmp_path / "data")
    (tmp_path / "plan.toml").write_text(PLAN.format(data=tmp_path / "data"))
    program = "import sys; from mopo_agents.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "sweep", "run", "plan.toml", "--workers", "2"]
    assert kill_when_both_have_saved(command, tmp_path, more_than=0)
    assert kill_when_both_have_saved(command, tmp_path, more_than=max(saved(tmp_path)))


def kill_when_both_have_saved(command: list[str], folder: Path, *, more_than: int) -> bool:
    """Return whether the two workers end with their parent."""
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children: list[int] = []
    try:
        assert wait_for(lambda: len(saved(folder)) == 2 and min(saved(folder)) > more_than, 300)
        text = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
        children = [int(process) for process in text.split()]
        assert len(children) == 2
        parent.kill()
        return wait_for(lambda: not any(map(is_alive, children)), 10)
    finally:
        parent.kill()
        parent.wait()
        for process in filter(is_alive, children):
            os.kill(process, signal.SIGKILL)


def saved(folder: Path) -> list[int]:
    """Return the lines in the logs of each run."""
    return [len(path.read_text().splitlines()) for path in (folder / "out").rglob("progress.csv")]
