"""Read columns of files in all formats. For a new format, add a function that yields blocks of cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mopo_env.datasets.tables.cells import CellReader, Column
from mopo_env.datasets.tables.parquet_files import parquet_blocks
from mopo_env.datasets.tables.text_files import OPENERS, TableFormat, text_blocks, unpacked
from mopo_env.errors import DatasetError, MopoError

_TEXT, _PARQUET = (".csv", ".tsv", ".txt"), ".parquet"


@dataclass(frozen=True, kw_only=True)
class Table:
    """The columns of a file.

    Attributes:
        path: The file.
        columns: The cells of each column as `CellReader.read` returns them, shape ``(rows,)``.
        timestamps: Whether the times were written as timestamps; None if no times were read.
        wrong: As in `CellReader`.
        unit: The unit of places: ``"line"`` in a text file, ``"row"`` in others.
        places: The place of each row, counted from 1, shape ``(rows,)``.
    """

    path: Path
    columns: dict[Column, np.ndarray]
    timestamps: bool | None
    wrong: dict[str, dict[int, str]]
    unit: str
    places: np.ndarray

    def place(self, row: int) -> str:
        """Return the place of a row as text."""
        return f"{self.unit} {self.places[row]}"


def read_table(path: Path, columns: Sequence[Column], table_format: TableFormat) -> Table:
    """Read columns of a file. Its name ends in ``.parquet``, or in ``.csv``, ``.tsv`` or ``.txt``, also with ``.gz``.

    Raises:
        DatasetError: If the file is missing or damaged.
        UnknownNameError: If there is no such column. The message holds the nearest names.
        MissingExtraError: If pyarrow is needed and not installed.
    """
    try:
        return _read(path, columns, table_format)
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


def _read(path: Path, columns: Sequence[Column], table_format: TableFormat) -> Table:
    is_text = unpacked(path).suffix.lower() in _TEXT
    if not is_text and path.suffix.lower() != _PARQUET:
        raise DatasetError(
            f"found the ending {path.suffix!r}, expected one of {', '.join((*_TEXT, _PARQUET))}; text files may be "
            f"compressed ({', '.join(OPENERS)})."
        )
    if not path.is_file():
        raise DatasetError("no such file.")
    names = [column.name for column in columns]
    blocks = text_blocks(path, names, table_format) if is_text else parquet_blocks(path, columns)
    cells = CellReader(table_format.na, table_format.decimal if is_text else ".")
    parts: dict[Column, list[np.ndarray]] = {column: [] for column in columns}
    places, rows = [], 0
    for block_places, block in blocks:
        for (column, found), raw in zip(parts.items(), block, strict=True):
            found.append(cells.read(column, raw, rows))
        places.append(np.array(block_places))
        rows += len(block_places)
    if rows == 0:
        raise DatasetError("found no rows below the header; at least two transitions are needed.")
    return Table(
        path=path,
        columns={column: np.concatenate(found) for column, found in parts.items()},
        timestamps=cells.timestamps(),
        wrong=cells.wrong,
        unit="line" if is_text else "row",
        places=np.concatenate(places),
    )
