"""The batched core: one step of the uncertainty-penalised MDP, M̃ in the paper.

It joins the model, the penalty, the termination rule and the random numbers. The environments around it only count
steps.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from mopo_env._utils.arrays import check_same_widths
from mopo_env._utils.devices import certainly_any, perhaps_any
from mopo_env._utils.options import MemberPer, check_boolean, check_choice, check_number
from mopo_env._utils.spaces import ActionSpace, finite_box
from mopo_env.errors import ConfigError, InputError
from mopo_env.models.protocol import DynamicsModel, GaussianPrediction, Prediction, pick_members
from mopo_env.penalties import Penalty, get_penalty
from mopo_env.terminations import Termination, get_termination, never
from mopo_env.transitions import Transitions

__all__ = ["ModelStep", "PenalizedModel"]

# Σₜ γᵗ for γ = 0.99, the discount of the paper's code and of Stable-Baselines3's agents.
_FOREVER = 100.0


class ModelStep(NamedTuple):
    """One step of a batch. Every number is finite and in raw units.

    Attributes:
        next_observations: s′, drawn from the model.
        rewards: r̃ = r̂ − λ·u.
        terminations: Whether the episode ends: by the termination rule, by the halt threshold, or by divergence.
        model_rewards: r̂, the reward that the model predicts.
        penalties: u(s, a).
        diverged: Whether the prediction was non-finite.
    """

    next_observations: Float[Tensor, "batch observation"]
    rewards: Float[Tensor, " batch"]
    terminations: Bool[Tensor, " batch"]
    model_rewards: Float[Tensor, " batch"]
    penalties: Float[Tensor, " batch"]
    diverged: Bool[Tensor, " batch"]


class PenalizedModel:
    """Starts in states of the dataset, steps through a learned model, and pays r̃ = r̂ − λ·u(s, a).

    It keeps no state between calls: the caller keeps the observations and the random generator. Every argument is an
    attribute of the same name; `penalty` and `termination` are then callables.

    Attributes:
        observation_space: The dataset's, with finite bounds.
        action_space: The dataset's.
    """

    def __init__(
        self,
        model: DynamicsModel,
        transitions: Transitions,
        *,
        penalty: str | Mapping[str, Any] | Penalty = "learned-variance",
        penalty_coef: float = 1.0,
        termination: str | Termination = never,
        member_per: MemberPer = "step",
        deterministic: bool = False,
        halt_threshold: float | None = None,
        halt_reward: float | None = None,
    ) -> None:
        """Join a model and a dataset.

        Args:
            model: T̂, any `DynamicsModel`.
            transitions: D_env, the dataset. It gives the start states and the spaces.
            penalty: u: a name in `mopo_env.penalties.PENALTIES`, a mapping of its name and options, or a callable.
            penalty_coef: λ, zero or more.
            termination: A name in `mopo_env.terminations.TERMINATIONS`, or a callable.
            member_per: ``"step"`` picks an elite for every step (TS-1), as the paper does; ``"rollout"`` picks one for
                a whole rollout (TS-∞).
            deterministic: Whether to step to the mean of the picked elite instead of drawing from it.
            halt_threshold: If u(s, a) is larger, the episode ends and pays `halt_reward` instead of r̃, as in MOReL
                (Kidambi et al., 2020); None: never.
            halt_reward: Default: −100 times the largest |r| of the dataset. MOReL's halting state pays −R_max in every
                later step, which adds up to this at a discount of 0.99.

        Raises:
            SpaceMismatchError: If the widths of the model differ from those of the dataset.
            ConfigError: If an option is wrong, or needs members that the model does not have.
        """
        remedy = "Fit an ensemble on this dataset, or pass the dataset that the model was fitted on."
        check_same_widths(transitions, model, whose="the model was made for", remedy=remedy)
        self.model = model
        self.transitions = transitions
        self.penalty = get_penalty(penalty)
        self.penalty_coef = check_number("penalty_coef", penalty_coef, minimum=0.0)
        self.termination = get_termination(termination)
        self.member_per: MemberPer = check_choice("member_per", member_per, MemberPer)
        self.deterministic = check_boolean("deterministic", deterministic)
        needs_members = self.deterministic or self.member_per == "rollout"
        if needs_members and not isinstance(getattr(model, "elites", None), Tensor):
            found = f"found a {type(model).__name__} without elites"
            raise ConfigError(f"deterministic, member_per: need a model with members, {found}.")
        self.halt_threshold = None if halt_threshold is None else check_number("halt_threshold", halt_threshold)
        largest = float(np.abs(transitions.rewards).max())
        self.halt_reward = -_FOREVER * largest if halt_reward is None else check_number("halt_reward", halt_reward)
        self.observation_space: Box = finite_box(transitions.observation_space)
        self.action_space: ActionSpace = transitions.action_space
        self._start_observations = torch.tensor(transitions.observations, device=model.device)
        # The reward of a non-finite prediction: the lowest of the dataset, so that divergence is never rewarded.
        self._lowest_reward = float(transitions.rewards.min())
        self._observation_bounds = _bounds(transitions.observation_space, model.device)
        self._action_bounds = (
            None if isinstance(self.action_space, Discrete) else _bounds(self.action_space, model.device)
        )

    @property
    def device(self) -> torch.device:
        """The device of the model, and of all tensors passed and returned."""
        return self.model.device

    def reset(self, num_rows: int, generator: torch.Generator) -> Float[Tensor, "batch observation"]:
        """Draw start states uniformly from the dataset (paper, Algorithm 2, line 5)."""
        rows = torch.randint(len(self._start_observations), (num_rows,), generator=generator, device=self.device)
        return self._start_observations[rows]

    def pick_members(self, num_rows: int, generator: torch.Generator) -> Int64[Tensor, " batch"] | None:
        """Draw the elite of each new rollout; None if every step picks its own."""
        if self.member_per == "step":
            return None
        elites: Tensor = self.model.elites  # type: ignore[attr-defined]  # checked at the start
        return pick_members(elites, num_rows, generator)

    @torch.no_grad()
    def step(
        self,
        observations: Float[Tensor, "batch observation"],
        actions: Float[Tensor, "batch action"] | Int64[Tensor, " batch"],
        generator: torch.Generator,
        members: Int64[Tensor, " batch"] | None = None,
    ) -> ModelStep:
        """Draw next states and pay the penalised rewards (paper, Algorithm 2, lines 8 and 9).

        Args:
            observations: s, raw units.
            actions: a, raw units, clipped to the action space as in the real environments. Discrete actions are
                integers. The model and the penalty receive them one-hot, the termination rule as integers.
            generator: Draws the member and the noise of each row.
            members: The result of `pick_members` when the rollouts started.

        Raises:
            InputError: If `member_per` is ``"rollout"`` and no members are given.
            ConfigError: If the penalty or the rule does not return one value for each row, or the rule's values are
                not booleans. On the CPU also if a penalty is negative; a GPU would have to synchronise for this check.
        """
        actions = _clip(actions, self._action_bounds)
        prediction = self.model.predict(observations, self._encode(actions))
        next_observations, model_rewards = self._draw(prediction, generator, members)
        penalties = _check_rows("penalty", self.penalty(prediction), len(actions))
        if certainly_any(penalties < 0):
            raise ConfigError(
                f"penalty: returned {float(penalties.min()):g}, expected 0 or more: a negative penalty would reward "
                "uncertainty. Add a constant, or take the absolute value."
            )
        rewards = model_rewards - self.penalty_coef * penalties

        diverged = ~(rewards.isfinite() & next_observations.isfinite().all(dim=1))
        if perhaps_any(diverged):
            next_observations = torch.where(diverged[:, None], observations, next_observations)
            model_rewards = torch.where(diverged, self._lowest_reward, model_rewards)
            penalties = torch.where(diverged, 0.0, penalties)
            rewards = torch.where(diverged, self._lowest_reward, rewards)
        next_observations = _clip(next_observations, self._observation_bounds)
        terminations = self.termination(observations, actions, next_observations)
        terminations = _check_rows("termination", terminations, len(actions), torch.bool) | diverged
        if self.halt_threshold is not None:
            halted = penalties > self.halt_threshold
            rewards, terminations = torch.where(halted, self.halt_reward, rewards), terminations | halted
        return ModelStep(next_observations, rewards, terminations, model_rewards, penalties, diverged)

    def _encode(self, actions: Tensor) -> Float[Tensor, "batch action"]:
        """Return the actions as the model sees them: the same encoding as `Transitions.encoded_actions`."""
        if not isinstance(self.action_space, Discrete):
            return actions
        numbers = actions - int(self.action_space.start)
        return functional.one_hot(numbers, int(self.action_space.n)).to(torch.float32)

    def _draw(
        self, prediction: Prediction, generator: torch.Generator, members: Int64[Tensor, " batch"] | None
    ) -> tuple[Float[Tensor, "batch observation"], Float[Tensor, " batch"]]:
        if members is None and self.member_per == "rollout":
            raise InputError("members: found None, expected the result of pick_members, since member_per is 'rollout'.")
        if members is None and not self.deterministic:
            return prediction.sample(generator)
        if not isinstance(prediction, GaussianPrediction):
            raise ConfigError(
                f"deterministic, member_per: need a GaussianPrediction, the model gave a {type(prediction).__name__}."
            )
        if members is None:
            members = pick_members(prediction.elites, len(prediction.observations), generator)
        return prediction.sample_from(members, None if self.deterministic else generator)


def _check_rows(name: str, values: Any, num_rows: int, dtype: torch.dtype | None = None) -> Tensor:
    """Refuse values of a user's penalty or rule that are not one for each row: they would broadcast silently."""
    if not isinstance(values, Tensor) or values.shape != (num_rows,) or values.dtype != (dtype or values.dtype):
        found = f"shape {tuple(values.shape)} of {values.dtype}" if isinstance(values, Tensor) else repr(values)
        of = "" if dtype is None else f" of {dtype}"
        raise ConfigError(f"{name}: returned {found}, expected a tensor of one value a row, shape ({num_rows},){of}.")
    return values


def _bounds(space: Box, device: torch.device) -> tuple[Tensor, Tensor] | None:
    """Return the bounds for clipping, or None if the space is unbounded."""
    if not (space.bounded_below.any() or space.bounded_above.any()):
        return None
    return torch.tensor(space.low, device=device), torch.tensor(space.high, device=device)


def _clip(values: Tensor, bounds: tuple[Tensor, Tensor] | None) -> Tensor:
    return values if bounds is None else torch.clamp(values, *bounds)
