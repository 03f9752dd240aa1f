"""The penalty u(s, a): how much a model distrusts itself.

A penalty is any callable from a prediction to one number for each row, in the units of the reward; write one's own by
writing such a function. The environment pays r̃ = r̂ − λ·u(s, a) (paper, section 4.1). Those of an ensemble are here by
name, with a choice of members, outputs and units; `mopo_env.penalties.formulas` has the mathematics.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from mopo_env._utils.options import Members, Units, check_boolean, check_choice
from mopo_env.errors import ConfigError, UnknownNameError
from mopo_env.models.protocol import GaussianPrediction, Prediction
from mopo_env.penalties import formulas

__all__ = [
    "ORACLE",
    "PENALTIES",
    "EnsemblePenalty",
    "Penalty",
    "ensemble_disagreement",
    "error_estimator",
    "get_penalty",
    "learned_variance",
    "make_penalty",
    "no_penalty",
    "target_std_of",
]

ORACLE = "oracle"
"""The name of `OraclePenalty`. It is not among `PENALTIES`, since it depends on the task."""


@runtime_checkable
class Penalty(Protocol):
    """Maps what the model predicts for a batch to the penalty of each row."""

    def __call__(self, prediction: Any, /) -> Float[Tensor, " batch"]:
        """Return u(s, a), of shape ``(batch,)``; a negative number would pay for uncertainty, and is refused."""
        ...


@dataclass(frozen=True, kw_only=True)
class EnsemblePenalty:
    """A formula on chosen members, outputs and units of what an ensemble predicts.

    Attributes:
        formula: A function of `mopo_env.penalties.formulas`, or one's own of the same form.
        members: Which members are asked: all N of them, or the elites that next states are drawn from.
        reward: Whether the reward is one of the outputs, beside the next observation.
        units: Of the means and standard deviations: as they are, or divided by the standard deviations of the
            training targets, so that no output dominates by its scale.
    """

    formula: formulas.Formula
    members: Members = "all"
    reward: bool = True
    units: Units = "raw"

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: If one is none of its choices; the message names it.
        """
        check_choice("members", self.members, Members)
        check_choice("units", self.units, Units)
        check_boolean("reward", self.reward)

    def __call__(self, prediction: GaussianPrediction, /) -> Float[Tensor, " batch"]:
        """Return u(s, a).

        Raises:
            ConfigError: If normalised units are asked of an ensemble that does not know the scale of its targets.
        """
        mean, std = prediction.mean, prediction.std
        if self.members == "elites":
            mean, std = mean[prediction.elites], std[prediction.elites]
        if self.units == "normalised":
            target_std = target_std_of(prediction)
            mean, std = mean / target_std, std / target_std
        if not self.reward:
            mean, std = mean[..., :-1], std[..., :-1]
        return self.formula(mean, std)


def target_std_of(prediction: GaussianPrediction) -> Float[Tensor, " output"]:
    """Return what normalised units divide by.

    Raises:
        ConfigError: If the model does not know it.
    """
    if prediction.target_std is None:
        raise ConfigError(
            "units: this model does not know the scale of its targets, which 'normalised' needs. "
            "Fit the ensemble again with this version, or choose 'raw'."
        )
    return prediction.target_std


def no_penalty(prediction: Prediction) -> Float[Tensor, " batch"]:
    """u(s, a) = 0: plain MBPO on a fixed dataset, the "no penalty" of the paper's Table 3."""
    return torch.zeros(len(prediction.observations), device=prediction.observations.device)


learned_variance = EnsemblePenalty(formula=formulas.max_aleatoric)
"""u(s, a) = max over all N members of ‖σᵢ(s, a)‖₂, raw units, reward included.

The paper writes the Frobenius norm of Σᵢ (Algorithm 2, line 9; "learned-variance-frobenius" here). Its code takes the
norm of the standard deviations, and the λ of its tables belong to that; so does this.
"""

