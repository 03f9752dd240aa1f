"""Read text files of cells, such as CSV, also compressed."""

import bz2
import csv
import gzip
import lzma
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from mopo_env.errors import ConfigError, DatasetError, UnknownNameError

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""What reads compressed files, by their ending."""

# Measured values never compress this well; and a size in bytes that every machine can hold.
_LARGEST_RATIO, _SMALL = 200, 2**24
# Rows at a time: their texts take many times the memory of their numbers, and few of them fit a cache.
_ROWS = 1_000


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


def unpacked(path: Path) -> Path:
    """Return the name of a file without the ending of its compression."""
    return path.with_suffix("") if path.suffix.lower() in OPENERS else path


def places_of(names: Sequence[str], header: list[str], path: Path) -> list[int]:
    """Return the places of columns in the header of a file.

    Raises:
        UnknownNameError: If there is no such column. The message holds the nearest names.
        DatasetError: If there are several of one name.
    """
    for name in names:
        if name not in header:
            raise UnknownNameError(f"column of {path}", name, header)
        if header.count(name) > 1:
            raise DatasetError(f"column {name!r}: found {header.count(name)} columns of this name, expected one.")
    return [header.index(name) for name in names]


def text_blocks(
    path: Path, names: Sequence[str], table_format: TableFormat
) -> Iterator[tuple[Sequence[int], list[Any]]]:
    """Yield the lines of some thousand rows at a time, and their cells in the columns of these names."""
    # Excel starts its files with a byte-order mark.
    encoding = "utf-8-sig" if table_format.encoding.lower() in ("utf-8", "utf8") else table_format.encoding
    open_file = OPENERS.get(path.suffix.lower(), open)
    if open_file is not open:
        _refuse_bomb(path, open_file)
    delimiter = table_format.delimiter or ("tab" if unpacked(path).suffix.lower() == ".tsv" else ",")
    with open_file(path, "rt", newline="", encoding=encoding) as stream:
        rows = _rows(path, stream, names, "\t" if delimiter == "tab" else delimiter)
        while block := list(islice(rows, _ROWS)):
            lines, cells = zip(*block, strict=True)
            yield lines, list(zip(*cells, strict=True))


def _rows(path: Path, stream: TextIO, names: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each row, the empty ones left out."""
    # This module tells the line of each row, which messages name. The readers of pyarrow and pandas do not.
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
        places = places_of(names, header, path)
        for cells in reader:
            if cells and len(cells) != len(header):
                raise DatasetError(
                    f"line {reader.line_num}: found {len(cells)} cells, expected {len(header)} as in the header."
                )
            if cells:
                yield reader.line_num, [cells[place] for place in places]
    except csv.Error as error:
        raise DatasetError(f"line {reader.line_num}: {error}; expected quotes around whole cells.") from error


def _refuse_bomb(path: Path, open_file: Callable[..., Any]) -> None:
    """Refuse a file of a few bytes that unpacks to more than the memory holds."""
    size, limit = 0, max(_SMALL, path.stat().st_size * _LARGEST_RATIO)
    with open_file(path, "rb") as stream:
        while block := stream.read(2**20):
            size += len(block)
            if size > limit:
                raise DatasetError(
                    f"unpacks to more than {limit:,} bytes, {_LARGEST_RATIO} times its size; a log does not. "
                    "If it is sound, unpack it first."
                )
