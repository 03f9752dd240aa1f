"""Convert the cells of a table, column by column.

A cell is a number, a missing value (NaN, or None in a column of texts), or wrong (infinite).
"""

from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import numpy as np

from mopo_env.errors import DatasetError

Kind = Literal["number", "flag", "text", "time"]
EXPECTED: dict[Kind, str] = {
    "number": "a number",
    "flag": "0, 1, true or false",
    "text": "a text",
    "time": "a number or an ISO 8601 timestamp",
}
"""What a cell of a column should be, for messages."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Texts that are kept of one column of a file, for messages.
_MOST_WRONG = 1000
# Characters of a number or a time. No sound one is longer.
_LONGEST_NUMBER = 1000


class Column(NamedTuple):
    """What the cells of a column are, and its name. One column of a file may be read as several kinds."""

    kind: Kind
    name: str


def is_missing(values: np.ndarray) -> np.ndarray:
    """Return which cells of a column are missing, shape ``(rows,)``."""
    missing: np.ndarray = values == np.array(None) if values.dtype == object else np.isnan(values)
    return missing


class CellReader:
    """Converts the cells of one file.

    Attributes:
        wrong: The texts of the first thousand cells of a column that are no numbers, by its name and the row.
    """

    def __init__(self, na: Collection[str], decimal: str) -> None:
        """Prepare to read.

        Args:
            na: Texts that mean a missing value, beside the empty text and ``nan``. A number stands for all its
                spellings: -999 also means -999.0.
            decimal: The decimal mark.
        """
        self.wrong: dict[str, dict[int, str]] = {}
        self._na, self._decimal = na, decimal
        self._na_numbers = [value for value in map(self._float, na) if value is not None]
        self._time_kinds: set[type] = set()
        self._known: dict[str, str] = {}

    def read(self, column: Column, cells: Any, first: int) -> np.ndarray:
        """Return cells as float64, timestamps in seconds since 1970, or as texts in an array of objects.

        Args:
            column: What the cells are.
            cells: Texts, or an array of numbers or times.
            first: The row of the first cell in the file.
        """
        if column.kind == "text":
            return np.array([self._text(cell) for cell in cells], dtype=object)
        is_time = column.kind == "time"
        if isinstance(cells, np.ndarray):
            return self._typed(cells, is_time=is_time)
        if self._decimal == "." and not any("_" in cell for cell in cells):  # only Python reads 1_000 as a number
            with suppress(ValueError):
                return self._typed(np.array(cells, dtype=np.float64), is_time=is_time)
        read = self._time if is_time else self._number
        values = [read(cell, row, column.name) for row, cell in enumerate(cells, first)]
        return np.array(values, dtype=np.float64)

    def timestamps(self) -> bool | None:
        """Return whether times were written as timestamps; None if there was no time.

        Raises:
            DatasetError: If some times were written as numbers, and others as timestamps.
        """
        if len(self._time_kinds) > 1:
            raise DatasetError("the column of times holds numbers and timestamps; expected one or the other.")
        return datetime in self._time_kinds if self._time_kinds else None

    def _typed(self, cells: np.ndarray, *, is_time: bool) -> np.ndarray:
        is_timestamp = cells.dtype.kind == "M"
        if is_timestamp:
            values = np.where(np.isnat(cells), np.nan, cells.astype("datetime64[us]").astype(np.float64) / 1e6)
        else:
            values = cells.astype(np.float64)
            values[np.isin(values, self._na_numbers)] = np.nan
        if is_time and np.isfinite(values).any():
            self._time_kinds.add(datetime if is_timestamp else float)
        return values

    def _number(self, cell: str, row: int, name: str) -> float:
        """Read a number, or a flag, which may be a word."""
        value = self._float(cell)
        if value is not None:
            return np.nan if value in self._na_numbers else value
        word = cell.strip()
        if not word or word in self._na:
            return np.nan
        if len(word) <= len("false") and word.lower() in ("false", "true"):
            return float(word.lower() == "true")
        return self._refuse(cell, row, name)

    def _time(self, cell: str, row: int, name: str) -> float:
        """Read a number, or an ISO 8601 timestamp; without an offset it is in UTC."""
        word = cell.strip()
        if not word or word in self._na:
            return np.nan
        value = self._float(word)
        if value is not None:
            if value in self._na_numbers or np.isnan(value):
                return np.nan
            self._time_kinds.add(float)
            return value
        try:
            moment = datetime.fromisoformat(word[:_LONGEST_NUMBER])
        except ValueError:
            return self._refuse(cell, row, name)
        self._time_kinds.add(datetime)
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH).total_seconds()

    def _text(self, cell: str) -> str | None:
        """Read a label or a category."""
        word = cell.strip()
        # A log has few different texts, and each is kept once.
        return None if not word or word in self._na or word[:4].lower() == "nan" else self._known.setdefault(word, word)

    def _float(self, cell: str) -> float | None:
        if self._decimal != ".":
            cell = cell.replace(".", "_").replace(self._decimal, ".")
        if len(cell) > _LONGEST_NUMBER:
            return None  # each attempt would copy it into an error
        try:
            return None if "_" in cell else float(cell)
        except ValueError:
            return None

    def _refuse(self, cell: str, row: int, name: str) -> float:
        texts = self.wrong.setdefault(name, {})
        if len(texts) < _MOST_WRONG:
            texts[row] = cell
        return np.inf
