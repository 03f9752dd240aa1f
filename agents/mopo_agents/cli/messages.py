"""What a command says when something went wrong."""

from __future__ import annotations

import re
import sys
import warnings
from typing import Any

from mopo_env._utils.text import harmless
from mopo_env.errors import MopoError

__all__ = ["message_of", "show_warning"]

_NO_MEMORY = re.compile("can't allocate memory|out of memory", re.IGNORECASE)


def show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    """Print a warning without control characters; for `warnings.showwarning`."""
    text = warnings.formatwarning(message, category, filename, lineno, line)
    print(harmless(text), end="", file=file or sys.stderr)


def message_of(error: Exception) -> str | None:
    """Return what the user can act upon, or None: the error is a defect of ours, whose traceback is needed."""
    if isinstance(error, MopoError):
        return str(error)
    again = "Run the same command with --debug to see where."
    # PyTorch reports memory that it cannot get as a RuntimeError.
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        return f"there is not enough memory. {again}"
    if isinstance(error, OSError):
        file = f"{error.filename}: " if error.filename is not None else ""
        return f"{file}{error.strerror or str(error) or type(error).__name__}. {again}"
    return None
