"""The penalty u(s, a): how much a model distrusts itself. One pure function each.

A penalty is any callable from a prediction to one number for each row, in the units of the reward; write one's own by
writing such a function. The environment pays r̃ = r̂ − λ·u(s, a) (paper, section 4.1).
"""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from mopo_env.errors import ConfigError, UnknownNameError
from mopo_env.model import GaussianPrediction, Prediction

__all__ = ["PENALTIES", "Penalty", "ensemble_disagreement", "get_penalty", "learned_variance", "no_penalty"]


@runtime_checkable
class Penalty(Protocol):
    """Maps what the model predicts for a batch to the penalty of each row."""

    def __call__(self, prediction: Any, /) -> Float[Tensor, " batch"]:
        """Return u(s, a), not negative, of shape ``(batch,)``."""
        ...


def learned_variance(prediction: GaussianPrediction) -> Float[Tensor, " batch"]:
    """u(s, a) = max over all N members of ‖σᵢ(s, a)‖₂, raw units, reward included.

    The paper writes the Frobenius norm of Σᵢ (Algorithm 2, line 9). Its code takes the norm of the standard
    deviations, and the λ of its tables belong to that; so does this.
    """
    norms: Tensor = torch.linalg.vector_norm(prediction.std, dim=-1)
    return norms.amax(dim=0)


def ensemble_disagreement(prediction: GaussianPrediction) -> Float[Tensor, " batch"]:
    """u(s, a) = max over members of ‖μᵢ(s, a) − μ̄(s, a)‖₂ over the next observation, μ̄ the mean of all members.

    The "ens. penalty" of the paper's Table 3, as its code computes it: the reward is left out.
    """
    mean = prediction.mean[..., :-1]
    deviations: Tensor = torch.linalg.vector_norm(mean - mean.mean(dim=0), dim=-1)
    return deviations.amax(dim=0)


def no_penalty(prediction: Prediction) -> Float[Tensor, " batch"]:
    """u(s, a) = 0: plain MBPO on a fixed dataset, the "no penalty" of the paper's Table 3."""
    return torch.zeros(len(prediction.observations), device=prediction.observations.device)


PENALTIES: dict[str, Penalty] = {
    "learned-variance": learned_variance,
    "ensemble-disagreement": ensemble_disagreement,
    "none": no_penalty,
}


def get_penalty(penalty: Any) -> Penalty:
    """Look a penalty up by name; a callable is returned as it is.

    Raises:
        UnknownNameError: If no penalty has this name.
        ConfigError: If it is neither a name nor callable.
    """
    if isinstance(penalty, str):
        if penalty not in PENALTIES:
            raise UnknownNameError("penalty", penalty, PENALTIES)
        return PENALTIES[penalty]
    if not callable(penalty):
        raise ConfigError(f"penalty: found {penalty!r}, expected a name or a callable from prediction to tensor.")
    found: Penalty = penalty
    return found
