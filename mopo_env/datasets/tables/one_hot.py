"""Columns of categories as columns of zeros and ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from mopo_env.errors import DatasetError

__all__ = ["categories_of", "one_hot"]

# A column with more is a time, a label or a comment. Each category is an output that the model must learn.
_MOST = 100


def categories_of(name: str, columns: Iterable[Iterable[str | None]]) -> list[str]:
    """Return the sorted texts of columns that share their categories.

    Raises:
        DatasetError: If there are more than a hundred.
    """
    found = sorted({text for column in columns for text in column if text is not None})
    if len(found) > _MOST:
        raise DatasetError(
            f"column {name!r}: found {len(found):,} different texts, such as {found[0]!r}, expected at most {_MOST} "
            "categories. Leave it out of the state, or group its values."
        )
    return found


def one_hot(texts: Sequence[str | None], categories: Sequence[str]) -> np.ndarray:
    """Return zeros and ones, shape ``(rows, categories)``, float64; the row of a missing text is zero."""
    numbers = {category: index for index, category in enumerate([None, *categories])}
    found: np.ndarray = np.eye(len(numbers))[[numbers[text] for text in texts]]
    return found[:, 1:]
