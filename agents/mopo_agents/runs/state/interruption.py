"""The first Ctrl-C lets the work finish its step and save. The second ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interruptible"]


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Catch the first SIGINT. The work asks whether it came, at points where it can stop.

    The work then saves and raises `KeyboardInterrupt`. If it ends before it asks, `KeyboardInterrupt` is raised here.
    Two cases catch nothing: threads other than the main one, which cannot catch signals, and processes that ignore
    SIGINT, such as those that a script starts in the background. The function that this yields then returns False.
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
