"""Read columns of CSV and Parquet files.

A reader takes a path, the columns and the format, and returns a `Table`. For a new file format, add one to `_READERS`.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
import shlex
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from mopo_env.datasets.tables.cells import CellReader, Table
from mopo_env.errors import ConfigError, DatasetError, MopoError, UnknownNameError, require_extra

__all__ = ["Columns", "TableFormat", "check_texts", "read_table", "stem_of"]

# Measured values never compress this well. A forged Parquet file of a few bytes can declare a billion equal rows.
_LARGEST_RATIO = 1032
# The same for compressed text, and a size in bytes that every machine can hold.
_LARGEST_TEXT_RATIO, _SMALL = 200, 2**24
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def check_texts(name: str, value: Sequence[str]) -> None:
    """Refuse an option that is not a list of texts. A single text would pass as a sequence of letters.

    Raises:
        ConfigError: If it is something else.
    """
    if isinstance(value, str) or not all(isinstance(text, str) for text in value):
        raise ConfigError(f"{name}: expected a list of texts, found {value!r}.")


@dataclass(frozen=True, kw_only=True)
class TableFormat:
    """How values are written. All but `na` is about text files.

    Attributes:
        delimiter: Separates cells; ``"tab"`` is one too. None: a comma, or a tab in ``.tsv``.
        encoding: Of the text.
        decimal: The decimal mark.
        na: Texts that mean a missing value, beside empty cells and ``nan``.
    """

    delimiter: str | None = None
    encoding: str = "utf-8"
    decimal: str = "."
    na: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check the options, for which Python's own modules raise errors of all kinds."""
        check_texts("na", self.na)
        if self.delimiter not in (None, "tab") and (len(self.delimiter or "") != 1 or str(self.delimiter) in '\r\n"'):
            raise ConfigError(f"delimiter: found {self.delimiter!r}, expected one character, such as ';', or 'tab'.")
        if self.decimal not in (".", ",") or self.decimal == self.delimiter:
            raise ConfigError(f"decimal: found {self.decimal!r}, expected '.' or ',', and not the delimiter.")
        try:
            "".encode(self.encoding)
        except LookupError as error:
            raise ConfigError(
                f"encoding: found {self.encoding!r}, expected one such as 'utf-8' or 'cp1252'."
            ) from error

    def delimiter_of(self, path: Path) -> str:
        """Return the delimiter of a file."""
        found = self.delimiter or ("tab" if _unpacked(path).suffix.lower() == ".tsv" else ",")
        return "\t" if found == "tab" else found


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns to read: numbers and flags, labels and categories, and times. A column may be of several kinds."""

    numbers: tuple[str, ...]
    texts: tuple[str, ...] = ()
    time: str | None = None

    @property
    def names(self) -> list[str]:
        """Return each column once."""
        return list(dict.fromkeys([*self.numbers, *self.texts, *([] if self.time is None else [self.time])]))


def read_table(path: Path, columns: Columns, table_format: TableFormat) -> Table:
    """Read columns of a file. Its name ends in ``.parquet``, or in ``.csv``, ``.tsv`` or ``.txt``, also with ``.gz``.

    Raises:
        DatasetError: If the file is missing or damaged.
        UnknownNameError: If there is no such column. The message holds the nearest names.
        MissingExtraError: If pyarrow is needed and not installed.
    """
    ending = _unpacked(path).suffix.lower()
    try:
        if ending not in _READERS or (path.suffix.lower() in _OPENERS and ending == ".parquet"):
            raise DatasetError(
                f"found the ending {path.suffix!r}, expected one of {', '.join(_READERS)}; text files may be "
                f"compressed ({', '.join(_OPENERS)})."
            )
        if not path.is_file():
            raise DatasetError("no such file.")
        table = _READERS[ending](path, columns, table_format)
        if len(table.places) == 0:
            raise DatasetError("found no rows below the header; at least two transitions are needed.")
        return table
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    except MopoError:
        raise
    except UnicodeError as error:
        raise DatasetError(
            f"{path}: not text in {table_format.encoding}: {error}. Name its encoding, such as encoding='cp1252' "
            "(--encoding cp1252)."
        ) from error
    except Exception as error:  # pyarrow raises almost anything on damaged files, MemoryError included
        raise DatasetError(f"{path}: cannot be read: {type(error).__name__}: {error}. The file is damaged.") from error


def stem_of(path: Path) -> str:
    """Return the name of a file without the endings that `read_table` knows."""
    return _unpacked(path).stem


def _unpacked(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() in _OPENERS else path


def _read_text(path: Path, columns: Columns, table_format: TableFormat) -> Table:
    # The csv module tells the line of each row, which messages name. The readers of pyarrow and pandas do not.
    cells = CellReader(na=table_format.na, decimal=table_format.decimal)
    numbers = {name: array("d") for name in columns.numbers}
    texts: dict[str, list[str | None]] = {name: [] for name in columns.texts}
    times, places = array("d"), array("q")
    # Excel starts its files with a byte-order mark.
    encoding = "utf-8-sig" if table_format.encoding.lower() in ("utf-8", "utf8") else table_format.encoding
    open_file = _OPENERS.get(path.suffix.lower(), open)
    if open_file is not open:
        _refuse_bomb(path, open_file)
    with open_file(path, "rt", newline="", encoding=encoding) as stream:
        for line, row in _rows(path, stream, columns, table_format):
            index = len(places)
            for name, values in numbers.items():
                values.append(cells.number(row[name], index, name))
            for name, found in texts.items():
                found.append(cells.text(row[name]))
            if columns.time is not None:
                times.append(cells.time(row[columns.time], index, columns.time))
            places.append(line)
    return Table(
        path=path,
        numbers={name: np.frombuffer(values) if values else np.zeros(0) for name, values in numbers.items()},
        texts=texts,
        time_column=columns.time or "",
        times=None if columns.time is None else np.array(times),
        timestamps=cells.are_timestamps(),
        wrong=cells.wrong,
        unit="line",
        places=places,
    )


def _refuse_bomb(path: Path, open_file: Callable[..., Any]) -> None:
    """Refuse a file of a few bytes that unpacks to more than the memory holds."""
    size, limit = 0, max(_SMALL, path.stat().st_size * _LARGEST_TEXT_RATIO)
    with open_file(path, "rb") as stream:
        while block := stream.read(2**20):
            size += len(block)
            if size > limit:
                raise DatasetError(
                    f"unpacks to more than {limit:,} bytes, {_LARGEST_TEXT_RATIO} times its size; a log does not. "
                    "If it is sound, unpack it first."
                )


def _rows(
    path: Path, stream: TextIO, columns: Columns, table_format: TableFormat
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line and the cells of each row, the empty ones left out."""
    delimiter = table_format.delimiter_of(path)
    reader = csv.reader(stream, strict=True, delimiter=delimiter)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        others = [mark for mark in ";\t|," if len(header) == 1 and mark in header[0]]
        if others:
            mark = "tab" if others[0] == "\t" else others[0]
            raise DatasetError(
                f"found no {delimiter!r} in the header {header[0]!r}. Name what separates the columns: "
                f"delimiter={mark!r} (--delimiter {shlex.quote(mark)})."
            )
        _check_names(path, header, columns.names)
        places = [(name, header.index(name)) for name in columns.names]
        for cells in reader:
            if cells and len(cells) != len(header):
                raise DatasetError(
                    f"line {reader.line_num}: found {len(cells)} cells, expected {len(header)} as in the header."
                )
            if cells:
                yield reader.line_num, {name: cells[place] for name, place in places}
    except csv.Error as error:
        raise DatasetError(f"line {reader.line_num}: {error}; expected quotes around whole cells.") from error


