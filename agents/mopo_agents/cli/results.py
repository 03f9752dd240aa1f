"""What a command returns, for `--json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Failed", "as_json"]


class Failed(Exception):
    """Ends a command with exit code 1, after it has said what failed; `result` is what --json prints."""

    def __init__(self, result: Any) -> None:
        """Keep the result."""
        super().__init__()
        self.result = result


def as_json(result: Any) -> str:
    """Return a command's result as JSON in ASCII. Numbers that are not finite become null, which all readers accept."""
    return json.dumps(_plain(result), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
