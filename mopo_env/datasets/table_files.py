"""Columns of CSV and Parquet files, each cell checked and named by its place."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mopo_env.errors import DatasetError, MopoError, UnknownNameError, require_extra

__all__ = ["Columns", "read_columns"]

_FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
# No log packs this many times: a Parquet file of a few bytes can declare a billion equal rows.
_LARGEST_RATIO = 1032


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What was read.

    Attributes:
        numbers: Shape ``(rows, columns)``, float64 and finite, in the order asked for.
        flags: Shape ``(rows, columns)``, bool, in the order asked for.
        labels: One for each row; None if not asked for.
        unit: What a place counts: ``"line"`` of a text file, ``"row"`` of another; both start at 1.
        places: The place of each row.
    """

    numbers: np.ndarray
    flags: np.ndarray
    labels: Sequence[Hashable] | None
    unit: str
    places: Sequence[int]

    def place(self, row: int) -> str:
        """Name a row as the user's editor does."""
        return f"{self.unit} {self.places[row]}"


def read_columns(path: Path, *, numbers: Sequence[str], flags: Sequence[str], label: str | None) -> Columns:
    """Read columns by name, from a file that ends in ``.csv`` or ``.parquet``.

    Raises:
        DatasetError: If the file is missing or damaged, or a cell is wrong; the message names line and column. It
            does not name the file.
        UnknownNameError: If there is no such column; the message holds the nearest names.
        MissingExtraError: If pyarrow is needed and not installed.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise DatasetError(f"found the ending {path.suffix!r}, expected .csv or .parquet.")
    if not path.is_file():
        raise DatasetError("no such file.")
    try:
        return readers[path.suffix.lower()](path, list(numbers), list(flags), label)
    except MopoError:
        raise
    except UnicodeDecodeError as error:
        raise DatasetError(f"not text in UTF-8: {error}. Save it as CSV in UTF-8.") from error
    except Exception as error:  # pyarrow raises almost anything on damaged files, MemoryError included
        raise DatasetError(f"cannot be read: {type(error).__name__}: {error}. The file is damaged.") from error


def _read_csv(path: Path, numbers: list[str], flags: list[str], label: str | None) -> Columns:
    values, bits, labels, places = array("d"), bytearray(), [], array("q")
    # Excel starts its files with a byte-order mark.
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream, strict=True)
        header = [cell.strip() for cell in next(reader, [])]
        _check_names(path, header, [*numbers, *flags, *([] if label is None else [label])])
        number_at = [(name, header.index(name)) for name in numbers]
        flag_at = [(name, header.index(name)) for name in flags]
        label_at = None if label is None else header.index(label)
        for cells in _records(reader):
            if not cells:  # an empty line, as at the end of many files
                continue
            line = reader.line_num
            if len(cells) != len(header):
                raise DatasetError(f"line {line}: found {len(cells)} cells, expected {len(header)} as in the header.")
            values.extend([_number(cells[index], line, name) for name, index in number_at])
            bits.extend([_flag(cells[index], line, name) for name, index in flag_at])
            if label_at is not None:
                labels.append(cells[label_at].strip())
            places.append(line)
    if not places:
        raise DatasetError("found no rows below the header; at least two transitions are needed.")
    columns = Columns(
        numbers=np.frombuffer(values, dtype=np.float64).reshape(len(places), len(numbers)),
        flags=np.frombuffer(bits, dtype=np.bool_).reshape(len(places), len(flags)),
        labels=None if label is None else labels,
        unit="line",
        places=places,
    )
    _check_finite(columns, numbers)
    return columns


def _records(reader: Any) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DatasetError(f"line {reader.line_num}: {error}; expected cells that are quoted as a whole.") from error


def _number(cell: str, line: int, name: str) -> float:
    try:
        if "_" not in cell:  # Python's 1_000 is nobody's measurement
            return float(cell)
    except ValueError:
        pass
    raise DatasetError(f"line {line}, column {name!r}: found {cell!r}, expected a number.")


def _flag(cell: str, line: int, name: str) -> bool:
    try:
        return _FLAGS[cell.strip().lower()]
    except KeyError:
        raise DatasetError(f"line {line}, column {name!r}: found {cell!r}, expected 0, 1, true or false.") from None


def _read_parquet(path: Path, numbers: list[str], flags: list[str], label: str | None) -> Columns:
    parquet = require_extra("pyarrow.parquet", "tables")
    wanted = list(dict.fromkeys([*numbers, *flags, *([] if label is None else [label])]))
    with parquet.ParquetFile(path) as file:
        _check_names(path, file.schema_arrow.names, wanted)
        rows, size = file.metadata.num_rows, path.stat().st_size
        if rows * len(wanted) * 8 > size * _LARGEST_RATIO:
            raise DatasetError(
                f"declares {rows:,} rows of {len(wanted)} columns, which its {size:,} bytes cannot hold as measured "
                "values. The file is damaged or made to exhaust memory."
            )
        for name in wanted:
            kind = file.schema_arrow.field(name).type
            if name != label and not _is_numeric(kind):
                raise DatasetError(f"column {name!r}: found the type {kind}, expected numbers.")
        table = file.read(columns=wanted, use_threads=False)
    for name in wanted:
        if table.column(name).null_count:
            row = table.column(name).is_null().to_pylist().index(True)
            raise DatasetError(f"row {row + 1}, column {name!r}: found no value, expected one in every row.")
    columns = Columns(
        numbers=_stack(table, numbers, np.float64),
        flags=np.empty((rows, len(flags)), dtype=bool),
        labels=None if label is None else table.column(label).to_pylist(),
        unit="row",
        places=range(1, rows + 1),
    )
    _check_finite(columns, numbers)
    raw = _stack(table, flags, np.float64)
    wrong = np.argwhere(~np.isin(raw, (0, 1)))
    if len(wrong):
        row, column = wrong[0]
        raise DatasetError(
            f"row {row + 1}, column {flags[column]!r}: found {raw[row, column]:g}, expected booleans or zeros and ones."
        )
    columns.flags[:] = raw == 1
    return columns


def _is_numeric(kind: Any) -> bool:
    return str(kind) in {"bool", "halffloat", "float", "double"} or str(kind).removeprefix("u").startswith("int")


def _stack(table: Any, names: list[str], dtype: type) -> np.ndarray:
    arrays = [table.column(name).to_numpy().astype(dtype) for name in names]
    return np.stack(arrays, axis=1) if arrays else np.empty((table.num_rows, 0), dtype)


def _check_names(path: Path, header: list[str], wanted: list[str]) -> None:
    for name in wanted:
        if name not in header:
            raise UnknownNameError(f"column of {path}", name, header)
        if header.count(name) > 1:
            raise DatasetError(f"column {name!r}: found {header.count(name)} columns of this name, expected one.")


def _check_finite(columns: Columns, names: list[str]) -> None:
    bad = np.argwhere(~np.isfinite(columns.numbers))
    if len(bad):
        row, column = bad[0]
        value = columns.numbers[row, column]
        raise DatasetError(
            f"{columns.place(row)}, column {names[column]!r}: found {value}, and {len(bad)} such values in all; "
            "every value must be finite. Repair or drop these rows."
        )
