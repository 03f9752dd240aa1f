"""The rows of several tables, as one table in the order of time, and the gaps in it."""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from mopo_env.datasets.rows import as_flags
from mopo_env.datasets.tables.cells import Column, is_missing
from mopo_env.datasets.tables.files import Table
from mopo_env.datasets.tables.roles import Roles
from mopo_env.errors import DatasetError

# A column with more is a time, a label or a comment. Each category is an output that the model must learn.
_MOST_CATEGORIES = 100


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

    def __init__(self, tables: Sequence[Table], roles: Roles) -> None:
        self._tables = tables
        self._starts = np.cumsum([0, *(len(table.places) for table in tables)])
        columns = {column: np.concatenate([table.columns[column] for table in tables]) for column in roles.columns}
        kinds = {table.timestamps for table in tables} - {None}
        if len(kinds) > 1:
            raise DatasetError("the times of some files are numbers, and those of others timestamps.")
        self.timestamps = True in kinds
        files = np.repeat(np.arange(len(tables)), np.diff(self._starts)).tolist()
        labels: Iterable[Hashable | None] = files
        if roles.episode is not None:
            texts = columns[Column("text", roles.episode)]
            labels = [None if text is None else (file, text) for file, text in zip(files, texts, strict=True)]
        runs = _numbered(labels)
        self._order = np.arange(len(runs))
        if roles.time is not None:
            self._order = _time_order(columns[Column("time", roles.time)], runs)
        elif roles.episode is not None:
            self._refuse_scattered(runs, texts, roles.episode)
        self._columns = {column: cells[self._order] for column, cells in columns.items()}
        self.times = None if roles.time is None else self._columns[Column("time", roles.time)]
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
        return np.stack([self._columns[Column("number", name)] for name in names], axis=1)

    def flags(self, name: str | None) -> np.ndarray:
        """Return a column of flags as booleans; a missing flag is false, and so are all of them for None."""
        if name is None:
            return np.zeros(len(self), dtype=bool)
        return as_flags(np.nan_to_num(self._columns[Column("flag", name)]), self.place)

    def one_hot(self, name: str, *, like: Iterable[Column]) -> tuple[list[str], np.ndarray]:
        """Return a column of categories as columns of zeros and ones, and their names; a missing text has no one.

        Args:
            name: The column.
            like: Columns whose categories it shares, itself included.

        Raises:
            DatasetError: If there are more than a hundred categories.
        """
        found = sorted({text for column in like for text in self._columns[column] if text is not None})
        if len(found) > _MOST_CATEGORIES:
            raise DatasetError(
                f"column {name!r}: found {len(found):,} different texts, such as {found[0]!r}, expected at most "
                f"{_MOST_CATEGORIES} categories. Leave it out of the state, or group its values."
            )
        ones: np.ndarray = np.equal.outer(self._columns[Column("text", name)], np.array(found, dtype=object))
        return [f"{name}={category}" for category in found], ones.astype(np.float64)

    def known(self, columns: Iterable[Column]) -> np.ndarray:
        """Return which rows have values in all of these columns, shape ``(rows,)``."""
        missing: np.ndarray = np.any([is_missing(self._columns[column]) for column in columns], axis=0)
        return ~missing

    def _refuse_scattered(self, runs: np.ndarray, labels: np.ndarray, episode: str) -> None:
        """Refuse an episode whose rows do not stand together. The numbers of runs rise where a new one begins."""
        back = np.flatnonzero(np.diff(runs) < 0)
        if len(back):
            row = int(back[0]) + 1
            raise DatasetError(
                f"{self.place(row)}, column {episode!r}: found {labels[row]!r} again after another episode; expected "
                "the rows of an episode one after the other. Name the column of times: time=… (--time …), or sort "
                "the table."
            )


def time_steps(times: np.ndarray, ends: np.ndarray, *, tolerance: float) -> tuple[float | None, np.ndarray, np.ndarray]:
    """Find gaps and duplicates within episodes.

    Args:
        times: In order, shape ``(rows,)``; NaN is unknown, and the steps to such a row are neither.
        ends: Whether an episode ends with a row, shape ``(rows,)``. The step after such a row is neither.
        tolerance: A step is a gap if it differs from the usual one by this share of it or more.

    Returns:
        The usual step, the median of those above zero, or None if there is none; and for each row, whether the step
        after it is a gap, and whether the following row has the same time.
    """
    steps = np.append(np.diff(times), np.nan)
    steps[ends] = np.nan
    forward = steps[steps > 0]
    usual = float(np.median(forward)) if len(forward) else None
    gaps = (steps > 0) & (np.abs(steps - (usual or 0.0)) >= tolerance * (usual or 0.0))
    return usual, gaps, steps == 0


def _numbered(labels: Iterable[Hashable | None]) -> np.ndarray:
    """Number labels in the order in which they first occur, shape ``(rows,)``; None counts as the label before it."""
    numbers: dict[Hashable, int] = {}
    found: list[int] = []
    for label in labels:
        found.append(found[-1] if label is None and found else numbers.setdefault(label, len(numbers)))
    return np.array(found, dtype=np.int64)


def _time_order(times: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Return the rows in the order of their runs, and of time within a run.

    Rows of the same time stay in their order. A row without a time, NaN, stays behind the row before it.

    Args:
        times: Shape ``(rows,)``.
        runs: The number of the recording or the episode to which a row belongs, shape ``(rows,)``.
    """
    known = np.maximum.accumulate(np.where(np.isnan(times), 0, np.arange(len(times))))
    order: np.ndarray = np.lexsort((times[known], runs))
    return order
