"""Progress on standard error: a bar on a terminal, plain lines elsewhere, and nothing if TQDM_DISABLE is set."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Any, TypeAlias, Union

from tqdm import tqdm

_SECONDS = 30.0


class PlainLines:
    """Does what a bar does, as a line every half minute and one at the end, for logs and pipes."""

    def __init__(self, *, total: int | None, desc: str, unit: str, initial: int = 0) -> None:
        """Begin to count."""
        self.total, self.desc, self.unit, self.initial, self.n = total, desc, unit, initial, initial
        self._started = self._shown = time.monotonic()
        self._postfix = ""

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, n: int = 1) -> None:
        """Count further."""
        self.n += n
        if time.monotonic() - self._shown >= _SECONDS:
            self._show()

    def set_postfix(self, values: Mapping[str, Any], refresh: bool = True) -> None:
        """Set what follows the count."""
        self._postfix = "".join(f", {name} {value}" for name, value in values.items())

    def close(self) -> None:
        """Show the last count."""
        self._show()

    def _show(self) -> None:
        self._shown = time.monotonic()
        passed = f"{self._shown - self._started:.0f} s"
        announce(f"{self.desc}: {self.n:,} of {self.total:,} {self.unit}s, {passed}{self._postfix}")


Bar: TypeAlias = Union["tqdm[Any]", PlainLines]  # tqdm has no subscript at run time


def progress_bar(*, show: bool, total: int | None, desc: str, unit: str, initial: int = 0) -> Bar:
    """Return a bar, which does nothing unless `show`."""
    if is_shown(show) and not sys.stderr.isatty():
        return PlainLines(total=total, desc=desc, unit=unit, initial=initial)
    return tqdm(total=total, desc=desc, unit=unit, initial=initial, disable=not is_shown(show))


def announce(text: str, *, show: bool = True) -> None:
    """Print a line on standard error, above a bar if there is one."""
    if is_shown(show):
        tqdm.write(text, file=sys.stderr)


def is_shown(show: bool) -> bool:
    """Return whether the user wants to see progress."""
    return show and os.environ.get("TQDM_DISABLE", "").lower() in ("", "0", "false")
