"""The oracle: the model's true error as the penalty ("oracle uncertainty" in the paper's Table 3).

It needs the real simulator, so it is for experiments only. The difference to a learned penalty shows how much a better
estimate of the error could improve MOPO.
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

Combine = Literal["mean", "max", "consensus"]


@dataclass(frozen=True, kw_only=True)
class OraclePenalty:
    """u(s, a) = ‖T̂(s, a) − T(s, a)‖₂, the true error of the model's mean (paper, section 5.3).

    The paper does not define T̂(s, a) for an ensemble. By default, u is the mean of the errors of the elites' means. It
    is the expected error of the elite from which the next state is drawn, without its noise.

    Attributes:
        truth: T, a model that predicts Gaussians: `TrueDynamics`, or a toy's own model.
        max_error: The largest u. It is also u if the truth or the prediction is non-finite. So one impossible state
            cannot outweigh all rewards.
        combine: The ``"mean"`` of the members' errors, their ``"max"``, or the error of the members' mean, the
            ``"consensus"``.
        members: The elites, from which next states are drawn, or all N members.
        reward: Whether r̂ − r counts beside the next observation.
        units: Raw differences, or differences divided by the standard deviations of the training targets.
    """

    truth: DynamicsModel
    max_error: float
    combine: Combine = "mean"
    members: Members = "elites"
    reward: bool = False
    units: Units = "raw"

    def __post_init__(self) -> None:
        """Check every option; a `ConfigError` names the one that is wrong."""
        check_fields(self, check_number, "max_error", above=0.0)
        check_choice("combine", self.combine, Combine)
        check_choice("members", self.members, Members)
        check_choice("units", self.units, Units)
        check_boolean("reward", self.reward)

    def __call__(self, prediction: Prediction, /) -> Float[Tensor, " batch"]:
        """Return u(s, a).

        Raises:
            ConfigError: If T̂ or T does not predict Gaussians, or units are normalised and the model does not know the
                scale of its targets.
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
    """Build the oracle of a task; ``penalty="oracle"`` calls this.

    Args:
        task: The task, whose real environment is the truth.
        transitions: D_env.
        env_id: Another environment than the task's, such as ``"Walker2d-v4"`` for data of version 4.
        max_error: Default: the diagonal of the box around the dataset's observations (and rewards if they count), in
            the penalty's units.
        num_threads: Threads of the simulator; default: as many as PyTorch uses.
        **options: `combine`, `members`, `reward` and `units`, as in `OraclePenalty`; None is its default.

    Raises:
        ConfigError: If the environment cannot be stepped from observations, the task has none, or an option is wrong.
        MissingExtraError: If MuJoCo is not installed.
        SpaceMismatchError: If the widths of the data differ from those of the environment.
    """
    known = {field.name for field in fields(OraclePenalty)} - {"truth"} | {"env_id", "num_threads"}
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ConfigError(f"penalty: the oracle has no option {unknown[0]!r}. Known: {', '.join(sorted(known))}.")
    env_id = task.real_env_id if env_id is None else env_id
    if not isinstance(env_id, str) or env_id not in ROBOTS:
        found = f"{task.label} has none" if env_id is None else f"{env_id} cannot be stepped from observations"
        raise ConfigError(
            f"penalty: the oracle needs the simulator of the data, but {found}. Name one as real_env, --real-env or "
            f"the oracle's env_id, or choose another penalty. Known: {', '.join(sorted(ROBOTS))}."
        )
    truth = TrueDynamics(env_id, num_threads=torch.get_num_threads() if num_threads is None else num_threads)
    remedy = f"So it cannot be the oracle. Are these the data of another task than {task.label}?"
    check_same_widths(transitions, truth, whose=f"those of {env_id}", remedy=remedy)
    given = {name: value for name, value in options.items() if value is not None}
    if max_error is None:
        normalised = given.get("units") == "normalised"
        max_error = _width(transitions, reward=given.get("reward", False), normalised=normalised)
    return OraclePenalty(truth=truth, max_error=max_error, **given)


def _width(transitions: Transitions, *, reward: bool, normalised: bool) -> float:
    """Return the diagonal of the box around the recorded outputs."""
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
