"""The environment of this process, and the start of a worker process.

This module is small because a worker imports it before the slow packages.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait


@contextmanager
def environment_variable(name: str, value: str) -> Iterator[None]:
    """Set a variable, and restore it at the end."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        os.environ |= {} if before is None else {name: before}


def follow_parent() -> None:
    """Make this worker ignore Ctrl-C, and end when its parent process ends for any reason."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process, but the parent decides
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])  # ready when the parent has ended, on every platform
    os._exit(1)
