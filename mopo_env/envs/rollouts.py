"""A batch of h-step model rollouts that restart when they end; the vector environments share it."""

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from mopo_env._utils.arrays import check_actions, check_array
from mopo_env._utils.devices import perhaps_any
from mopo_env._utils.options import check_integer
from mopo_env.envs.penalized_model import ModelStep, PenalizedModel
from mopo_env.errors import ConfigError, UnknownNameError

Array = TypeVar("Array", Tensor, np.ndarray)


class RolloutStep(NamedTuple, Generic[Array]):
    """One step of every rollout, in raw units. Rollouts that ended have been restarted.

    Attributes:
        observations: The next input of the policy: s′, or the start of the next rollout if one ended.
        final_observations: s′ of every rollout.
        rewards: r̃.
        terminations: Whether s′ is terminal.
        truncations: Whether the rollout reached the horizon, or left the envelope where that truncates.
        model_rewards: r̂.
        penalties: u(s, a).
        exits: Why the step left the envelope: an index into `mopo_env.envs.envelope.EXITS`; 0: it did not.
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
    exits: Array
    returns: Array
    lengths: Array

    @property
    def dones(self) -> Array:
        """Whether the rollout ended, for either reason."""
        dones: Array = self.terminations | self.truncations
        return dones


class Rollouts:
    """b parallel rollouts of at most h steps.

    A rollout that ends restarts at once from a state of the dataset, so every step yields exactly b transitions. All
    state stays on the model's device, and `advance` never synchronises with a GPU.

    Attributes:
        observations: The next input of the policy, shape ``(rollout, observation)``, raw units.
    """

    observations: Float[Tensor, "rollout observation"]

    def __init__(self, penalized_model: PenalizedModel, *, num_rollouts: int, horizon: int) -> None:
        """Join a model and the size of its rollouts. Call `reset` before the first step.

        Raises:
            ConfigError: If a number is not a positive integer.
        """
        self.penalized_model = penalized_model
        self.num_rollouts = check_integer("num_envs", num_rollouts)
        self.horizon = check_integer("horizon", horizon)

    def reset(
        self, generator: torch.Generator, starts: np.ndarray | None = None
    ) -> Float32[np.ndarray, "rollout observation"]:
        """Start every rollout from a state of the dataset, or from the given states."""
        self._generator, device = generator, self.penalized_model.device
        if starts is None:
            self.observations = self.penalized_model.reset(self.num_rollouts, generator)
        else:
            self.observations = torch.from_numpy(starts).to(device)
        self._members = self.penalized_model.pick_members(self.num_rollouts, generator)
        self._lengths = torch.zeros(self.num_rollouts, dtype=torch.int64, device=device)
        self._returns = torch.zeros(self.num_rollouts, device=device)
        return _to_numpy(self.observations)

    def restart(self, rows: np.ndarray) -> Float32[np.ndarray, "rollout observation"]:
        """Start some rollouts anew, and return the observations of all."""
        self._restart(torch.from_numpy(rows).to(self.penalized_model.device))
        return _to_numpy(self.observations)

    def get_state(self) -> dict[str, Tensor]:
        """Return all that the next steps depend on, but for the generator; `set_state` continues from it."""
        state = {"observations": self.observations, "lengths": self._lengths, "returns": self._returns}
        return state if self._members is None else {**state, "members": self._members}

    def set_state(self, state: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """Continue from a state of rollouts of the same size. The tensors may be on any device."""
        tensors = {name: tensor.to(self.penalized_model.device) for name, tensor in state.items()}
        self.observations, self._generator = tensors["observations"], generator
        self._lengths, self._returns = tensors["lengths"], tensors["returns"]
        self._members = tensors.get("members")

    def step(self, actions: np.ndarray, held: np.ndarray | None = None) -> RolloutStep[np.ndarray]:
        """Step every rollout, and restart those that end.

        Args:
            actions: a of every rollout, raw units.
            held: Rollouts that stay where they are in this step; their row of it is without reward and end.

        Raises:
            InputError: If the actions have the wrong shape or are not finite.
        """
        actions = check_actions("actions", actions, self.penalized_model.action_space, self.num_rollouts)
        device = self.penalized_model.device
        waiting = None if held is None else torch.from_numpy(held).to(device)
        step = self.advance(torch.from_numpy(actions).to(device), waiting)
        return RolloutStep(*(_to_numpy(tensor) for tensor in step))

    def advance(
        self,
        actions: Float[Tensor, "rollout action"] | Int64[Tensor, " rollout"],
        held: Bool[Tensor, " rollout"] | None = None,
    ) -> RolloutStep[Tensor]:
        """Do what `step` does with tensors on the model's device, without checks.

        The rollouts continue from the returned `observations`, so the caller must not write to them.
        """
        step = self.penalized_model.step(self.observations, actions, self._generator, self._members)
        if held is not None:
            return self._advance_others(step, held)
        return self._record(step)

    def _advance_others(self, step: ModelStep, held: Bool[Tensor, " rollout"]) -> RolloutStep[Tensor]:
        """Do the step of those rollouts that are not held."""
        zeros = {name: getattr(step, name).masked_fill(held, 0) for name in step._fields[1:]}
        here = torch.where(held[:, None], self.observations, step.next_observations)
        self._lengths = self._lengths - held.long()  # what follows counts a step of every rollout
        return self._record(ModelStep(here, **zeros))

    def _record(self, step: ModelStep) -> RolloutStep[Tensor]:
        """Count a step of every rollout, and restart those that end."""
        lengths, returns = self._lengths + 1, self._returns + step.rewards
        truncations = (lengths >= self.horizon) | step.truncations
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
            exits=step.exits,
            returns=returns,
            lengths=lengths,
        )

    def _restart(self, ended: Bool[Tensor, " rollout"]) -> None:
        """Restart some rollouts. Starts are drawn for all of them: counting the ended ones would synchronise."""
        starts = self.penalized_model.reset(self.num_rollouts, self._generator)
        self.observations = torch.where(ended[:, None], starts, self.observations)
        members = self.penalized_model.pick_members(self.num_rollouts, self._generator)
        if self._members is not None and members is not None:
            self._members = torch.where(ended, members, self._members)
        self._lengths, self._returns = self._lengths.masked_fill(ended, 0), self._returns.masked_fill(ended, 0.0)


def given_starts(options: Mapping[str, Any] | None, *shape: int) -> np.ndarray | None:
    """Return the start states in the options of a `reset`, or None.

    Raises:
        UnknownNameError: If there is an option other than ``"observation"``.
        InputError: If the states have the wrong shape, or are not finite.
    """
    options = options or {}
    for name in options.keys() - {"observation"}:
        raise UnknownNameError("option of reset", name, ["observation"])
    starts = options.get("observation")
    return None if starts is None else check_array("observation", starts, shape)


def refuse_rendering(render_mode: str | None) -> None:
    """Refuse a render mode; Gymnasium passes None where none was chosen.

    Raises:
        ConfigError: If one was chosen.
    """
    if render_mode is not None:
        raise ConfigError(
            f"render_mode: found {render_mode!r}, but nothing can be drawn here. Leave it out; the environments of "
            "MuJoCo's robots can draw if they are made one at a time."
        )


def _to_numpy(tensor: Tensor) -> np.ndarray:
    # A copy, so that a caller may write into it without changing the rollouts.
    return tensor.cpu().numpy().copy()
