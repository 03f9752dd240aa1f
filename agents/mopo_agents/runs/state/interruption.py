"""Ctrl-C once: the work finishes its step, saves, and ends. Twice: it ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interruptible"]


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT into a question that the work asks where it can stop.

    The work then saves and raises `KeyboardInterrupt`; if it ends before it asks, `KeyboardInterrupt` is raised here.
    Outside the main thread, where signals cannot be caught, the answer is always no; and so it is where SIGINT is
    ignored, as it is in what a script starts in the background.

    Yields:
        A function that says whether SIGINT came.
    """
    previous = signal.getsignal(signal.SIGINT) or signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or previous is signal.SIG_IGN:
        yield lambda: False
        return
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, previous)
    if came:
        raise KeyboardInterrupt
