"""Attempts as processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["start"]


def start(file: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a process that does the job of a file."""
    # A session of its own: a signal of the terminal reaches the parent alone, which then tells each child once.
    with log.open("ab") as stream:
        return subprocess.Popen(  # noqa: S603  # our own module, with the name of a file that we wrote
            [sys.executable, "-m", "mopo_agents.sweeps.work", str(file)],
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
