"""SAC's actions: drawn from a Gaussian and squashed by tanh, with their densities and the gradient through both.

Densities are Stable-Baselines3's, with its small constant, and gradients are written out; `baselines.tanh_gaussian` is
exact where tanh saturates, and made for autograd.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN
from torch import Tensor

__all__ = ["DrawnActions", "draw_actions"]

_TINY = 1e-6  # keeps the logarithm of Stable-Baselines3's densities finite where tanh saturates
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


class DrawnActions(NamedTuple):
    """Actions of a policy that draws from a Gaussian and squashes what it drew by tanh.

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
        """Return a loss's gradient by `raw` for the first rows, given those by the actions and by each log-density.

        The draws ε stand still: of ln π only −Σ ln σ and −Σ ln(1 − a²) depend on μ and σ.
        """
        first = slice(len(by_action))
        actions, slope = self.actions[first], self.slope[first]
        by_mean = slope * (by_action + by_log_prob * 2.0 * actions / (slope + _TINY))
        log_std = self.raw[first, actions.shape[1] :]
        by_log_std = by_mean * self.deviation[first] - by_log_prob
        by_log_std *= (log_std >= LOG_STD_MIN) & (log_std <= LOG_STD_MAX)
        return torch.cat([by_mean, by_log_std], dim=1)


def draw_actions(raw: Float[Tensor, "row parameter"], rows_a_draw: int) -> DrawnActions:
    """Draw an action for each row, so many rows at a time: how many are drawn together decides what is drawn."""
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
