"""Convert the cells of a table.

A cell is a number, a missing value (NaN, or None in a column of texts), or wrong (infinite).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mopo_env.errors import DatasetError

__all__ = ["CellReader", "Table"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Texts that are kept of one file, for messages.
_MOST_WRONG = 1000
# Characters of a number or a time. No sound one is longer.
_LONGEST_NUMBER = 1000


@dataclass(frozen=True, kw_only=True)
class Table:
    """The columns of a file.

    Attributes:
        path: The file.
        numbers: The columns of numbers and flags by name, shape ``(rows,)``, float64.
        texts: The columns of labels and categories by name.
        time_column: The column of times, or the empty text.
        times: Shape ``(rows,)``, float64, timestamps in seconds since 1970; None if no column of times was read.
        timestamps: Whether the times were written as timestamps.
        wrong: The texts of the first thousand cells that are no numbers, by row and column.
        unit: The unit of places: ``"line"`` in a text file, ``"row"`` in others.
        places: The place of each row, counted from 1.
    """

    path: Path
    numbers: dict[str, np.ndarray]
    texts: dict[str, list[str | None]]
    time_column: str
    times: np.ndarray | None
    timestamps: bool
    wrong: dict[tuple[int, str], str]
    unit: str
    places: Sequence[int]

    def place(self, row: int) -> str:
        """Return the place of a row as text."""
        return f"{self.unit} {self.places[row]}"


@dataclass
class CellReader:
    """Converts the cells of one file.

    Attributes:
        na: Texts that mean a missing value, beside the empty text and ``nan``. A number stands for all its spellings.
        decimal: The decimal mark.
        wrong: As in `Table`.
        time_kinds: How times were written: `float`, `datetime` or both.
    """

    na: Collection[str]
    decimal: str = "."
    wrong: dict[tuple[int, str], str] = field(default_factory=dict)
    time_kinds: set[type] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Find the numbers among the missing values: -999 also means -999.0."""
        self.na_numbers = [value for value in map(self._float, self.na) if value is not None]
        self._known: dict[str, str] = {}

    def number(self, cell: str, row: int, name: str) -> float:
        """Read a number, or a flag, which may be a word."""
        value = self._float(cell)
        if value is not None:
            return np.nan if value in self.na_numbers else value
        word = cell.strip()
        if not word or word in self.na:
            return np.nan
        if len(word) <= len("false") and word.lower() in ("false", "true"):
            return float(word.lower() == "true")
        return self._refuse(cell, row, name)

    def time(self, cell: str, row: int, name: str) -> float:
        """Read a number, or an ISO 8601 timestamp; without an offset it is in UTC."""
        word = cell.strip()
        if not word or word in self.na:
            return np.nan
        value = self._float(word)
        if value is not None:
            if value in self.na_numbers or np.isnan(value):
                return np.nan
            self.time_kinds.add(float)
            return value
        try:
            moment = datetime.fromisoformat(word[:_LONGEST_NUMBER])
        except ValueError:
            return self._refuse(cell, row, name)
        self.time_kinds.add(datetime)
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH).total_seconds()

    def numbers(self, cells: np.ndarray, name: str) -> np.ndarray:
        """Read a column of numbers, or of objects of which each is read as a text; shape ``(rows,)``."""
        if cells.dtype.kind not in "fiub":
            return np.array(
                [self.number(_as_text(cell), row, name) for row, cell in enumerate(cells)], dtype=np.float64
            )
        values = cells.astype(np.float64)
        values[np.isin(values, self.na_numbers)] = np.nan
        return values

    def times(self, cells: np.ndarray, name: str) -> np.ndarray:
        """Read a column of times, as `numbers` does."""
        if cells.dtype.kind in "fiub":
            self.time_kinds.add(float)
            return self.numbers(cells, name)
        if cells.dtype.kind != "M":
            return np.array([self.time(_as_text(cell), row, name) for row, cell in enumerate(cells)], dtype=np.float64)
        self.time_kinds.add(datetime)
        seconds: np.ndarray = cells.astype("datetime64[us]").astype(np.float64) / 1e6
        return np.where(np.isnat(cells), np.nan, seconds)

    def are_timestamps(self) -> bool:
        """Return whether times were written as timestamps.

        Raises:
            DatasetError: If some times were written as numbers, and others as timestamps.
        """
        if len(self.time_kinds) > 1:
            raise DatasetError("the column of times holds numbers and timestamps; expected one or the other.")
        return datetime in self.time_kinds

    def text(self, cell: Any) -> str | None:
        """Read a label or a category; a null is missing."""
        word = _as_text(cell).strip()
        # A log has few different texts, and each is kept once.
        return None if not word or word in self.na or word[:4].lower() == "nan" else self._known.setdefault(word, word)

    def _float(self, cell: str) -> float | None:
        if self.decimal != ".":
            cell = cell.replace(".", "_").replace(self.decimal, ".")
        if len(cell) > _LONGEST_NUMBER:
            return None  # each attempt would copy it into an error
        try:
            return None if "_" in cell else float(cell)  # only Python reads 1_000 as a number
        except ValueError:
            return None

    def _refuse(self, cell: str, row: int, name: str) -> float:
        if len(self.wrong) < _MOST_WRONG:
            self.wrong[row, name] = cell
        return np.inf


def _as_text(cell: Any) -> str:
    return "" if cell is None else str(cell)
