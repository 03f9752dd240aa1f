"""The first signal lets the work finish its step and save. The second ends it at once.

The signals are SIGINT (Ctrl-C), SIGTERM (a cluster takes the machine back) and SIGHUP (the terminal is gone).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class Interrupted(KeyboardInterrupt):
    """Raised when the work has stopped because of a signal.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        """Name the signal."""
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def interruptible(notice: str = "") -> Iterator[Callable[[], bool]]:
    """Catch the first signal. The work asks whether it came, at points where it can stop.

    The work then saves and raises `KeyboardInterrupt`. At the end of the block this becomes `Interrupted`, which is
    also raised if the work ends before it asks. Two cases catch nothing: threads other than the main one, which cannot
    catch signals, and signals that the process ignores, such as SIGINT in the background jobs of a script and SIGHUP
    under nohup. The first signal shows the `notice` on standard error.
    """
    came: int | None = None
    previous = _handlers() if threading.current_thread() is threading.main_thread() else {}
    terminals = [stream for stream in (1, 2) if _is_terminal(stream)]

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = number
        restore()
        if signal.Signals(number).name == "SIGHUP":
            _silence(terminals)
        elif notice:
            with contextlib.suppress(OSError):
                os.write(2, f"\n{notice}\n".encode())  # `print` must not run inside a handler

    for number in previous:
        signal.signal(number, note)
    try:
        yield lambda: came is not None
    except KeyboardInterrupt:
        if came is None:
            raise
    finally:
        restore()
    if came is not None:
        raise Interrupted(came)


def _handlers() -> dict[int, signal.Handlers | Callable[[int, FrameType | None], object]]:
    """Return the present handlers of the signals that the process does not ignore."""
    found = {}
    for name in _NAMES:
        number = getattr(signal, name, None)
        handler = None if number is None else signal.getsignal(number)
        # None: a handler that was not set by Python, so it could not be restored.
        if number is not None and handler is not None and handler is not signal.SIG_IGN:
            found[number] = handler
    return found  # type: ignore[return-value]  # the stubs allow integers as handlers


def _is_terminal(stream: int) -> bool:
    with contextlib.suppress(OSError):
        return os.isatty(stream)
    return False


def _silence(streams: list[int]) -> None:
    """Discard all further output to a terminal that is gone: a progress bar would fail before the work is saved."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in streams:
            os.dup2(nowhere, stream)
        os.close(nowhere)
