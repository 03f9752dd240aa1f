"""How a worker process begins. Light on purpose: a worker imports this before anything that takes seconds."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait

__all__ = ["follow_parent"]


def follow_parent() -> None:
    """Leave it to the parent process when this worker ends: it ignores Ctrl-C, and dies when the parent dies.

    The sentinel of a parent is ready when it has ended, however that came about; it exists on every platform.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent decides
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)  # nobody is left who could read a result
