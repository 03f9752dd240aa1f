"""Measures of the uncertainty of an ensemble of diagonal Gaussians, as pure functions.

Each maps the means μᵢ and standard deviations σᵢ of the members, shape ``(member, batch, output)``, to one number for
each row. Lu et al. compare them in "Revisiting Design Choices in Offline Model-Based Reinforcement Learning" (2022).
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from mopo_env.errors import ConfigError

Outputs: TypeAlias = Float[Tensor, "member batch output"]
Rows: TypeAlias = Float[Tensor, " batch"]
Formula: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def max_aleatoric(mean: Outputs, std: Outputs) -> Rows:
    """Return maxᵢ ‖σᵢ‖₂ ("max aleatoric"), as in the paper's code."""
    norms: Tensor = torch.linalg.vector_norm(std, dim=-1)
    return norms.amax(dim=0)


def max_covariance_norm(mean: Outputs, std: Outputs) -> Rows:
    """Return maxᵢ ‖Σᵢ‖_F, as in the paper's text (Algorithm 2, line 9); Σᵢ is the diagonal matrix of σᵢ²."""
    norms: Tensor = torch.linalg.vector_norm(std.square(), dim=-1)
    return norms.amax(dim=0)


def max_deviation(mean: Outputs, std: Outputs) -> Rows:
    """Return maxᵢ ‖μᵢ − μ̄‖₂, μ̄ the mean over members: the paper's "ens. penalty", as its code computes it."""
    deviations: Tensor = torch.linalg.vector_norm(mean - mean.mean(dim=0), dim=-1)
    return deviations.amax(dim=0)


def max_pairwise_difference(mean: Outputs, std: Outputs) -> Rows:
    """Return maxᵢⱼ ‖μᵢ − μⱼ‖₂ ("max pairwise difference", the discrepancy of MOReL; Kidambi et al., 2020)."""
    largest = torch.zeros_like(mean[0, :, 0])
    for member in range(1, len(mean)):
        differences: Tensor = torch.linalg.vector_norm(mean[:member] - mean[member], dim=-1)
        largest = torch.maximum(largest, differences.amax(dim=0))
    return largest


def ensemble_std(mean: Outputs, std: Outputs) -> Rows:
    """Return ‖σ*‖₂, σ* the standard deviations of the mixture of all members (Lakshminarayanan et al., 2017)."""
    norms: Tensor = torch.linalg.vector_norm(_mixture_variance(mean, std).sqrt(), dim=-1)
    return norms


def ensemble_variance(mean: Outputs, std: Outputs) -> Rows:
    """Return ‖Σ*‖_F, Σ* the diagonal covariance of the mixture of all members."""
    norms: Tensor = torch.linalg.vector_norm(_mixture_variance(mean, std), dim=-1)
    return norms


def log_likelihood_variance(mean: Outputs, std: Outputs) -> Rows:
    """Return E[Varᵢ ln T̂ᵢ(x)], x drawn from the mixture of all members ("LL var"; Rafailov et al., 2021).

    The source draws one x. This is the expectation in closed form, a function of (s, a) only: each log-density minus
    their mean is a sum of aᵢx² + bᵢx + cᵢ over independent outputs, whose moments under a Gaussian are known.
    """
    mean, precision, variance = mean - mean.mean(dim=0), std.pow(-2), std.square()
    square = -0.5 * _centred(precision)
    linear = _centred(precision * mean)
    constant = -0.5 * _centred(precision * mean.square() + variance.log())
    total = torch.zeros_like(mean[0, :, 0])
    for center, spread in zip(mean, variance, strict=True):
        expected = (square * (center.square() + spread) + linear * center + constant).sum(dim=-1)
        around = 2.0 * (square * spread).square() + spread * (2.0 * square * center + linear).square()
        total = total + (expected.square() + around.sum(dim=-1)).mean(dim=0)
    return total / len(mean)


def leave_one_out_kl(mean: Outputs, std: Outputs) -> Rows:
    """Return the mean over i of KL(T̂ᵢ ‖ T̂₋ᵢ), T̂₋ᵢ the Gaussian of the other members' moments.

    The source ("LOO KL"; Pan et al., 2020) uses the member drawn for the step. This is the mean over that draw.

    Raises:
        ConfigError: If there is only one member.
    """
    if len(mean) < 2:
        raise ConfigError("leave-one-out-kl: needs two members or more to compare, found 1.")
    total = torch.zeros_like(mean[0, :, 0])
    for member in range(len(mean)):
        others = [other for other in range(len(mean)) if other != member]
        variance, around = std[member].square(), _mixture_variance(mean[others], std[others])
        distance = (mean[member] - mean[others].mean(dim=0)).square()
        total = total + 0.5 * ((variance + distance) / around - 1.0 + (around / variance).log()).sum(dim=-1)
    return (total / len(mean)).clamp(min=0.0)  # rounding can make it negative


def _mixture_variance(mean: Outputs, std: Outputs) -> Float[Tensor, "batch output"]:
    """Return the mean of the variances plus the variance of the means. In float32, E[x²] − E[x]² would cancel."""
    variance: Tensor = (std.square() + _centred(mean).square()).mean(dim=0)
    return variance


def _centred(values: Outputs) -> Outputs:
    return values - values.mean(dim=0)
