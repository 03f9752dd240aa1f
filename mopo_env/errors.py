"""Every error this project raises on purpose.

Each message says what was found, what was expected, where, and what to do about it.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class MopoError(Exception):
    """Base class, so that one `except` catches whatever this project refuses."""


class ConfigError(MopoError, ValueError):
    """Raised when an option has the wrong type or lies outside its range."""


class UnknownNameError(ConfigError):
    """Raised when no task, agent, penalty or termination rule has the given name."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        """Compose the message, the nearest known names first."""
        known = sorted(known)
        lowered = {entry.lower(): entry for entry in known}
        near = difflib.get_close_matches(str(name).lower(), lowered, n=3, cutoff=0.5)
        suggestion = f" Did you mean {' or '.join(repr(lowered[entry]) for entry in near)}?" if near else ""
        super().__init__(f"unknown {kind} {name!r}.{suggestion} Known: {', '.join(known)}.")
        self._arguments = (kind, name, known)

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, object, list[str]]]:
        """Survive the way from a worker process, where an exception is rebuilt from its message alone."""
        return type(self), self._arguments


class DatasetError(MopoError, ValueError):
    """Raised when transitions cannot be found, or their arrays are wrong."""


class DataWarning(UserWarning):
    """Says that a dataset was accepted, but does not keep what was declared about it."""


class SpaceMismatchError(DatasetError):
    """Raised when a dataset and a model disagree about observations or actions."""


class StoreError(MopoError, RuntimeError):
    """Raised when a file of ours is missing, damaged, of a newer format, or cannot be written."""


class BusyError(StoreError):
    """Raised when another process works in a folder."""


class DivergenceError(MopoError, RuntimeError):
    """Raised when weights or losses cease to be finite."""


class FitWarning(UserWarning):
    """Says that a fit ended, but that its model is of little use for some column."""


class InputError(MopoError, ValueError):
    """Raised when an action or a start state has the wrong shape or is not finite."""


class MissingExtraError(MopoError, ImportError):
    """Raised when a feature needs an optional dependency that is not installed."""


def require_extra(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: The module to import, such as ``"sb3_contrib"``.
        extra: The extra of ``mopo-env`` that installs it.

    Raises:
        MissingExtraError: If it is not installed; the message holds the pip line.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module!r} is needed here and could not be imported ({error}). "
            f'Install it with: pip install "mopo-env[{extra}]"'
        ) from error
