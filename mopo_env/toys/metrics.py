"""Integral probability metrics between distributions over few states (paper, Appendix A), and norms of functions.

Each metric d(P, Q) is the largest E f under P less E f under Q, over the functions f of norm at most 1. So these means
differ by at most ‖V‖·d(P, Q) for every V.
Distributions lie along the last axis, so whole tables of shape ``(state, action, next_state)`` can be passed.
"""

import numpy as np
from jaxtyping import Float

from mopo_env.errors import ConfigError

Distributions = Float[np.ndarray, "*table state"]


def total_variation(first: Distributions, second: Distributions) -> np.ndarray:
    """Return the largest P(A) − Q(A) over sets A: half of the L1 distance.

    This is the supremum over 0 ≤ f ≤ 1. The one over ‖f‖∞ ≤ 1 is twice as large, the L1 distance itself.
    """
    return np.asarray(0.5 * np.abs(np.asarray(first) - second).sum(axis=-1))


def wasserstein(first: Distributions, second: Distributions, positions: Float[np.ndarray, " state"]) -> np.ndarray:
    """Return W₁ between distributions over points of a line: the area between the two distribution functions.

    Args:
        first: P.
        second: Q.
        positions: Where the states are.
    """
    order = np.argsort(positions)
    surplus = np.cumsum((np.asarray(first) - second)[..., order], axis=-1)[..., :-1]
    return np.asarray(np.abs(surplus) @ np.diff(np.asarray(positions)[order]))


def lipschitz_constant(values: Float[np.ndarray, " state"], positions: Float[np.ndarray, " state"]) -> float:
    """Return the smallest Lipschitz constant of V on points of a line: the steepest slope between neighbours.

    Raises:
        ConfigError: If two states are at the same place.
    """
    order = np.argsort(positions)
    gaps = np.diff(np.asarray(positions)[order])
    if (gaps <= 0).any():
        raise ConfigError("positions: two states are at the same place, so no L holds. Move them apart.")
    return float(np.max(np.abs(np.diff(np.asarray(values)[order])) / gaps, initial=0.0))


def max_mean_discrepancy(
    first: Distributions, second: Distributions, kernel: Float[np.ndarray, "state state"]
) -> np.ndarray:
    """Return √(E k(X, X′) − 2·E k(X, Y) + E k(Y, Y′)), X and X′ from P, Y and Y′ from Q, all independent.

    Args:
        first: P.
        second: Q.
        kernel: k(x, y) of all pairs of states, positive definite.
    """
    difference = np.asarray(first) - second
    squares = np.einsum("...s,st,...t->...", difference, kernel, difference)
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))  # rounding can make a square of 0 negative


def kernel_norm(values: Float[np.ndarray, " state"], kernel: Float[np.ndarray, "state state"]) -> float:
    """Return ‖V‖ in the reproducing kernel Hilbert space of the kernel: √(Vᵀ·K⁻¹·V).

    Raises:
        ConfigError: If the kernel is not positive definite: then some functions have no norm.
    """
    try:
        factor = np.linalg.cholesky(kernel)
    except np.linalg.LinAlgError as error:
        raise ConfigError("kernel: expected a positive definite matrix. Are two states the same?") from error
    return float(np.linalg.norm(np.linalg.solve(factor, values)))
