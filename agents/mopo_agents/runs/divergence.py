"""Find what has ceased to be finite in a training, in the same way for every agent."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

from mopo_agents.policies import policy_weights
from mopo_env.errors import InputError

__all__ = ["cause_of_failure", "non_finite_quantity"]

# The explained variance of returns that are all equal is not a number, and this is no sign of divergence.
_MAY_BE_NAN = "train/explained_variance"


def non_finite_quantity(agent: BaseAlgorithm) -> str | None:
    """Return the name of a loss of the last epoch, or of a weight, that is not finite; None: all are finite.

    A loss can overflow while the weights are finite: Adam then divides by infinity and never changes them again.
    """
    logged: dict[str, Any] = agent.logger.name_to_value
    for name, value in logged.items():
        if name.startswith("train/") and name != _MAY_BE_NAN and isinstance(value, Real) and not math.isfinite(value):
            return f"{name} is {value}"
    for name, array in policy_weights(agent).items():
        if not np.isfinite(array).all():
            return f"a weight in {name} is {array[~np.isfinite(array)].flat[0]}"
    return None


def cause_of_failure(agent: BaseAlgorithm, error: Exception) -> str | None:
    """Return what was not finite when an error ended an epoch; None: the error has another cause.

    PyTorch's distributions refuse means that are not finite, and the environment such actions.
    """
    if isinstance(error, InputError):
        return "the policy chose actions that are not finite"
    return non_finite_quantity(agent) if isinstance(error, ValueError | RuntimeError) else None
