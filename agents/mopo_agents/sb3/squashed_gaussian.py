"""The tanh-Gaussian distribution: drawing actions, their density, and its gradient.

`raw` means before the tanh; actions lie in −1…1. There are two densities. `log_prob` is for autograd, and exact where
the tanh saturates. `draw_actions` uses Stable-Baselines3's density with its small constant, and an explicit gradient.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN
from torch import Tensor

_TINY = 1e-6  # Stable-Baselines3's constant; it keeps the logarithm finite where the tanh saturates
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def squash(
    mean: Float[Tensor, "*#batch action"],
    log_std: Float[Tensor, "*#batch action"],
    noise: Float[Tensor, "*#batch action"],
) -> Float[Tensor, "*#batch action"]:
    """Return the actions tanh(μ + σ·ε) for given noise ε; shapes broadcast."""
    return (mean + log_std.exp() * noise).tanh()


def draw(
    mean: Float[Tensor, "batch action"], log_std: Float[Tensor, "batch action"], num_samples: int
) -> Float[Tensor, "batch sample action"]:
    """Draw raw actions from torch's global generator, which the agent's seed sets; they are differentiable."""
    noise = torch.randn(mean.shape[0], num_samples, mean.shape[1], device=mean.device)
    return mean[:, None] + log_std.exp()[:, None] * noise


def log_prob(
    raw: Float[Tensor, "batch sample action"],
    mean: Float[Tensor, "batch action"],
    log_std: Float[Tensor, "batch action"],
) -> Float[Tensor, "batch sample"]:
    """Return the log density of tanh(raw), by the change of variables log N(raw) − Σ log(1 − tanh²(raw))."""
    standardised = (raw - mean[:, None]) * (-log_std).exp()[:, None]
    gaussian = -0.5 * standardised.square() - log_std[:, None] - _LOG_SQRT_2PI
    # log(1 − tanh²(x)) = 2·(log 2 − x − softplus(−2x)) keeps its precision where the tanh saturates.
    stretch = 2.0 * (math.log(2.0) - raw - F.softplus(-2.0 * raw))
    return (gaussian - stretch).sum(dim=-1)


def unsquash(actions: Float[Tensor, "*batch action"], margin: float) -> Float[Tensor, "*batch action"]:
    """Return raw actions; actions are first clamped to `margin` from the bounds, where the inverse is infinite."""
    return actions.clamp(margin - 1.0, 1.0 - margin).atanh()


class DrawnActions(NamedTuple):
    """Actions from `draw_actions`, and the intermediate values for their gradient.

    Attributes:
        actions: a = tanh(u), u = μ + σ·ε.
        log_prob: ln π(a | s).
        raw: μ and ln σ side by side, before ln σ is clamped.
        deviation: σ·ε.
        slope: da/du = 1 − a².
    """

    actions: Float[Tensor, "row action"]
    log_prob: Float[Tensor, " row"]
    raw: Float[Tensor, "row parameter"]
    deviation: Float[Tensor, "row action"]
    slope: Float[Tensor, "row action"]

    def gradient(
        self, by_action: Float[Tensor, "first action"], by_log_prob: Tensor | float
    ) -> Float[Tensor, "first parameter"]:
        """Return the gradient of a loss by `raw` for the first rows, given its gradients by `actions` and `log_prob`.

        The noise ε is constant, so that only the terms −Σ ln σ and −Σ ln(1 − a²) of ln π depend on μ and σ.
        """
        first = slice(len(by_action))
        actions, slope = self.actions[first], self.slope[first]
        by_mean = slope * (by_action + by_log_prob * 2.0 * actions / (slope + _TINY))
        log_std = self.raw[first, actions.shape[1] :]
        by_log_std = by_mean * self.deviation[first] - by_log_prob
        by_log_std *= (log_std >= LOG_STD_MIN) & (log_std <= LOG_STD_MAX)
        return torch.cat([by_mean, by_log_std], dim=1)


def draw_actions(raw: Float[Tensor, "row parameter"], rows_a_draw: int) -> DrawnActions:
    """Draw an action for each row, `rows_a_draw` rows at a time, because the size of a draw determines its numbers."""
    mean, log_std = raw.chunk(2, dim=1)
    log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
    noise = torch.empty_like(mean, memory_format=torch.contiguous_format)
    for part in torch.split(noise, rows_a_draw):
        part.normal_()
    deviation = log_std.exp() * noise
    actions = (mean + deviation).tanh_()
    slope = 1.0 - actions.square()
    log_prob = -(0.5 * noise.square() + log_std + (slope + _TINY).log() + _LOG_SQRT_2PI).sum(dim=1)
    return DrawnActions(actions, log_prob, raw, deviation, slope)
