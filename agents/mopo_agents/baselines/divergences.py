"""Distances between a policy and the behaviour policy: maximum mean discrepancy and Kullback–Leibler divergence."""

from __future__ import annotations

import math
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from mopo_agents.sb3.squashed_gaussian import log_prob

Samples = Float[Tensor, "batch sample action"]
# Added under the square root, whose slope at zero is infinite.
_ROOT_MARGIN = 1e-6
# The distance from the bounds, where the log density of the behaviour policy can be close to −∞.
_BOUND_MARGIN = 1e-3


def gaussian_kernel(differences: Float[Tensor, "*batch action"], sigma: float) -> Float[Tensor, "*batch"]:
    """Return exp(−‖d‖₂² / 2σ), with σ instead of σ² as in BEAR's code, so that its values of σ can be used."""
    return (-differences.square().sum(dim=-1) / (2.0 * sigma)).exp()


def laplacian_kernel(differences: Float[Tensor, "*batch action"], sigma: float) -> Float[Tensor, "*batch"]:
    """Return exp(−‖d‖₁ / 2σ)."""
    return (-differences.abs().sum(dim=-1) / (2.0 * sigma)).exp()


KERNELS: dict[str, Callable[[Tensor, float], Tensor]] = {"gaussian": gaussian_kernel, "laplacian": laplacian_kernel}


def mmd(
    first: Float[Tensor, "batch n action"],
    second: Float[Tensor, "batch m action"],
    kernel: Callable[[Tensor, float], Tensor],
    sigma: float,
) -> Float[Tensor, " batch"]:
    """Return the maximum mean discrepancy of two sets of actions in each state (Kumar et al. 2019, section 5).

    MMD² = mean k(x, x′) − 2·mean k(x, y) + mean k(y, y′), over all pairs. Since each action is also paired with itself,
    the estimate is never negative, and zero for equal sets, but it is biased upwards. For a wide Gaussian kernel and
    two sets with covariance Σ, the bias is tr(Σ)(1/n + 1/m)/σ. The result is the square root, because BEAR's threshold
    applies to the root.
    """

    def mean_kernel(rows: Tensor, columns: Tensor) -> Tensor:
        return kernel(rows[:, :, None] - columns[:, None, :], sigma).mean(dim=(1, 2))

    squared = mean_kernel(first, first) - 2.0 * mean_kernel(first, second) + mean_kernel(second, second)
    return (squared + _ROOT_MARGIN).sqrt()


def kl_estimate(
    raw: Samples,
    policy: tuple[Float[Tensor, "batch action"], Float[Tensor, "batch action"]],
    behaviour: tuple[Float[Tensor, "batch action"], Float[Tensor, "batch action"]],
) -> Float[Tensor, " batch"]:
    """Estimate KL(π ‖ π_b) in each state by the mean of log π(a|s) − log π_b(a|s) over actions of π.

    This is the "primal" form of Wu et al. 2019, section 4. It is unbiased except near the bounds: as in their code,
    actions are clamped to a distance of 0.001 from the bounds for π_b.

    Args:
        raw: Actions drawn from π, before the tanh.
        policy: Mean and log standard deviation of π.
        behaviour: Mean and log standard deviation of π_b.
    """
    limit = math.atanh(1.0 - _BOUND_MARGIN)
    return (log_prob(raw, *policy) - log_prob(raw.clamp(-limit, limit), *behaviour)).mean(dim=1)
