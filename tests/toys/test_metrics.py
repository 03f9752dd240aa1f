"""The metrics of the paper's Appendix A by hand, and against the suprema that define them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mopo_env.errors import ConfigError
from mopo_env.toys.metrics import kernel_norm, lipschitz_constant, max_mean_discrepancy, total_variation, wasserstein

POSITIONS = np.array([3.0, 0.0, 1.0, 7.0])  # not in order


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.dirichlet(np.ones(4)), random.dirichlet(np.full(4, 0.3))


def test_two_certain_states() -> None:
    """All mass moves from place 0 to place 7: variation 1, distance 7, and √(k(x,x) − 2k(x,y) + k(y,y))."""
    first, second = np.eye(4)[1], np.eye(4)[3]
    assert total_variation(first, second) == 1.0
    assert wasserstein(first, second, POSITIONS) == 7.0
    kernel = np.exp(-np.abs(POSITIONS[:, None] - POSITIONS))
    assert max_mean_discrepancy(first, second, kernel) == pytest.approx(np.sqrt(2 - 2 * np.exp(-7.0)))
    assert max_mean_discrepancy(first, second, np.eye(4)) == pytest.approx(np.sqrt(2))
    for distance in (total_variation(first, first), wasserstein(first, first, POSITIONS)):
        assert distance == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_each_is_the_supremum_that_defines_it(seed: int) -> None:
    """A linear function over a polytope has its maximum at a corner, of which there are few; the kernel's is known."""
    first, second = pair(seed)
    gap = first - second
    signs = [np.array(corner) for corner in itertools.product([-1.0, 1.0], repeat=4)]
    assert 2 * total_variation(first, second) == pytest.approx(max(gap @ sign for sign in signs))
    order = np.argsort(POSITIONS)
    steps = np.diff(POSITIONS[order])
    slopes = [np.empty(4) for _ in range(8)]
    for function, corner in zip(slopes, itertools.product([-1.0, 1.0], repeat=3), strict=True):
        function[order] = np.append(0.0, np.cumsum(corner * steps))
        assert lipschitz_constant(function, POSITIONS) == pytest.approx(1.0)
    assert wasserstein(first, second, POSITIONS) == pytest.approx(max(gap @ function for function in slopes))
    kernel = np.exp(-np.abs(POSITIONS[:, None] - POSITIONS) / 2)
    witness = kernel @ gap
    found = max_mean_discrepancy(first, second, kernel)
    assert found == pytest.approx(gap @ witness / kernel_norm(witness, kernel))
    for function in np.random.default_rng(seed).normal(size=(50, 4)):
        assert abs(gap @ function) <= kernel_norm(function, kernel) * found + 1e-12


def test_tables_of_distributions() -> None:
    """Whole transition tables: one number for each state and action."""
    first, second = (np.random.default_rng(seed).dirichlet(np.ones(4), size=(4, 2)) for seed in range(2))
    kernel = np.exp(-((POSITIONS[:, None] - POSITIONS) ** 2))
    for metric, more in ((total_variation, ()), (wasserstein, (POSITIONS,)), (max_mean_discrepancy, (kernel,))):
        found = metric(first, second, *more)  # type: ignore[operator]
        assert found.shape == (4, 2)
        assert found[3, 1] == pytest.approx(float(metric(first[3, 1], second[3, 1], *more)))  # type: ignore[operator]


def test_states_that_cannot_be_told_apart_are_refused() -> None:
    """A slope would be infinite, and a function that differs between them has no norm."""
    with pytest.raises(ConfigError, match=r"^positions: "):
        lipschitz_constant(np.array([0.0, 1.0]), np.array([2.0, 2.0]))
    with pytest.raises(ConfigError, match=r"^kernel: "):
        kernel_norm(np.array([0.0, 1.0]), np.ones((2, 2)))
