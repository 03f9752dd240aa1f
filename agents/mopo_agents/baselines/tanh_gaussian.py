"""Actions that are the tanh of a Gaussian: drawing them, and their density.

`raw` is the Gaussian's side, before the tanh; an action lies in −1…1, as agents keep them.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["draw", "log_prob", "unsquash"]


def draw(
    mean: Float[Tensor, "batch action"], log_std: Float[Tensor, "batch action"], num_samples: int
) -> Float[Tensor, "batch sample action"]:
    """Draw raw actions, from the generator that the agent's seed set; gradients reach mean and standard deviation."""
    noise = torch.randn(mean.shape[0], num_samples, mean.shape[1], device=mean.device)
    return mean[:, None] + log_std.exp()[:, None] * noise


def log_prob(
    raw: Float[Tensor, "batch sample action"],
    mean: Float[Tensor, "batch action"],
    log_std: Float[Tensor, "batch action"],
) -> Float[Tensor, "batch sample"]:
    """Return the log density of tanh(raw), by the change of variables log N(raw) − Σ log(1 − tanh²(raw))."""
    standardised = (raw - mean[:, None]) * (-log_std).exp()[:, None]
    gaussian = -0.5 * standardised.square() - log_std[:, None] - 0.5 * math.log(2 * math.pi)
    # log(1 − tanh²(x)) = 2·(log 2 − x − softplus(−2x)), which does not cancel where the tanh saturates.
    stretch = 2.0 * (math.log(2.0) - raw - F.softplus(-2.0 * raw))
    return (gaussian - stretch).sum(dim=-1)


def unsquash(actions: Float[Tensor, "*batch action"], margin: float) -> Float[Tensor, "*batch action"]:
    """Return actions before the tanh; those nearer to a bound than `margin` are moved away, as it is infinite there."""
    return actions.clamp(margin - 1.0, 1.0 - margin).atanh()
