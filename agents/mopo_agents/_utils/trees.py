"""Convert nested dictionaries to flat ones, so that they fit into files of named tensors, and compare them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name every leaf by its path: ``{"a": {"b": 1}}`` becomes ``{"a/b": 1}``. Empty dictionaries are lost."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        path = f"{prefix}{name}"
        flat |= flatten(value, f"{path}/") if isinstance(value, Mapping) else {path: value}
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Invert `flatten`."""
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, name = path.split("/")
        inner = nested
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = value
    return nested


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each leaf that is another one now."""
    begun, found = flatten(before), flatten(now)
    return [
        f"{name}: begun with {begun.get(name)!r}, now {found.get(name)!r}"
        for name in sorted(begun.keys() | found.keys())
        if begun.get(name) != found.get(name)
    ]
