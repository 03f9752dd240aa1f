"""Report the cells of tables that cannot be used, all in one message."""

import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np

from mopo_env.datasets.tables.cells import EXPECTED, is_missing
from mopo_env.datasets.tables.files import Table
from mopo_env.errors import DatasetError

_SHOWN = 10
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")


@dataclass
class _BadCells:
    """What is wrong with the cells of all files, to be told in one message."""

    count: int = 0
    missing: int = 0
    shown: list[str] = field(default_factory=list)
    texts: dict[str, None] = field(default_factory=dict)
    columns_of_text: dict[str, None] = field(default_factory=dict)


def refuse_bad_cells(tables: Sequence[Table], *, states: Collection[str], drop_missing: bool) -> None:
    """Check the cells of all files.

    Args:
        tables: The files.
        states: The columns of the state, which may be categories.
        drop_missing: Whether missing values are allowed.

    Raises:
        DatasetError: If a cell is wrong. The message counts them, shows place and text of the first ten, and names the
            options that may help.
    """
    bad = _BadCells()
    for table in tables:
        _check(table, drop_missing, bad)
    if bad.count:
        more = [f"… and {bad.count - len(bad.shown):,} more"] * (bad.count > len(bad.shown))
        title = f"{bad.count:,} cell{'s' * (bad.count != 1)} cannot be used:"
        raise DatasetError(
            "\n  ".join([title, *bad.shown, *more]) + "".join(f"\n{hint}" for hint in _hints(bad, states))
        )


def _check(table: Table, drop_missing: bool, bad: _BadCells) -> None:
    first: list[tuple[int, str]] = []
    for (kind, name), cells in table.columns.items():
        missing = is_missing(cells)
        values = np.zeros(len(cells)) if kind == "text" else cells
        wrong = ~missing & (values != 0) & (values != 1) if kind == "flag" else np.isinf(values)
        rows = np.flatnonzero(wrong if drop_missing else wrong | missing)
        bad.count += len(rows)
        bad.missing += 0 if drop_missing else int(missing.sum())
        texts = table.wrong.get(name, {})
        first_text = next(iter(texts.values()), "")
        is_text = bool(first_text) and not np.isfinite(values).any() and not _DECIMAL_COMMA.fullmatch(first_text)
        for row in rows[: 1 if is_text else _SHOWN]:
            text = texts.get(int(row))
            found = "no value" if missing[row] else f"{values[row]:g}" if text is None else repr(text)
            everywhere = ", and no number in any row" * is_text
            place = f"{table.path}: {table.place(int(row))}, column {name!r}"
            first.append((int(row), f"{place}: found {found}{everywhere}, expected {EXPECTED[kind]}"))
        if is_text:
            bad.columns_of_text[name] = None
    others = [cell for name, texts in table.wrong.items() if name not in bad.columns_of_text for cell in texts.items()]
    bad.texts.update((text, None) for _, text in sorted(others, key=itemgetter(0)))
    bad.shown += [text for _, text in sorted(first, key=itemgetter(0))][: _SHOWN - len(bad.shown)]


def _hints(bad: _BadCells, states: Collection[str]) -> Iterator[str]:
    """Name the options that may help."""
    names = [name for name in bad.columns_of_text if name in states]
    if names:
        yield f"Categories become columns of zeros and ones by one_hot={names} (--one-hot {shlex.join(names)})."
    commas = [text for text in bad.texts if _DECIMAL_COMMA.fullmatch(text)]
    if commas:
        yield f"If {commas[0]!r} has a decimal comma, pass decimal=',' (--decimal ,)."
    words = [text.strip() for text in bad.texts if text not in commas and text.isprintable()][:5]
    if words:
        yield f"Texts that mean a missing value are named by na={words} (--na {shlex.join(words)})."
    if bad.missing:
        yield "To drop rows with missing values, pass drop_missing=True (--drop-missing)."
