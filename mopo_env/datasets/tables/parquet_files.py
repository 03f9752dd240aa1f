"""Read Parquet files, whose declared sizes are checked before memory is allocated."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mopo_env.datasets.tables.cells import Column, Kind
from mopo_env.datasets.tables.text_files import places_of
from mopo_env.errors import DatasetError, require_extra

# Measured values never compress this well. A forged file of a few bytes can declare a billion equal rows.
_LARGEST_RATIO = 1032


def parquet_blocks(path: Path, columns: Sequence[Column]) -> Iterator[tuple[Sequence[int], list[Any]]]:
    """Yield the numbers of all rows, counted from 1, and their cells in some columns."""
    parquet = require_extra("pyarrow.parquet", "tables")
    names = list(dict.fromkeys(column.name for column in columns))
    with parquet.ParquetFile(path) as file:
        places_of(names, file.schema_arrow.names, path)
        rows = _check_sizes(file, path, names)
    # Texts stay encoded: one text of a megabyte in every row would else be a megabyte for every row.
    with parquet.ParquetFile(path, read_dictionary=names) as file:
        table = file.read(columns=names, use_threads=False)
    if table.num_rows != rows:
        raise DatasetError(f"declares {rows:,} rows, but holds {table.num_rows:,}. The file is damaged.")
    yield range(1, rows + 1), [_cells(table.column(name), kind) for kind, name in columns]


def _check_sizes(file: Any, path: Path, names: Sequence[str]) -> int:
    """Return the number of rows, after columns were refused that would take far more memory than the file."""
    rows, size = file.metadata.num_rows, path.stat().st_size
    if rows * len(names) * 8 > size * _LARGEST_RATIO:
        raise DatasetError(
            f"declares {rows:,} rows of {len(names)} columns, which its {size:,} bytes cannot hold as measured values. "
            "The file is damaged or made to exhaust memory."
        )
    # The memory of lists and of bytes cannot be told from the number of rows.
    types = require_extra("pyarrow.types", "tables")
    fitting = (types.is_primitive, types.is_decimal, types.is_null, types.is_string, types.is_large_string)
    for name in names:
        kind = file.schema_arrow.field(name).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        if not any(is_one(kind) for is_one in fitting):
            raise DatasetError(f"column {name!r}: found the type {kind}, expected texts or numbers.")
    # Sizes of single columns are in the file too, but pyarrow ends the process if their description is damaged.
    unpacked = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
    if unpacked > size * _LARGEST_RATIO:
        raise DatasetError(
            f"declares {unpacked:,} unpacked bytes, which its {size:,} bytes cannot hold as measured values. The file "
            "is damaged or made to exhaust memory."
        )
    return int(rows)


def _cells(column: Any, kind: Kind) -> Any:
    """Return a column as an array of numbers or times, or as texts, of which equal ones are kept once."""
    types = require_extra("pyarrow.types", "tables")
    if kind != "text" and not (types.is_dictionary(column.type) and not types.is_primitive(column.type.value_type)):
        array = np.asarray(column.to_numpy())
        if array.dtype.kind in ("fiubM" if kind == "time" else "fiub"):
            return array
    texts: list[str] = []
    for chunk in column.chunks:
        values, rows = (chunk.dictionary, chunk.indices.to_pylist()) if hasattr(chunk, "dictionary") else (chunk, None)
        found = ["" if value is None else str(value) for value in values.to_pylist()]
        texts += found if rows is None else ("" if row is None else found[row] for row in rows)
    return texts
