"""Shapes and types of arrays, checked at run time wherever jaxtyping annotates them.

Only arrays are: mypy has checked every other type, and where a user gives the wrong one our own errors must speak.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook


def annotated_modules(root: Path) -> list[str]:
    """Return the modules below a package's folder that import jaxtyping; a package's name stands for its modules."""
    paths = [path for path in root.rglob("*.py") if "\nfrom jaxtyping import" in path.read_text()]
    names = [".".join(path.relative_to(root.parent).with_suffix("").parts) for path in paths]
    return sorted(name.removesuffix(".__init__") for name in names)


def check_array_types(*roots: Path) -> None:
    """Check the arrays of every annotated module that is imported from now on."""
    modules = [name for root in roots for name in annotated_modules(root)]
    install_import_hook(modules, f"{__name__}.arrays_only")


def arrays_only(function: Callable[..., Any]) -> Callable[..., Any]:
    """Apply beartype to the annotations that name an array, and to no other; jaxtyping calls this."""
    function.__annotations__ = {
        name: hint if _names_an_array(hint) else Any for name, hint in function.__annotations__.items()
    }
    checked: Callable[..., Any] = beartype(function)
    return checked


def _names_an_array(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    # Of a longer sequence beartype checks one item, drawn from the global generator, which tests watch.
    parts = get_args(hint) if get_origin(hint) in (tuple, Union, UnionType) else ()
    return Ellipsis not in parts and any(_names_an_array(part) for part in parts)
