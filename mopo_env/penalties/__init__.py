"""The penalty u(s, a): an estimate of the model's error. The environment pays r̃ = r̂ − λ·u(s, a) (paper, section 4.1).

A penalty is any callable from a prediction to one number for each row. Read `PENALTIES` here first, the penalties of an
ensemble by name, then `formulas`, their mathematics. `nearest` is the distance to the data. `oracle` is the true error,
for experiments.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from mopo_env._utils.options import Members, Units, check_boolean, check_choice
from mopo_env._utils.references import import_named, is_reference
from mopo_env.errors import ConfigError, UnknownNameError
from mopo_env.models.protocol import GaussianPrediction, Prediction
from mopo_env.penalties import formulas

__all__ = [
    "NEAREST_NEIGHBOUR",
    "ORACLE",
    "PENALTIES",
    "EnsemblePenalty",
    "FittedPenalty",
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
"""The name of `OraclePenalty`. `PENALTIES` does not hold it, since it depends on the task."""
NEAREST_NEIGHBOUR = "nearest-neighbour"
"""The name of `NearestNeighbourPenalty`, which depends on the dataset."""


@runtime_checkable
class Penalty(Protocol):
    """Maps the prediction for a batch to the penalty of each row."""

    def __call__(self, prediction: Any, /) -> Float[Tensor, " batch"]:
        """Return u(s, a) ≥ 0, shape ``(batch,)``."""
        ...


@runtime_checkable
class FittedPenalty(Penalty, Protocol):
    """A penalty that is fitted to the recorded rows, so that what it says of them is not what is usual."""

    def of_data(self, num_rows: int) -> Float32[np.ndarray, " row"]:
        """Return what u would be on evenly spaced recorded rows if it had not seen their episodes."""
        ...


@dataclass(frozen=True, kw_only=True)
class EnsemblePenalty:
    """A formula, applied to chosen members, outputs and units of an ensemble's prediction.

    Attributes:
        formula: A function of `mopo_env.penalties.formulas`, or your own with the same arguments.
        members: All N members, or only the elites, from which next states are drawn.
        reward: Whether the reward is one of the outputs, beside the next observation.
        units: Raw means and standard deviations, or both divided by the standard deviations of the training targets,
            so that no output dominates by its scale.
    """

    formula: formulas.Formula
    members: Members = "all"
    reward: bool = True
    units: Units = "raw"

    def __post_init__(self) -> None:
        """Check every option; a `ConfigError` names the one that is wrong."""
        check_choice("members", self.members, Members)
        check_choice("units", self.units, Units)
        check_boolean("reward", self.reward)

    def __call__(self, prediction: GaussianPrediction, /) -> Float[Tensor, " batch"]:
        """Return u(s, a).

        Raises:
            ConfigError: If units are normalised and the model does not know the scale of its targets.
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
    """Return the divisor of normalised units.

    Raises:
        ConfigError: If the model does not know the scale of its targets.
    """
    if prediction.target_std is None:
        raise ConfigError(
            "units: this model does not know the scale of its targets, which 'normalised' needs. Choose 'raw', or "
            "return a prediction with target_std."
        )
    return prediction.target_std


def no_penalty(prediction: Prediction) -> Float[Tensor, " batch"]:
    """u(s, a) = 0: plain MBPO on a fixed dataset, the "no penalty" of the paper's Table 3."""
    return torch.zeros(len(prediction.observations), device=prediction.observations.device)


learned_variance = EnsemblePenalty(formula=formulas.max_aleatoric)
"""u(s, a) = max over all N members of ‖σᵢ(s, a)‖₂, raw units, reward included.

The paper writes the Frobenius norm of Σᵢ (Algorithm 2, line 9; "learned-variance-frobenius" here). Its code uses the
norm of the standard deviations, and the λ of its tables belong to this norm.
"""

ensemble_disagreement = EnsemblePenalty(formula=formulas.max_deviation, reward=False)
"""u(s, a) = max over members of ‖μᵢ(s, a) − μ̄(s, a)‖₂ over the next observation, μ̄ the mean of all members.

The "ens. penalty" of the paper's Table 3, as its code computes it: without the reward.
"""

# The options are those of their sources. The penalties are in raw units, as the paper's λ is. Only the two that compare
# densities, log-likelihood-variance and leave-one-out-kl, have no units.
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
    """Return a penalty by name, with a choice of members, outputs and units.

    Args:
        name: One of `PENALTIES`, or ``"module:name"`` for your own, whose module is then imported.
        members: ``"all"`` or ``"elites"``; default: as in `PENALTIES`.
        reward: Whether the reward counts as an output; default: as in `PENALTIES`.
        units: ``"raw"`` or ``"normalised"``; default: as in `PENALTIES`.

    Raises:
        UnknownNameError: If no penalty has this name.
        ConfigError: If an option is wrong, or the penalty has none.
    """
    if name == ORACLE:
        raise ConfigError(
            "penalty: the oracle needs the simulator of a task, and no task is known here. Use "
            "make_penalized_model(task, penalty='oracle'), or pass OraclePenalty(truth=…)."
        )
    if name == NEAREST_NEIGHBOUR:
        raise ConfigError(
            "penalty: 'nearest-neighbour' needs the recorded rows, and none are known here. `mopo train` and "
            "make_penalized_model know them; elsewhere pass NearestNeighbourPenalty(transitions)."
        )
    if is_reference(name):
        penalty = get_penalty(import_named("penalty", name))
    elif not isinstance(name, str) or name not in PENALTIES:
        raise UnknownNameError("penalty", name, [*PENALTIES, NEAREST_NEIGHBOUR, ORACLE])
    else:
        penalty = PENALTIES[name]
    given = {"members": members, "reward": reward, "units": units}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if not options:
        return penalty
    if not isinstance(penalty, EnsemblePenalty):
        raise ConfigError(f"penalty: {name!r} has no {' nor '.join(options)} to choose; leave it out.")
    return replace(penalty, **options)


def error_estimator(function: Callable[[Tensor, Tensor], Tensor]) -> Penalty:
    """Turn a function u of states and actions into a penalty (paper, Algorithm 1).

    Args:
        function: Maps observations, shape ``(batch, observation)``, and actions, ``(batch, action)``, both in raw
            units, to one number for each row.
    """

    def penalty(prediction: Prediction, /) -> Float[Tensor, " batch"]:
        return function(prediction.observations, prediction.actions)

    return penalty


def get_penalty(penalty: Any) -> Penalty:
    """Look a penalty up by name, or by a mapping of a name and options. A callable is returned unchanged.

    JSON can hold a mapping, so `gymnasium.make` accepts it::

        gymnasium.make(id, penalty={"name": "ensemble-std", "members": "elites", "units": "normalised"})

    Raises:
        UnknownNameError: If no penalty has this name.
        ConfigError: If the penalty is not a name, such a mapping or a callable, or an option is wrong.
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
