"""The oracle: the model's true error as the penalty, to tell how far a learned one could take MOPO.

It asks the real simulator, which nobody has who needs offline learning. The paper has it as the upper bound of its
approach ("oracle uncertainty" in Table 3): what is left between it and a learned penalty is what a better estimate of
the error could gain.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mopo_env.checks import check_number
from mopo_env.errors import ConfigError, SpaceMismatchError
from mopo_env.model import DynamicsModel, GaussianPrediction, Prediction
from mopo_env.tasks import Task
from mopo_env.transitions import Transitions
from mopo_env.true_dynamics import TrueDynamics

__all__ = ["Combine", "OraclePenalty", "make_oracle_penalty"]

Combine = Literal["mean", "max", "consensus"]


@dataclass(frozen=True, kw_only=True)
class OraclePenalty:
    """u(s, a) = ‖T̂(s, a) − T(s, a)‖₂, the true error of the model's mean, raw units (paper, section 5.3).

    The paper does not say what T̂(s, a) is for an ensemble. Here it is by default each elite's mean in turn, and u the
    mean of their errors: what is to be expected of the elite that the next state is drawn from, its noise left out.

    Attributes:
        truth: T, a model that predicts Gaussians: `TrueDynamics`, or a toy's own model.
        max_error: No u is larger, and where there is no truth, or T̂ breaks down, u is this. It keeps one absurd state
            from outweighing all rewards.
        combine: The ``"mean"`` of the elites' errors, their ``"max"``, or the error of their mean, the
            ``"consensus"``.
        reward: Whether r̂ − r counts beside the next observation.
    """

    truth: DynamicsModel
    max_error: float
    combine: Combine = "mean"
    reward: bool = False

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: If one is wrong; the message names it.
        """
        check_number("max_error", self.max_error, above=0.0)
        if self.combine not in get_args(Combine):
            raise ConfigError(f"combine: found {self.combine!r}, expected one of {', '.join(get_args(Combine))}.")
        if not isinstance(self.reward, bool):
            raise ConfigError(f"reward: expected True or False, found {self.reward!r}.")

    def __call__(self, prediction: Prediction, /) -> Float[Tensor, " batch"]:
        """Return u(s, a).

        Raises:
            ConfigError: If T̂ or T predicts anything but Gaussians.
        """
        device = self.truth.device
        truth = self.truth.predict(prediction.observations.to(device), prediction.actions.to(device))
        guesses = _elite_means(prediction)
        if self.combine == "consensus":
            guesses = guesses.mean(dim=0, keepdim=True)
        difference = guesses - _elite_means(truth).mean(dim=0).to(guesses.device)
        errors: Tensor = torch.linalg.vector_norm(difference if self.reward else difference[..., :-1], dim=-1)
        error = errors.amax(dim=0) if self.combine == "max" else errors.mean(dim=0)
        return error.nan_to_num(nan=self.max_error, posinf=self.max_error).clamp(max=self.max_error)


def make_oracle_penalty(
    task: Task,
    transitions: Transitions,
    *,
    env_id: str | None = None,
    max_error: float | None = None,
    num_threads: int | None = None,
    **options: Any,
) -> OraclePenalty:
    """Build the oracle of a task; ``penalty="oracle"`` arrives here.

    Args:
        task: Decides which simulator tells the truth.
        transitions: D_env.
        env_id: Another environment than the task's, such as ``"Walker2d-v4"`` for data of version 4.
        max_error: Default: the diagonal of the box around the dataset's observations. A prediction that is farther off
            than the data are wide says nothing at all.
        num_threads: Of the simulator; default: as many as PyTorch uses.
        **options: `combine` and `reward`, as in `OraclePenalty`.

    Raises:
        ConfigError: If the environment's true dynamics cannot be asked, or an option is wrong.
        MissingExtraError: If MuJoCo is not installed.
        SpaceMismatchError: If the data are of other widths than the environment.
    """
    unknown = sorted(options.keys() - {"combine", "reward"})
    if unknown:
        raise ConfigError(
            f"penalty: the oracle has no option {unknown[0]!r}. Known: combine, env_id, max_error, num_threads, reward."
        )
    truth = TrueDynamics(
        task.real_env_id if env_id is None else env_id,
        num_threads=torch.get_num_threads() if num_threads is None else num_threads,
    )
    for name in ("observation", "action"):
        found, expected = getattr(transitions, f"{name}_dim"), getattr(truth, f"{name}_dim")
        if found != expected:
            raise SpaceMismatchError(
                f"{name}s: the dataset's are {found} wide, those of {truth.env_id} {expected}, so it cannot be the "
                f"oracle. Are these the data of another task than {task.name}?"
            )
    if max_error is None:
        max_error = float(np.linalg.norm(np.ptp(transitions.observations, axis=0)))
    return OraclePenalty(truth=truth, max_error=max_error, **options)


def _elite_means(prediction: Prediction) -> Float[Tensor, "elite batch output"]:
    if not isinstance(prediction, GaussianPrediction):
        raise ConfigError(
            f"penalty: the oracle compares means of a GaussianPrediction, found a {type(prediction).__name__}."
        )
    return prediction.mean[prediction.elites]
