"""A batch of h-step model rollouts that restart where they end: what the vector environments share."""

from typing import NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Discrete
from jaxtyping import Bool, Float32

from mopo_env.checks import check_integer
from mopo_env.errors import InputError
from mopo_env.simulator import Simulator
from mopo_env.spaces import ActionSpace, number_range

__all__ = ["BranchStep", "Branches", "check_actions", "check_array", "new_generator"]


class BranchStep(NamedTuple):
    """One step of every branch, in raw units, after the branches that ended were restarted.

    Attributes:
        observations: What the policy sees next: s′, or the start of the next rollout where one ended.
        final_observations: s′ of every branch.
        rewards: r̃.
        terminations: Whether s′ is terminal.
        truncations: Whether the rollout reached the horizon.
        model_rewards: r̂.
        penalties: u(s, a).
        diverged: Whether the model's answer was not finite.
        returns: Sum of r̃ since the branch started.
        lengths: Steps since the branch started.
    """

    observations: Float32[np.ndarray, "branch observation"]
    final_observations: Float32[np.ndarray, "branch observation"]
    rewards: Float32[np.ndarray, " branch"]
    terminations: Bool[np.ndarray, " branch"]
    truncations: Bool[np.ndarray, " branch"]
    model_rewards: Float32[np.ndarray, " branch"]
    penalties: Float32[np.ndarray, " branch"]
    diverged: Bool[np.ndarray, " branch"]
    returns: Float32[np.ndarray, " branch"]
    lengths: np.ndarray

    @property
    def dones(self) -> Bool[np.ndarray, " branch"]:
        """Whether the branch ended, for either reason."""
        dones: np.ndarray = self.terminations | self.truncations
        return dones


class Branches:
    """b rollouts of at most h steps, side by side.

    A branch that ends restarts at once from a state of the dataset, so every step yields exactly b transitions.
    """

    def __init__(self, simulator: Simulator, *, num_branches: int, horizon: int) -> None:
        """Allocate the branches; call `reset` before the first step.

        Raises:
            ConfigError: If a number is not a positive integer.
        """
        self.simulator = simulator
        self.num_branches = check_integer("num_envs", num_branches)
        self.horizon = check_integer("horizon", horizon)
        self._lengths = np.zeros(num_branches, dtype=np.int64)
        self._returns = np.zeros(num_branches, dtype=np.float32)

    def reset(self, generator: torch.Generator) -> Float32[np.ndarray, "branch observation"]:
        """Start every branch from a state of the dataset."""
        self._generator = generator
        self._observations = self.simulator.reset(self.num_branches, generator)
        self._members = self.simulator.pick_members(self.num_branches, generator)
        self._lengths[:] = 0
        self._returns[:] = 0
        return _to_numpy(self._observations).copy()

    def step(self, actions: np.ndarray) -> BranchStep:
        """Step every branch, and restart those that end.

        Raises:
            InputError: If the actions have the wrong shape or are not finite.
        """
        actions = check_actions("actions", actions, self.simulator.action_space, self.num_branches)
        step = self.simulator.step(
            self._observations,
            torch.from_numpy(actions).to(self.simulator.device),
            self._generator,
            self._members,
        )
        rewards, terminations = _to_numpy(step.rewards), _to_numpy(step.terminations)
        self._lengths += 1
        self._returns += rewards
        returns, lengths = self._returns.copy(), self._lengths.copy()
        truncations = lengths >= self.horizon
        final_observations = _to_numpy(step.next_observations)
        self._observations = step.next_observations
        ended = np.flatnonzero(terminations | truncations)
        if len(ended):
            starts = self.simulator.reset(len(ended), self._generator)
            rows = torch.from_numpy(ended).to(self.simulator.device)
            self._observations = step.next_observations.index_copy(0, rows, starts)
            members = self.simulator.pick_members(len(ended), self._generator)
            if self._members is not None and members is not None:
                self._members = self._members.index_copy(0, rows, members)
            self._lengths[ended] = 0
            self._returns[ended] = 0
        # A copy, so that a caller who writes into what it was given does not move the branches.
        observations = _to_numpy(self._observations).copy()
        return BranchStep(
            observations=observations,
            final_observations=final_observations if len(ended) else observations,
            rewards=rewards,
            terminations=terminations,
            truncations=truncations,
            model_rewards=_to_numpy(step.model_rewards),
            penalties=_to_numpy(step.penalties),
            diverged=_to_numpy(step.diverged),
            returns=returns,
            lengths=lengths,
        )


def new_generator(np_random: np.random.Generator, device: torch.device) -> torch.Generator:
    """Derive a torch generator from an environment's own, so that its seed decides every draw."""
    return torch.Generator(device).manual_seed(int(np_random.integers(2**63 - 1)))


def check_actions(name: str, values: np.ndarray, space: ActionSpace, *batch: int) -> np.ndarray:
    """Return actions as the simulator takes them: float32, or int64 where the space numbers them.

    Args:
        name: What to call them in a message.
        values: What a policy chose.
        space: Of one action.
        *batch: How many actions there are; nothing: a single one.

    Raises:
        InputError: If the shape is another, a value is not a finite number, or there is no action of that number.
    """
    if not isinstance(space, Discrete):
        return check_array(name, values, (*batch, *space.shape))
    array, (first, last) = np.asarray(values), number_range(space)
    if array.shape != batch or array.dtype.kind not in "iu":
        raise InputError(f"{name}: found shape {array.shape} of type {array.dtype}, expected {batch} of integers.")
    if array.size and (array.min() < first or array.max() > last):
        wrong = array[(array < first) | (array > last)]
        raise InputError(f"{name}: expected whole numbers from {first} to {last}, found {wrong.flat[0]}.")
    return array.astype(np.int64)


def check_array(name: str, values: np.ndarray, shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
    """Return an action or an observation as float32.

    Raises:
        InputError: If its shape is another, or a value is not a finite number.
    """
    array = np.asarray(values)
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise InputError(f"{name}: found shape {array.shape} of type {array.dtype}, expected {shape} of real numbers.")
    with np.errstate(over="ignore"):
        # A copy, so that a caller who writes into its array later does not move what was made of it.
        converted = np.array(array, dtype=np.float32, order="C")
    finite = np.isfinite(converted)
    if not finite.all():
        raise InputError(f"{name}: every number must be finite in float32, found {array[~finite][:3].tolist()}.")
    return converted


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
