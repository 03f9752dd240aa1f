"""The start of a worker process. This module is small because a worker imports it before the slow packages."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import wait

__all__ = ["end_with", "follow_parent"]


def follow_parent() -> None:
    """Make this worker ignore Ctrl-C, and end when its parent process ends for any reason."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process, but the parent decides
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])  # ready when the parent has ended, on every platform
    os._exit(1)


def end_with(parent: int) -> None:
    """Make this process end when the process that started it ends for any reason.

    Args:
        parent: The number of that process, from itself: it may have ended before this one asks.
    """
    threading.Thread(target=_end_without, args=(parent,), daemon=True).start()


def _end_without(parent: int) -> None:
    while os.getppid() == parent:  # a process whose parent has ended gets another one
        time.sleep(0.5)
    os._exit(1)
