"""The batched core: one step of the uncertainty-penalised MDP, M̃ in the paper.

It joins the model, the penalty, the termination rule and the random numbers. The environments around it only count
steps.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from mopo_env._utils.arrays import check_same_widths
from mopo_env._utils.devices import perhaps_any
from mopo_env._utils.options import MemberPer, OnExit, PenaltyCoef, check_boolean, check_choice, check_number
from mopo_env._utils.spaces import ActionSpace, finite_box
from mopo_env.envs.envelope import NON_FINITE, check_penalties, check_rows, learn_envelope, penalties_on_data
from mopo_env.errors import ConfigError, InputError
from mopo_env.models.protocol import DynamicsModel, GaussianPrediction, Prediction, pick_members
from mopo_env.penalties import Penalty, get_penalty
from mopo_env.penalties.conformal import conformal_coef
from mopo_env.terminations import Termination, get_termination, never
from mopo_env.transitions import Transitions


class ModelStep(NamedTuple):
    """One step of a batch. Every number is finite and in raw units.

    Attributes:
        next_observations: s′, drawn from the model.
        rewards: r̃ = r̂ − λ·u.
        terminations: Whether the episode ends: by the termination rule, or by leaving the envelope.
        truncations: Whether it ends without an end of the task: leaving the envelope, if that truncates.
        model_rewards: r̂, the reward that the model predicts.
        penalties: u(s, a).
        exits: Why the step left the envelope: an index into `mopo_env.envs.envelope.EXITS`; 0: it did not.
    """

    next_observations: Float[Tensor, "batch observation"]
    rewards: Float[Tensor, " batch"]
    terminations: Bool[Tensor, " batch"]
    truncations: Bool[Tensor, " batch"]
    model_rewards: Float[Tensor, " batch"]
    penalties: Float[Tensor, " batch"]
    exits: Int64[Tensor, " batch"]


class PenalizedModel:
    """Starts in states of the dataset, steps through a learned model, and pays r̃ = r̂ − λ·u(s, a).

    It keeps no state between calls: the caller keeps the observations and the random generator. Every argument is an
    attribute of the same name, but for those that the envelope holds; `penalty` and `termination` are then callables.

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
        penalty_coef: PenaltyCoef | None = None,
        mean_penalty: float | None = None,
        termination: str | Termination = never,
        member_per: MemberPer = "step",
        deterministic: bool = False,
        envelope_margin: float | None = None,
        envelope_quantile: float | None = None,
        exit_reward: float | None = None,
        on_exit: OnExit = "terminate",
    ) -> None:
        """Join a model and a dataset.

        The defaults are the paper's M̃ at λ = 1. `make_penalized_model` has this package's choices.

        Args:
            model: T̂, any `DynamicsModel`.
            transitions: D_env, the dataset. It gives the start states and the spaces.
            penalty: u: a name in `mopo_env.penalties.PENALTIES`, a mapping of its name and options, or a callable.
            penalty_coef: λ, zero or more; default: 1. ``"conformal"``: the λ with which λ·u bounds the model's error on
                nine of ten rows of the data; see `mopo_env.penalties.conformal.conformal_coef`.
            mean_penalty: The mean of λ·u on the data, instead of `penalty_coef`. The units of u do not matter to it.
            termination: A name in `mopo_env.terminations.TERMINATIONS`, or a callable.
            member_per: ``"step"`` picks an elite for every step (TS-1), as the paper does; ``"rollout"`` picks one for
                a whole rollout (TS-∞).
            deterministic: Whether to step to the mean of the picked elite instead of drawing from it.
            envelope_margin: As in `learn_envelope`, like the next three: how far a rollout may leave the data's range.
            envelope_quantile: Which quantile of u on the data a rollout may not exceed. 1 with `exit_reward` is the
                halting of MOReL (Kidambi et al., 2020).
            exit_reward: The price of leaving the envelope.
            on_exit: Whether leaving terminates the episode, or truncates it, so that agents bootstrap.

        Raises:
            SpaceMismatchError: If the widths of the model differ from those of the dataset.
            ConfigError: If an option is wrong, or needs members that the model does not have.
        """
        remedy = "Fit an ensemble on this dataset, or pass the dataset that the model was fitted on."
        check_same_widths(transitions, model, whose="the model was made for", remedy=remedy)
        self.model = model
        self.transitions = transitions
        self.penalty = get_penalty(penalty)
        self.termination = get_termination(termination)
        self.member_per: MemberPer = check_choice("member_per", member_per, MemberPer)
        self.deterministic = check_boolean("deterministic", deterministic)
        needs_members = self.deterministic or self.member_per == "rollout"
        if needs_members and not isinstance(getattr(model, "elites", None), Tensor):
            found = f"found a {type(model).__name__} without elites"
            raise ConfigError(f"deterministic, member_per: need a model with members, {found}.")
        penalties = penalties_on_data(transitions, model, self.penalty)
        if isinstance(penalty_coef, str) and mean_penalty is None:
            check_choice("penalty_coef", penalty_coef, Literal["conformal"])
            penalty_coef = conformal_coef(model, transitions, self.penalty)
        self.penalty_coef = _penalty_coef(penalty_coef, mean_penalty, penalties)
        self.observation_space: Box = finite_box(transitions.observation_space)
        self.action_space: ActionSpace = transitions.action_space
        self._start_observations = torch.tensor(transitions.observations, device=model.device)
        self.envelope = learn_envelope(
            transitions,
            penalties,
            penalty_coef=self.penalty_coef,
            margin=envelope_margin,
            quantile=envelope_quantile,
            exit_reward=exit_reward,
            on_exit=on_exit,
            device=model.device,
        )
        # What leaves the envelope is clipped to its edge, so that agents never see a number without bound.
        space, envelope = transitions.observation_space, self.envelope
        self._observation_bounds = (
            torch.maximum(envelope.low[:-1], torch.tensor(space.low, device=model.device)),
            torch.minimum(envelope.high[:-1], torch.tensor(space.high, device=model.device)),
        )
        if isinstance(self.action_space, Box):
            edges = (self.action_space.low, self.action_space.high)
            self._action_bounds = [torch.tensor(edge, device=model.device) for edge in edges]

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
        if isinstance(self.action_space, Box):
            actions = torch.clamp(actions, *self._action_bounds)
        prediction = self.model.predict(observations, self._encode(actions))
        next_observations, model_rewards = self._draw(prediction, generator, members)
        penalties = check_penalties(self.penalty(prediction), len(actions))
        rewards = model_rewards - self.penalty_coef * penalties

        envelope = self.envelope
        exits = envelope.exits(next_observations, model_rewards, penalties)
        left = exits > 0
        if perhaps_any(left):
            broken = exits == NON_FINITE
            next_observations = torch.where(broken[:, None], observations, next_observations)
            model_rewards = torch.where(broken, envelope.lowest_reward, model_rewards)
            penalties = torch.where(broken, envelope.largest_penalty, penalties)
            rewards = torch.where(left, envelope.exit_reward, rewards)
        next_observations = torch.clamp(next_observations, *self._observation_bounds)
        terminations = self.termination(observations, actions, next_observations)
        terminations = check_rows("termination", terminations, len(actions), torch.bool)
        truncations = torch.zeros_like(left) if envelope.terminates else left & ~terminations
        terminations = terminations | left if envelope.terminates else terminations
        return ModelStep(next_observations, rewards, terminations, truncations, model_rewards, penalties, exits)

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


def _penalty_coef(penalty_coef: PenaltyCoef | None, mean_penalty: float | None, penalties: np.ndarray) -> float:
    """Return λ."""
    if mean_penalty is None:
        return 1.0 if penalty_coef is None else check_number("penalty_coef", penalty_coef, minimum=0.0)
    if penalty_coef is not None:
        raise ConfigError("penalty_coef, mean_penalty: found both. Each decides λ; leave one out.")
    mean, wanted = float(penalties.mean()), check_number("mean_penalty", mean_penalty, minimum=0.0)
    if mean == 0.0 and wanted:
        raise ConfigError(f"mean_penalty: found {wanted:g}, but u is 0 everywhere on the data. Choose another penalty.")
    return wanted / mean if wanted else 0.0
