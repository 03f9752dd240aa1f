"""The oracle: the model's true error as the penalty, to tell how far a learned one could take MOPO.

It asks the real simulator, which nobody has who needs offline learning. The paper has it as the upper bound of its
approach ("oracle uncertainty" in Table 3): what is left between it and a learned penalty is what a better estimate of
the error could gain.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mopo_env._utils.arrays import check_same_widths
from mopo_env._utils.options import Members, Units, check_boolean, check_choice, check_fields, check_number
from mopo_env._utils.tensors import mean_and_std
from mopo_env.errors import ConfigError
from mopo_env.models.protocol import DynamicsModel, GaussianPrediction, Prediction
from mopo_env.penalties import target_std_of
from mopo_env.real.robots import ROBOTS
from mopo_env.real.true_dynamics import TrueDynamics
from mopo_env.tasks import Task
from mopo_env.transitions import Transitions

__all__ = ["Combine", "OraclePenalty", "make_oracle_penalty"]

Combine = Literal["mean", "max", "consensus"]


@dataclass(frozen=True, kw_only=True)
class OraclePenalty:
    """u(s, a) = ‖T̂(s, a) − T(s, a)‖₂, the true error of the model's mean (paper, section 5.3).

    The paper does not say what T̂(s, a) is for an ensemble. Here it is by default each elite's mean in turn, and u the
    mean of their errors: what is to be expected of the elite that the next state is drawn from, its noise left out.

    Attributes:
        truth: T, a model that predicts Gaussians: `TrueDynamics`, or a toy's own model.
        max_error: No u is larger, and where there is no truth, or T̂ breaks down, u is this. It keeps one absurd state
            from outweighing all rewards.
        combine: The ``"mean"`` of the members' errors, their ``"max"``, or the error of the members' mean, the
            ``"consensus"``.
        members: Whose means: the elites', that next states are drawn from, or those of all N.
        reward: Whether r̂ − r counts beside the next observation.
        units: Of the differences: as they are, or divided by the standard deviations of the training targets.
    """

    truth: DynamicsModel
    max_error: float
    combine: Combine = "mean"
    members: Members = "elites"
    reward: bool = False
    units: Units = "raw"

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: If one is wrong; the message names it.
        """
        check_fields(self, check_number, "max_error", above=0.0)
        check_choice("combine", self.combine, Combine)
        check_choice("members", self.members, Members)
        check_choice("units", self.units, Units)
        check_boolean("reward", self.reward)

    def __call__(self, prediction: Prediction, /) -> Float[Tensor, " batch"]:
        """Return u(s, a).

        Raises:
            ConfigError: If T̂ or T predicts anything but Gaussians, or normalised units are asked of a model that does
                not know the scale of its targets.
        """
        prediction = _gaussian(prediction)
        device = self.truth.device
        truth = _gaussian(self.truth.predict(prediction.observations.to(device), prediction.actions.to(device)))
        guesses = prediction.mean if self.members == "all" else prediction.mean[prediction.elites]
        if self.combine == "consensus":
            guesses = guesses.mean(dim=0, keepdim=True)
        difference = guesses - truth.mean[truth.elites].mean(dim=0).to(guesses.device)
        if self.units == "normalised":
            difference = difference / target_std_of(prediction)
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
        max_error: Default: the diagonal of the box around the dataset's observations, and rewards if they count, in
            the penalty's units. A prediction that is farther off than the data are wide says nothing at all.
        num_threads: Of the simulator; default: as many as PyTorch uses.
        **options: `combine`, `members`, `reward` and `units`, as in `OraclePenalty`; None is its default.

    Raises:
        ConfigError: If the environment cannot be stepped from observations, the task has none, or an option is wrong.
        MissingExtraError: If MuJoCo is not installed.
        SpaceMismatchError: If the data are of other widths than the environment.
    """
    known = {field.name for field in fields(OraclePenalty)} - {"truth"} | {"env_id", "num_threads"}
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ConfigError(f"penalty: the oracle has no option {unknown[0]!r}. Known: {', '.join(sorted(known))}.")
    env_id = task.real_env_id if env_id is None else env_id
    if not isinstance(env_id, str) or env_id not in ROBOTS:
        found = f"{task.label} has none" if env_id is None else f"{env_id} cannot be stepped from observations"
        raise ConfigError(
            f"penalty: the oracle asks the simulator that the data come from, but {found}. Name one as real_env, "
            f"--real-env or the oracle's env_id, or choose another penalty. Known: {', '.join(sorted(ROBOTS))}."
        )
    truth = TrueDynamics(env_id, num_threads=torch.get_num_threads() if num_threads is None else num_threads)
    remedy = f"So it cannot be the oracle. Are these the data of another task than {task.label}?"
    check_same_widths(transitions, truth, whose=f"those of {env_id}", remedy=remedy)
    given = {name: value for name, value in options.items() if value is not None}
    if max_error is None:
        max_error = _width(
            transitions, reward=given.get("reward", False), normalised=given.get("units") == "normalised"
        )
    return OraclePenalty(truth=truth, max_error=max_error, **given)


def _width(transitions: Transitions, *, reward: bool, normalised: bool) -> float:
    """Return the diagonal of the box around what is compared, as far as it was recorded."""
    widths = np.append(np.ptp(transitions.observations, axis=0), np.ptp(transitions.rewards))
    if normalised:
        changes = transitions.next_observations - transitions.observations
        _, std = mean_and_std(torch.from_numpy(np.column_stack([changes, transitions.rewards])))
        widths = widths / std.numpy()
    return float(np.linalg.norm(widths if reward else widths[:-1]))


def _gaussian(prediction: Prediction) -> GaussianPrediction:
    if not isinstance(prediction, GaussianPrediction):
        raise ConfigError(
            f"penalty: the oracle compares means of a GaussianPrediction, found a {type(prediction).__name__}."
        )
    return prediction
