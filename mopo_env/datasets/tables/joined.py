"""The rows of several tables, as one table in the order of time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from mopo_env.datasets.rows import as_flags
from mopo_env.datasets.tables.cells import Table
from mopo_env.datasets.tables.one_hot import categories_of, one_hot
from mopo_env.datasets.tables.time_order import numbered, time_order
from mopo_env.errors import DatasetError

__all__ = ["TableRows"]


class TableRows:
    """The rows of several tables: file after file, episode after episode, and in the order of time.

    Attributes:
        runs: A number for each file and label, shape ``(rows,)``.
        times: Shape ``(rows,)``; None if the tables have no column of times.
        timestamps: Whether the times are seconds, read from timestamps.
        out_of_order: At how many places the order differs from that of the files.

    Raises:
        DatasetError: If the rows of an episode are apart and there are no times, or if the times of one file are
            numbers, and those of another timestamps.
    """

    def __init__(self, tables: Sequence[Table], *, episode: str | None) -> None:
        self._tables = tables
        self._starts = np.cumsum([0, *(len(table.places) for table in tables)])
        self._order = np.arange(self._starts[-1])
        runs = numbered([label for file, table in enumerate(tables) for label in _labels(file, table, episode)])
        times = [table.times for table in tables if table.times is not None]
        kinds = {table.timestamps for table in tables if table.times is not None and np.isfinite(table.times).any()}
        if len(kinds) > 1:
            raise DatasetError("the times of some files are numbers, and those of others timestamps.")
        self.timestamps = True in kinds
        self.times = np.concatenate(times) if times else None
        if self.times is not None:
            self._order = time_order(self.times, runs)
            self.times = self.times[self._order]
        elif episode is not None:
            self._refuse_scattered(runs, episode)
        self.runs = runs[self._order]
        self.out_of_order = int((np.diff(self._order) != 1).sum())

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._order)

    def place(self, row: int) -> str:
        """Return the place of a row as text, with the file if there are several."""
        file = int(np.searchsorted(self._starts, self._order[row], side="right")) - 1
        table = self._tables[file]
        return f"{table.path}: " * (len(self._tables) > 1) + table.place(int(self._order[row] - self._starts[file]))

    def numbers(self, names: Iterable[str]) -> np.ndarray:
        """Return columns of numbers side by side, shape ``(rows, columns)``."""
        return np.stack([self._number(name) for name in names], axis=1)

    def flags(self, name: str | None) -> np.ndarray:
        """Return a column of flags as booleans; a missing flag is false, and so are all of them for None."""
        if name is None:
            return np.zeros(len(self), dtype=bool)
        return as_flags(np.nan_to_num(self._number(name)), self.place)

    def one_hot(self, name: str, *, like: Iterable[str]) -> tuple[list[str], np.ndarray]:
        """Return a column of categories as columns of zeros and ones, and their names.

        Args:
            name: The column.
            like: Columns whose categories it shares, itself included.
        """
        categories = categories_of(name, [self._text(each) for each in like])
        return [f"{name}={category}" for category in categories], one_hot(self._text(name), categories)

    def known(self, names: Iterable[str]) -> np.ndarray:
        """Return whether the columns of numbers and texts hold values, shape ``(rows,)``."""
        known = np.ones(len(self), dtype=bool)
        for name in names:
            if name in self._tables[0].numbers:
                known &= ~np.isnan(self._number(name))
            if name in self._tables[0].texts:
                known &= np.array([text is not None for text in self._text(name)])
        return known

    def _number(self, name: str) -> np.ndarray:
        values: np.ndarray = np.concatenate([table.numbers[name] for table in self._tables])[self._order]
        return values

    def _text(self, name: str) -> list[str | None]:
        texts = [text for table in self._tables for text in table.texts[name]]
        return [texts[row] for row in self._order]

    def _refuse_scattered(self, runs: np.ndarray, episode: str) -> None:
        """Refuse an episode whose rows do not stand together. The numbers of runs rise where a new one begins."""
        back = np.flatnonzero(np.diff(runs) < 0)
        if len(back) == 0:
            return
        row = int(back[0]) + 1
        raise DatasetError(
            f"{self.place(row)}, column {episode!r}: found {self._text(episode)[row]!r} again after another episode; "
            "expected the rows of an episode one after the other. Name the column of times: time=… (--time …), or sort "
            "the table."
        )


def _labels(file: int, table: Table, episode: str | None) -> Iterable[Hashable | None]:
    if episode is None:
        return [file] * len(table.places)
    return [None if text is None else (file, text) for text in table.texts[episode]]
