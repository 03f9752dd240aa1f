"""The loss of a fit, and the likelihood by which fits are compared."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def gaussian_loss(
    mean: Float[Tensor, "member batch output"],
    logvar: Float[Tensor, "member batch output"],
    targets: Float[Tensor, "member batch output"],
    beta: float = 0.0,
) -> Float[Tensor, ""]:
    """Negative log-likelihood of diagonal Gaussians: a mean over rows and outputs, summed over members.

    Constants and the factor ½ are left out, as in the paper's code, where the other terms are weighed against this.
    A likelihood learns the mean slowest where the variance is large. With β the gradient by the mean, and only that,
    is multiplied by σ^(2β) (Seitzer et al., 2022, weigh the variance's gradient too, which makes it too large).
    """
    squared_error = (mean - targets).square()
    if beta == 0.0:
        return torch.addcmul(logvar, squared_error, torch.exp(-logvar)).mean(dim=(1, 2)).sum()
    fixed = logvar.detach()
    by_mean = squared_error * torch.exp((beta - 1.0) * fixed)
    by_variance = torch.addcmul(logvar, squared_error.detach(), torch.exp(-logvar))
    return (by_mean + by_variance).mean(dim=(1, 2)).sum()


def negative_log_likelihood(
    error: Float[Tensor, "member batch output"], logvar: Float[Tensor, "member batch output"]
) -> Float[Tensor, "member output"]:
    """Return −ln N(error | 0, σ²), a mean over rows."""
    return 0.5 * (math.log(2.0 * math.pi) + logvar + error.square() * torch.exp(-logvar)).mean(dim=1)