ensemble_disagreement = EnsemblePenalty(formula=formulas.max_deviation, reward=False)
"""u(s, a) = max over members of ‖μᵢ(s, a) − μ̄(s, a)‖₂ over the next observation, μ̄ the mean of all members.

The "ens. penalty" of the paper's Table 3, as its code computes it: the reward is left out.
"""

# As their sources have them. What is compared with the paper's λ must be in its units; the two that compare densities,
# log-likelihood-variance and leave-one-out-kl, have no units.
PENALTIES: dict[str, Penalty] = {
    "learned-variance": learned_variance,
    "learned-variance-frobenius": EnsemblePenalty(formula=formulas.max_covariance_norm),
    "ensemble-disagreement": ensemble_disagreement,
    "max-pairwise-difference": EnsemblePenalty(formula=formulas.max_pairwise_difference, reward=False),
    "ensemble-std": EnsemblePenalty(formula=formulas.ensemble_std),
    "ensemble-variance": EnsemblePenalty(formula=formulas.ensemble_variance),
    "log-likelihood-variance": EnsemblePenalty(formula=formulas.log_likelihood_variance),
    "leave-one-out-kl": EnsemblePenalty(formula=formulas.leave_one_out_kl),
    "none": no_penalty,
}


def make_penalty(
    name: str, *, members: Members | None = None, reward: bool | None = None, units: Units | None = None
) -> Penalty:
    """Return a penalty by name, with other members, outputs or units than its source's.

    Args:
        name: One of `PENALTIES`.
        members: ``"all"`` or ``"elites"``; default: as in `PENALTIES`.
        reward: Whether the reward counts as an output; default: as in `PENALTIES`.
        units: ``"raw"`` or ``"normalised"``; default: as in `PENALTIES`.

    Raises:
        UnknownNameError: If no penalty has this name.
        ConfigError: If an option is wrong, or the penalty has none.
    """
    if name == ORACLE:
        raise ConfigError(
            "penalty: the oracle asks the simulator of a task, and here is none. Name it where there is one, as in "
            "make_penalized_model(task, penalty='oracle'), or pass OraclePenalty(truth=…)."
        )
    if not isinstance(name, str) or name not in PENALTIES:
        raise UnknownNameError("penalty", name, [*PENALTIES, ORACLE])
    penalty = PENALTIES[name]
    given = {"members": members, "reward": reward, "units": units}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if not options:
        return penalty
    if not isinstance(penalty, EnsemblePenalty):
        raise ConfigError(f"penalty: {name!r} has no {' nor '.join(options)} to choose; leave it out.")
    return replace(penalty, **options)


def error_estimator(function: Callable[[Tensor, Tensor], Tensor]) -> Penalty:
    """Return u as a penalty, given as a function of states and actions (paper, Algorithm 1).

    Args:
        function: Maps observations, shape ``(batch, observation)``, and actions, ``(batch, action)``, both in raw
            units, to one number for each row.
    """

    def penalty(prediction: Prediction, /) -> Float[Tensor, " batch"]:
        return function(prediction.observations, prediction.actions)

    return penalty


def get_penalty(penalty: Any) -> Penalty:
    """Look a penalty up by name, or by a mapping of its name and options; a callable is returned as it is.

    A mapping is what JSON can hold, hence what `gymnasium.make` can be given::

        gymnasium.make(id, penalty={"name": "ensemble-std", "members": "elites", "units": "normalised"})

    Raises:
        UnknownNameError: If no penalty has this name.
        ConfigError: If it is neither a name, nor such a mapping, nor callable; or if an option is wrong.
    """
    if isinstance(penalty, str):
        return make_penalty(penalty)
    if isinstance(penalty, Mapping):
        unknown = sorted(set(penalty) - {"name", "members", "reward", "units"})
        if unknown or "name" not in penalty:
            found = f"found {unknown}" if unknown else "found no name"
            raise ConfigError(f"penalty: a mapping holds name, members, reward and units; {found}.")
        return make_penalty(**penalty)
    if not callable(penalty):
        raise ConfigError(f"penalty: found {penalty!r}, expected a name or a callable from prediction to tensor.")
    found_penalty: Penalty = penalty
    return found_penalty
