"""Sums over large arrays, against NumPy's own and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from mopo_env.datasets.card.statistics import correlation, describe, describe_columns, effective_dimension

from mopo_env.datasets.card import statistics


def test_a_distribution() -> None:
    """By hand: −1, 0, 0, 5."""
    found = describe(np.array([0, 5, -1, 0], dtype=np.float32))
    assert (found.mean, found.minimum, found.maximum) == (1, -1, 5)
    assert found.std == pytest.approx(np.sqrt((4 + 1 + 1 + 16) / 4))
    assert found.quantiles[2] == 0
    assert sum(found.counts) == 4
    assert (found.edges[0], found.edges[-1], len(found.edges)) == (-1, 5, 11)
    assert found.counts[0] == 1
    assert found.counts[-1] == 1


def test_one_value_has_one_bin() -> None:
    found = describe(np.full(7, 1000))
    assert (found.std, found.counts) == (0, (7,))


@pytest.mark.parametrize("rows", [1, 2, 99, 100, 101, 350])
def test_columns_equal_numpys(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Added up in parts of 100 rows."""
    monkeypatch.setattr(statistics, "_CHUNK", 100)
    array = np.random.default_rng(rows).normal(3, [1, 20, 300], (rows, 3)).astype(np.float32)
    found = describe_columns(array)
    wide = array.astype(np.float64)
    np.testing.assert_allclose(found.mean, wide.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, wide.std(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(found.minimum, wide.min(axis=0))
    np.testing.assert_array_equal(found.maximum, wide.max(axis=0))
    np.testing.assert_allclose(found.covariance, np.cov(wide.T, ddof=0), rtol=1e-9, atol=1e-9)


def test_a_small_spread_far_from_zero() -> None:
    """A clock in seconds since 1970 varies by 1: the mean of squares minus the square of the mean would be noise."""
    array = (1.7e9 + 128 * np.random.default_rng(0).integers(-3, 4, (10_000, 1))).astype(np.float32)
    found = describe_columns(array)
    np.testing.assert_allclose(found.std, array.astype(np.float64).std(axis=0), rtol=1e-9)


class TestEffectiveDimension:
    """Against closed forms."""

    def test_independent_columns_count_all(self) -> None:
        """Four columns of ±1 in all 16 combinations, in units that differ: exactly uncorrelated."""
        corners = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1).T * [1, 10, 1e3, 1e-3]
        assert effective_dimension(describe_columns(corners.astype(np.float32))) == pytest.approx(4, rel=1e-6)

    def test_copies_of_one_column_count_once(self) -> None:
        values = np.random.default_rng(0).normal(size=(100, 1))
        assert effective_dimension(describe_columns(values * [1, -2, 30])) == pytest.approx(1)

    def test_two_columns_of_correlation_rho(self) -> None:
        """Eigenvalues 1 ± ρ: (2)² / ((1 + ρ)² + (1 − ρ)²) = 2 / (1 + ρ²)."""
        random = np.random.default_rng(0).normal(size=(200, 2))
        columns = describe_columns(random @ np.array([[1, 0.7], [0, 0.5]]))
        rho = correlation(columns)[0, 1]
        assert abs(rho) > 0.5
        assert effective_dimension(columns) == pytest.approx(2 / (1 + rho**2))

    def test_constant_columns_count_nothing(self) -> None:
        values = np.random.default_rng(0).normal(size=(100, 1)) * [1.0, 0.0] + [0, 5]
        assert effective_dimension(describe_columns(values)) == pytest.approx(1)
        assert effective_dimension(describe_columns(np.ones((5, 2)))) == 0
