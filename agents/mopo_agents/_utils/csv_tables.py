"""Tables as CSV: written as text, and read row by row."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mopo_env.errors import StoreError

_T = TypeVar("_T")


def csv_text(rows: Sequence[Any]) -> str:
    """Return mappings or dataclass instances as CSV, unrounded. None, and what a row lacks, is an empty cell."""
    entries = [row if isinstance(row, Mapping) else vars(row) for row in rows]
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, list(dict.fromkeys(name for row in entries for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(entries)
    return table.getvalue()


def read_csv(path: Path, read: Callable[[dict[str, str]], _T]) -> list[_T]:
    """Return what a function makes of each row; nothing if there is no such file.

    Raises:
        StoreError: If the file is damaged.
    """
    try:
        with path.open(newline="") as stream:
            return [read(row) for row in csv.DictReader(stream)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: cannot be read: {type(error).__name__}: {error}.") from error
