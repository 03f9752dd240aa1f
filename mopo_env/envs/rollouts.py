"""A batch of h-step model rollouts that restart where they end: what the vector environments share."""

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from mopo_env._utils.arrays import check_actions, check_array
from mopo_env._utils.devices import perhaps_any
from mopo_env._utils.options import check_integer
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import UnknownNameError

__all__ = ["RolloutStep", "Rollouts", "given_starts"]

Array = TypeVar("Array", Tensor, np.ndarray)


class RolloutStep(NamedTuple, Generic[Array]):
    """One step of every rollout, in raw units, after the rollouts that ended were restarted.

    Attributes:
        observations: What the policy sees next: s′, or the start of the next rollout where one ended.
        final_observations: s′ of every rollout.
        rewards: r̃.
        terminations: Whether s′ is terminal.
        truncations: Whether the rollout reached the horizon.
        model_rewards: r̂.
        penalties: u(s, a).
        diverged: Whether the model's answer was not finite.
        returns: Sum of r̃ since the rollout started.
        lengths: Steps since the rollout started.
    """

    observations: Array
    final_observations: Array
    rewards: Array
    terminations: Array
    truncations: Array
    model_rewards: Array
    penalties: Array
    diverged: Array
    returns: Array
    lengths: Array

    @property
    def dones(self) -> Array:
        """Whether the rollout ended, for either reason."""
        dones: Array = self.terminations | self.truncations
        return dones


class Rollouts:
    """b rollouts of at most h steps, side by side.

    A rollout that ends restarts at once from a state of the dataset, so every step yields exactly b transitions. All
    that is kept between two steps lies on the model's device, and no step waits for a number of it.

    Attributes:
        observations: What the policy sees next, shape ``(rollout, observation)``, raw units.
    """

    observations: Float[Tensor, "rollout observation"]

    def __init__(self, penalized_model: PenalizedModel, *, num_rollouts: int, horizon: int) -> None:
        """Allocate the rollouts; call `reset` before the first step.

        Raises:
            ConfigError: If a number is not a positive integer.
        """
        self.penalized_model = penalized_model
        self.num_rollouts = check_integer("num_envs", num_rollouts)
        self.horizon = check_integer("horizon", horizon)

    def reset(
        self, generator: torch.Generator, starts: np.ndarray | None = None
    ) -> Float32[np.ndarray, "rollout observation"]:
        """Start every rollout from a state of the dataset, or from the states given."""
        self._generator = generator
        if starts is None:
            self.observations = self.penalized_model.reset(self.num_rollouts, generator)
        else:
            self.observations = torch.from_numpy(starts).to(self.penalized_model.device)
        self._members = self.penalized_model.pick_members(self.num_rollouts, generator)
        self._lengths = torch.zeros(self.num_rollouts, dtype=torch.int64, device=self.penalized_model.device)
        self._returns = torch.zeros(self.num_rollouts, device=self.penalized_model.device)
        return _to_numpy(self.observations)

    def step(self, actions: np.ndarray) -> RolloutStep[np.ndarray]:
        """Step every rollout, and restart those that end.

        Raises:
            InputError: If the actions have the wrong shape or are not finite.
        """
        actions = check_actions("actions", actions, self.penalized_model.action_space, self.num_rollouts)
        step = self.advance(torch.from_numpy(actions).to(self.penalized_model.device))
        return RolloutStep(*(_to_numpy(tensor) for tensor in step))

    def advance(self, actions: Float[Tensor, "rollout action"] | Int64[Tensor, " rollout"]) -> RolloutStep[Tensor]:
        """Step every rollout, and restart those that end: what `step` does, for those who do not leave the device.

        Nothing is checked. The rollouts go on from the `observations` returned: they must not be written to.
        """
        step = self.penalized_model.step(self.observations, actions, self._generator, self._members)
        lengths, returns = self._lengths + 1, self._returns + step.rewards
        truncations = lengths >= self.horizon
        ended = step.terminations | truncations
        self.observations = step.next_observations
        self._lengths, self._returns = lengths, returns
        if perhaps_any(ended):
            self._restart(ended)
        return RolloutStep(
            observations=self.observations,
            final_observations=step.next_observations,
            rewards=step.rewards,
            terminations=step.terminations,
            truncations=truncations,
            model_rewards=step.model_rewards,
            penalties=step.penalties,
            diverged=step.diverged,
            returns=returns,
            lengths=lengths,
        )

    def _restart(self, ended: Bool[Tensor, " rollout"]) -> None:
        """Start some rollouts anew. Draws are made for all of them, since to count those that ended is to wait."""
        starts = self.penalized_model.reset(self.num_rollouts, self._generator)
        self.observations = torch.where(ended[:, None], starts, self.observations)
        members = self.penalized_model.pick_members(self.num_rollouts, self._generator)
        if self._members is not None and members is not None:
            self._members = torch.where(ended, members, self._members)
        self._lengths, self._returns = self._lengths.masked_fill(ended, 0), self._returns.masked_fill(ended, 0.0)


def given_starts(options: Mapping[str, Any] | None, *shape: int) -> np.ndarray | None:
    """Return the start states that the options of a `reset` name, or None.

    Raises:
        UnknownNameError: If there is another option than ``"observation"``.
        InputError: If the states have another shape, or are not finite.
    """
    options = options or {}
    for name in options.keys() - {"observation"}:
        raise UnknownNameError("option of reset", name, ["observation"])
    starts = options.get("observation")
    return None if starts is None else check_array("observation", starts, shape)


def _to_numpy(tensor: Tensor) -> np.ndarray:
    # A copy, so that a caller who writes into what it was given does not move the rollouts.
    return tensor.cpu().numpy().copy()
