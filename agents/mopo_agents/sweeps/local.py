"""Attempts as processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


class _Process(subprocess.Popen[bytes]):
    def poll(self) -> int | None:
        code = super().poll()
        if code is not None and self.stdin is not None:
            self.stdin.close()
        return code


def start(file: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a process that does the job of a file. It ends when its standard input is closed, as by our own end."""
    # A session of its own: a signal of the terminal reaches the parent alone, which then tells each child once.
    with log.open("ab") as stream:
        return _Process(
            [sys.executable, "-m", "mopo_agents.sweeps.work", str(file)],
            stdout=stream,
            stderr=stream,
            stdin=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
