"""Adam for an ensemble, and how its learning rate changes over a fit."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.models.layers import EnsembleLinear

WARM_UP = 0.03
"""Share of the updates over which the rate rises: Adam's first steps are as long as the rate is high, whatever the
gradient, and have too few gradients behind them to be trusted."""


def make_optimizer(ensemble: GaussianEnsemble, config: FitConfig) -> torch.optim.Adam:
    """Return Adam with the L2 penalty on the weights alone, not on biases nor on the bounds."""
    layers = [*ensemble.mean_layers, ensemble.logvar_head]
    decays = [*config.weight_decay, config.weight_decay[-1]]
    groups: list[dict[str, Any]] = [
        {"params": [_weight(layer)], "weight_decay": decay} for layer, decay in zip(layers, decays, strict=True)
    ]
    groups.append({"params": [layer.bias for layer in layers] + [ensemble.max_logvar, ensemble.min_logvar]})
    return torch.optim.Adam(groups, lr=config.learning_rate, fused=True)


def make_schedule(optimizer: torch.optim.Adam, config: FitConfig, num_updates: int) -> LambdaLR:
    """Return what sets the learning rate of every update; call its `step` after each."""
    if config.schedule == "constant":
        return LambdaLR(optimizer, lambda update: 1.0)
    return LambdaLR(optimizer, lambda update: cosine_share((update + 0.5) / num_updates))


def cosine_share(progress: float) -> float:
    """Return the share of the learning rate that is due: a straight rise, then half a cosine down to nothing.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), equation 5, without
    restarts.

    Args:
        progress: Of the fit, from 0 to 1.
    """
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (progress - WARM_UP) / (1.0 - WARM_UP))))


def _weight(layer: EnsembleLinear) -> Tensor:
    """Return what is trained: the weight itself, or what a parametrisation computes it from."""
    parameters = dict(layer.named_parameters())
    return parameters.get("parametrizations.weight.original", layer.weight)
