"""Sums over large arrays: moments, distributions and the number of directions that data vary in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["Columns", "Distribution", "correlation", "describe", "describe_columns", "effective_dimension"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BINS = 10
# Rows at a time: in float64 the whole of a large dataset would be another dataset.
_CHUNK = 65_536


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """How one number is distributed.

    Attributes:
        mean: Over all values.
        std: Standard deviation.
        minimum: Smallest value.
        maximum: Largest value.
        quantiles: At 5, 25, 50, 75 and 95 %.
        counts: Of the values in each bin.
        edges: Of the bins, one more than there are bins.
    """

    mean: float
    std: float
    minimum: float
    maximum: float
    quantiles: tuple[float, ...]
    counts: tuple[int, ...]
    edges: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The range of each column of an array, shapes ``(column,)``, raw units, float64."""

    mean: np.ndarray
    std: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    covariance: np.ndarray


def describe(values: np.ndarray) -> Distribution:
    """Describe numbers of shape ``(values,)``."""
    values = values.astype(np.float64)
    minimum, maximum = float(values.min()), float(values.max())
    bins = 1 if minimum == maximum else _BINS
    counts, edges = np.histogram(values, bins=bins)
    return Distribution(
        mean=float(values.mean()),
        std=float(values.std()),
        minimum=minimum,
        maximum=maximum,
        quantiles=tuple(np.quantile(values, QUANTILES).tolist()),
        counts=tuple(counts.tolist()),
        edges=tuple(edges.tolist()),
    )


def describe_columns(array: np.ndarray) -> Columns:
    """Describe an array of shape ``(rows, column)`` in one pass, and in memory that does not grow with the rows."""
    # Squares of the distance from any point near the data: those of the values themselves would cancel.
    origin = array[0].astype(np.float64)
    total, squares = np.zeros_like(origin), np.zeros((len(origin), len(origin)))
    for rows in _chunks(len(array)):
        distance = array[rows] - origin
        total += distance.sum(axis=0)
        squares += distance.T @ distance
    mean = total / len(array)
    covariance = squares / len(array) - np.outer(mean, mean)
    return Columns(
        mean=origin + mean,
        std=np.sqrt(np.maximum(np.diag(covariance), 0.0)),
        minimum=array.min(axis=0).astype(np.float64),
        maximum=array.max(axis=0).astype(np.float64),
        covariance=covariance,
    )


def correlation(columns: Columns) -> np.ndarray:
    """Return the correlations of the columns that vary, shape ``(varying, varying)``."""
    varying = columns.maximum > columns.minimum
    std = columns.std[varying]
    matrix: np.ndarray = columns.covariance[np.ix_(varying, varying)] / np.outer(std, std)
    return matrix


def effective_dimension(columns: Columns) -> float:
    """Return the participation ratio (Σ λ)² / Σ λ² of the eigenvalues λ of the correlation matrix.

    It is the number of columns where all vary alike and on their own, and 1 where all follow one of them. Columns are
    scaled first: otherwise the unit of a velocity would decide.
    """
    matrix = correlation(columns)
    # Σ λ is the trace, and Σ λ² the sum of the squared entries.
    return float(np.trace(matrix) ** 2 / (matrix**2).sum()) if len(matrix) else 0.0


def _chunks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, _CHUNK):
        yield slice(start, start + _CHUNK)