def _read_parquet(path: Path, columns: Columns, table_format: TableFormat) -> Table:
    parquet = require_extra("pyarrow.parquet", "tables")
    with parquet.ParquetFile(path) as file:
        _check_names(path, file.schema_arrow.names, columns.names)
        rows, size = file.metadata.num_rows, path.stat().st_size
        if rows * len(columns.names) * 8 > size * _LARGEST_RATIO:
            raise DatasetError(
                f"declares {rows:,} rows of {len(columns.names)} columns, which its {size:,} bytes cannot hold as "
                "measured values. The file is damaged or made to exhaust memory."
            )
        for name in columns.names:
            _check_type(file, name)
        _check_unpacked(file, size)
    # Texts stay encoded: one text of a megabyte in every row would else be a megabyte for every row.
    with parquet.ParquetFile(path, read_dictionary=columns.names) as file:
        table = file.read(columns=columns.names, use_threads=False)
    if table.num_rows != rows:
        raise DatasetError(f"declares {rows:,} rows, but holds {table.num_rows:,}. The file is damaged.")
    cells = CellReader(na=table_format.na)
    return Table(
        path=path,
        numbers={name: cells.numbers(_array(table.column(name)), name) for name in columns.numbers},
        texts={name: [cells.text(cell) for cell in _texts(table.column(name))] for name in columns.texts},
        time_column=columns.time or "",
        times=None if columns.time is None else cells.times(_array(table.column(columns.time)), columns.time),
        timestamps=cells.are_timestamps(),
        wrong=cells.wrong,
        unit="row",
        places=range(1, rows + 1),
    )


