"""Read columns of CSV and Parquet files. Messages name the place of a wrong cell.

A reader takes a path and the names of columns, and returns a `Table`. For a new file format, add one to `_READERS`.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mopo_env.datasets.rows import as_flags, check_finite
from mopo_env.errors import DatasetError, MopoError, UnknownNameError, require_extra

__all__ = ["Table", "read_table"]

# Measured values never compress this well. A forged Parquet file of a few bytes can declare a billion equal rows.
_LARGEST_RATIO = 1032


@dataclass(frozen=True, kw_only=True)
class Table:
    """The columns of a file.

    Attributes:
        values: The columns of numbers and flags by name, shape ``(rows,)``, float64 and finite.
        labels: The column of labels, or None.
        unit: The unit of places: ``"line"`` in a text file, ``"row"`` in others.
        places: The place of each row, counted from 1.
    """

    values: dict[str, np.ndarray]
    labels: Sequence[Hashable] | None
    unit: str
    places: Sequence[int]

    def place(self, row: int, column: str | None = None) -> str:
        """Return the place of a row, or of a cell in it, as text."""
        return f"{self.unit} {self.places[row]}" + (f", column {column!r}" if column is not None else "")

    def numbers(self, names: Iterable[str]) -> np.ndarray:
        """Return columns side by side, shape ``(rows, columns)``."""
        return np.stack([self.values[name] for name in names], axis=1)

    def flags(self, name: str | None) -> np.ndarray:
        """Return a column of flags as booleans; None: all are false."""
        if name is None:
            return np.zeros(len(self.places), dtype=bool)
        return as_flags(self.values[name], partial(self.place, column=name))


def read_table(path: Path, columns: Iterable[str], *, label: str | None = None) -> Table:
    """Read columns of numbers and flags, and one `label` column of any values, from a ``.csv`` or ``.parquet`` file.

    Raises:
        DatasetError: If the file is missing or damaged, or a cell is wrong. The message names line and column, but not
            the file.
        UnknownNameError: If there is no such column. The message holds the nearest names.
        MissingExtraError: If pyarrow is needed and not installed.
    """
    ending = path.suffix.lower()
    if ending not in _READERS:
        raise DatasetError(f"found the ending {path.suffix!r}, expected {' or '.join(_READERS)}.")
    if not path.is_file():
        raise DatasetError("no such file.")
    try:
        table = _READERS[ending](path, list(dict.fromkeys(columns)), label)
    except MopoError:
        raise
    except UnicodeDecodeError as error:
        raise DatasetError(f"not text in UTF-8: {error}. Save it as CSV in UTF-8.") from error
    except Exception as error:  # pyarrow raises almost anything on damaged files, MemoryError included
        raise DatasetError(f"cannot be read: {type(error).__name__}: {error}. The file is damaged.") from error
    for name, values in table.values.items():
        check_finite(values, partial(table.place, column=name))
    return table


def _read_csv(path: Path, names: list[str], label: str | None) -> Table:
    # pyarrow reads CSV too, but its messages lack the line and the column of a wrong cell.
    values, labels, places = array("d"), [], array("q")
    # Excel starts its files with a byte-order mark.
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream, strict=True)
        header = [cell.strip() for cell in next(reader, [])]
        _check_names(path, header, names, label)
        indices = [(name, header.index(name)) for name in names]
        label_at = None if label is None else header.index(label)
        for cells in _records(reader):
            if not cells:  # an empty line, as at the end of many files
                continue
            line = reader.line_num
            if len(cells) != len(header):
                raise DatasetError(f"line {line}: found {len(cells)} cells, expected {len(header)} as in the header.")
            values.extend([_number(cells[index], line, name) for name, index in indices])
            if label_at is not None:
                labels.append(cells[label_at].strip())
            places.append(line)
    if not places:
        raise DatasetError("found no rows below the header; at least two transitions are needed.")
    rows = np.frombuffer(values, dtype=np.float64).reshape(len(places), len(names))
    return Table(
        values=dict(zip(names, rows.T, strict=True)),
        labels=None if label is None else labels,
        unit="line",
        places=places,
    )


def _records(reader: Any) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DatasetError(f"line {reader.line_num}: {error}; expected quotes around whole cells.") from error


def _number(cell: str, line: int, name: str) -> float:
    with suppress(ValueError):
        if "_" not in cell:  # only Python reads 1_000 as a number
            return float(cell)
    word = cell.strip().lower()
    if word in ("false", "true"):
        return float(word == "true")
    raise DatasetError(f"line {line}, column {name!r}: found {cell!r}, expected a number, true or false.")


def _read_parquet(path: Path, names: list[str], label: str | None) -> Table:
    parquet = require_extra("pyarrow.parquet", "tables")
    wanted = list(dict.fromkeys([*names, *([] if label is None else [label])]))
    with parquet.ParquetFile(path) as file:
        _check_names(path, file.schema_arrow.names, names, label)
        rows, size = file.metadata.num_rows, path.stat().st_size
        if rows * len(wanted) * 8 > size * _LARGEST_RATIO:
            raise DatasetError(
                f"declares {rows:,} rows of {len(wanted)} columns, which its {size:,} bytes cannot hold as measured "
                "values. The file is damaged or made to exhaust memory."
            )
        for name in names:
            kind = str(file.schema_arrow.field(name).type)
            if kind not in {"bool", "halffloat", "float", "double"} and not kind.removeprefix("u").startswith("int"):
                raise DatasetError(f"column {name!r}: found the type {kind}, expected numbers.")
        if label is not None:
            _check_label(file, label)
        _check_unpacked(file, wanted, size)
    # Labels stay encoded: one text of a megabyte in every row would else be a megabyte for every row.
    with parquet.ParquetFile(path, read_dictionary=[] if label is None else [label]) as file:
        table = file.read(columns=wanted, use_threads=False)
    for name in wanted:
        if table.column(name).null_count:
            row = table.column(name).is_null().to_pylist().index(True)
            raise DatasetError(f"row {row + 1}, column {name!r}: found no value, expected one in every row.")
    return Table(
        values={name: table.column(name).to_numpy().astype(np.float64) for name in names},
        labels=None if label is None else _labels(table.column(label)),
        unit="row",
        places=range(1, rows + 1),
    )


def _check_label(file: Any, label: str) -> None:
    types = require_extra("pyarrow.types", "tables")
    kind = file.schema_arrow.field(label).type
    kind = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_primitive(kind) or types.is_string(kind) or types.is_large_string(kind)):
        raise DatasetError(f"column {label!r}: found the type {kind}, expected texts or numbers.")


def _check_unpacked(file: Any, wanted: list[str], size: int) -> None:
    """Refuse columns that take far more memory than the file: repeated zeros pack to almost nothing."""
    metadata = file.metadata
    columns = [column for column in range(metadata.num_columns) if metadata.schema.column(column).path in wanted]
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    unpacked = sum(group.column(column).total_uncompressed_size for group in groups for column in columns)
    if unpacked > size * _LARGEST_RATIO:
        raise DatasetError(
            f"declares {unpacked:,} unpacked bytes, which its {size:,} bytes cannot hold as measured values. The file "
            "is damaged or made to exhaust memory."
        )


def _labels(column: Any) -> list[Hashable]:
    labels: list[Hashable] = []
    for chunk in column.chunks:
        if hasattr(chunk, "dictionary"):
            texts = chunk.dictionary.to_pylist()
            labels += [texts[index] for index in chunk.indices.to_pylist()]
        else:
            labels += chunk.to_pylist()
    return labels


_READERS: dict[str, Callable[[Path, list[str], str | None], Table]] = {".csv": _read_csv, ".parquet": _read_parquet}


def _check_names(path: Path, header: list[str], names: list[str], label: str | None) -> None:
    for name in [*names, *([] if label is None else [label])]:
        if name not in header:
            raise UnknownNameError(f"column of {path}", name, header)
        if header.count(name) > 1:
            raise DatasetError(f"column {name!r}: found {header.count(name)} columns of this name, expected one.")
