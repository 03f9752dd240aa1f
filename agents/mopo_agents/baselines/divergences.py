"""How far a policy is from the behaviour policy in a state: maximum mean discrepancy, Kullback–Leibler divergence."""

from __future__ import annotations

import math
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from mopo_agents.sb3.squashed_gaussian import log_prob

__all__ = ["KERNELS", "gaussian_kernel", "kl_estimate", "laplacian_kernel", "mmd"]

Samples = Float[Tensor, "batch sample action"]
# Under the root: its slope at zero is infinite.
_ROOT_MARGIN = 1e-6
# A behaviour policy's density at the bounds is next to zero, and its logarithm next to −∞.
_BOUND_MARGIN = 1e-3


def gaussian_kernel(differences: Float[Tensor, "*batch action"], sigma: float) -> Float[Tensor, "*batch"]:
    """Return exp(−‖d‖₂² / 2σ); σ and not σ², as in BEAR's code, whose values of σ belong to it."""
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

    MMD² = mean k(x, x′) − 2·mean k(x, y) + mean k(y, y′), over all pairs. Each action is also paired with itself, so
    the estimate is biased upwards, for a wide Gaussian kernel by tr(Σ)(1/n + 1/m)/σ where both sets have the covariance
    Σ; in return it is never negative, and zero for equal sets. The root of it is returned, as BEAR's threshold is one
    on the root.
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
    """Return the mean of log π(a|s) − log π_b(a|s) over actions of π, an estimate of KL(π ‖ π_b) in each state.

    This is the "primal" form of Wu et al. 2019, section 4, and unbiased but for one thing: as in their code, the
    behaviour policy is asked at actions no nearer to a bound than 0.001.

    Args:
        raw: Actions drawn from π, before the tanh.
        policy: Mean and log standard deviation of π.
        behaviour: The same of π_b.
    """
    limit = math.atanh(1.0 - _BOUND_MARGIN)
    return (log_prob(raw, *policy) - log_prob(raw.clamp(-limit, limit), *behaviour)).mean(dim=1)
