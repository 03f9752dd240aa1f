"""Standard output and standard error that cannot end a command: whatever happens to them, the work goes on."""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_READER_GONE = 141  # what a shell reports of a program that SIGPIPE has ended
_OUTPUT_LOST = 2
# What tables and help texts use, for terminals that lack it. Other characters become escapes such as \u0394.
_PLAIN = {"λ": "lambda", "σ": "sigma", "−": "-", "–": "-", "…": "...", "±": "+-", "·": "*", "•": "*", "×": "x"}
_PLAIN |= {"′": "'", "’": "'", "→": "->", "≤": "<=", "─": "-", "│": "|", "╭": "+", "╮": "+", "╰": "+", "╯": "+"}


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Replace `sys.stdout` and `sys.stderr` while a command runs.

    A closed pipe, a full disk or a terminal that is gone must not cost a training. What cannot be written is dropped,
    and so is all that follows in the same stream. Characters that the terminal lacks are replaced. A stream that was
    closed before the start drops everything. Streams that are no files, such as a notebook's, are left alone.

    Raises:
        SystemExit: After the work, if standard output broke: 141 if its reader is gone; else 2, and standard error has
            a line about it.
    """
    codecs.register_error("mopo-plain", _plain)
    _occupy_closed_descriptors()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_replacement, before)
    try:
        yield
        _tell_what_was_lost()
    except SystemExit as end:
        if not end.code:
            _tell_what_was_lost()
        raise
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


class _Lasting(io.RawIOBase):
    """Bytes to a file until the first error, and to nowhere after it."""

    def __init__(self, raw: io.RawIOBase | None) -> None:
        self.raw, self.error = raw, None if raw is not None else OSError("closed before the start")

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.error is None and self.raw is not None and self.raw.isatty()

    def fileno(self) -> int:
        return super().fileno() if self.raw is None else self.raw.fileno()

    def write(self, data: Any) -> int:
        while self.error is None and self.raw is not None:
            try:
                written = self.raw.write(data)
                if written is not None:
                    return written
                select.select([], [self.raw], [])  # another program has made the terminal non-blocking
            except OSError as error:
                self.error = error
        return len(data)


def _replacement(stream: Any) -> Any:
    """Return a stream to the same file; the stream itself if it is no file."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # with PYTHONUNBUFFERED there is nothing in between
    if stream is not None and not isinstance(raw, io.RawIOBase):
        return stream
    if stream is not None:
        stream.flush()
    encoding = "utf-8" if stream is None else stream.encoding
    return io.TextIOWrapper(io.BufferedWriter(_Lasting(raw)), encoding, "mopo-plain", line_buffering=True)


def _tell_what_was_lost() -> None:
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    error = raw.error if isinstance(raw, _Lasting) and raw.raw is not None else None
    if isinstance(error, BrokenPipeError):
        raise SystemExit(_READER_GONE)
    if error is not None:
        sys.stderr.write(f"mopo: standard output: {error.strerror}. The work is done, but not all of it was shown.\n")
        raise SystemExit(_OUTPUT_LOST)


def _occupy_closed_descriptors() -> None:
    """Open the null device in the place of each stream that is closed.

    The next file to be opened would get its number, and what libraries write to "standard error" would go into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number, which is this one


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(_PLAIN.get(mark) or mark.encode("ascii", "backslashreplace").decode() for mark in found), error.end