def _check_type(file: Any, name: str) -> None:
    """Refuse a column of lists or of bytes, whose memory cannot be told from the number of rows."""
    types = require_extra("pyarrow.types", "tables")
    kind = file.schema_arrow.field(name).type
    kind = kind.value_type if types.is_dictionary(kind) else kind
    fits = (types.is_primitive, types.is_decimal, types.is_null, types.is_string, types.is_large_string)
    if not any(is_one(kind) for is_one in fits):
        raise DatasetError(f"column {name!r}: found the type {kind}, expected texts or numbers.")


def _check_unpacked(file: Any, size: int) -> None:
    """Refuse columns that take far more memory than the file: repeated zeros pack to almost nothing."""
    # Sizes of single columns are in the file too, but pyarrow ends the process if their description is damaged.
    unpacked = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
    if unpacked > size * _LARGEST_RATIO:
        raise DatasetError(
            f"declares {unpacked:,} unpacked bytes, which its {size:,} bytes cannot hold as measured values. The file "
            "is damaged or made to exhaust memory."
        )


def _array(column: Any) -> np.ndarray:
    """Return a column as numbers, times, or texts of which each is kept once."""
    types = require_extra("pyarrow.types", "tables")
    if not types.is_dictionary(column.type) or types.is_primitive(column.type.value_type):
        return np.asarray(column.to_numpy())
    return np.array(list(_texts(column)), dtype=object)


def _texts(column: Any) -> Iterator[Any]:
    for chunk in column.chunks:
        if hasattr(chunk, "dictionary"):
            texts = chunk.dictionary.to_pylist()
            yield from (None if index is None else texts[index] for index in chunk.indices.to_pylist())
        else:
            yield from chunk.to_pylist()


_READERS: dict[str, Callable[[Path, Columns, TableFormat], Table]] = {
    ".csv": _read_text,
    ".tsv": _read_text,
    ".txt": _read_text,
    ".parquet": _read_parquet,
}


def _check_names(path: Path, header: list[str], names: list[str]) -> None:
    for name in names:
        if name not in header:
            raise UnknownNameError(f"column of {path}", name, header)
        if header.count(name) > 1:
            raise DatasetError(f"column {name!r}: found {header.count(name)} columns of this name, expected one.")
