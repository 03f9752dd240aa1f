"""Code that a user names as text: ``module:name``.

To look it up imports the module, which runs its code. So only what the user typed is looked up, never what a file says.
"""

import hashlib
import importlib
import inspect
import operator
from typing import Any

from mopo_env.errors import ConfigError


def is_reference(name: object) -> bool:
    """Return whether a name is of the form ``module:name``."""
    return isinstance(name, str) and ":" in name


def import_named(option: str, name: str) -> Any:
    """Import a module and return what has this name in it.

    Raises:
        ConfigError: If there is no such module or name, or the module fails; the message begins with the option.
    """
    module, _, path = name.partition(":")
    try:
        return operator.attrgetter(path)(importlib.import_module(module))
    except Exception as error:  # the module is the user's, and may do anything
        raise ConfigError(
            f"{option}: {name!r} cannot be imported: {type(error).__name__}: {error}. Expected MODULE:NAME, where "
            "Python finds the module in the current folder or among the installed packages."
        ) from error


def source_digest(name: str) -> str | None:
    """Return the SHA-256 of the module's source, so that a run knows when the code has changed; None without source."""
    try:
        source = inspect.getsource(importlib.import_module(name.partition(":")[0]))
    except (OSError, TypeError):
        return None
    return hashlib.sha256(source.encode()).hexdigest()
