"""A lower bound of the return from the model, and what it takes (MOPO, Lemma 4.1 and equation 7).

If (s′, r) of the model's step is within e(s, a) of the truth, both deterministic, and the policy's true value V changes
by at most L‖s − s̃‖₂ between two states, then a step in the model instead of the truth costs at most
``|r̂ − r| + γL‖ŝ′ − s′‖₂ ≤ √(1 + γ²L²)·e(s, a)``. Summed along the model's own episode,

    η(π) ≥ Σₜ γᵗ (r̂ₜ − c·e(sₜ, aₜ)),  c = √(1 + γ²L²):

the return in the penalised model with λu = c·e. Nothing is asked of the data or of the truth elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mopo_agents.evaluation import Policy
from mopo_agents.trust.critics import critic_slopes
from mopo_agents.trust.model_returns import model_returns
from mopo_agents.trust.score import PolicyScore
from mopo_env._utils.options import CONFORMAL_COVERAGE, DEFAULT_MARGIN, DEFAULT_PENALTY, DEFAULT_QUANTILE
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.penalties import Penalty
from mopo_env.penalties.conformal import one_step_errors
from mopo_env.terminations import Termination, never
from mopo_env.transitions import Transitions


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """What a bound takes for granted.

    Attributes:
        text: The assumption.
        evidence: What the data or the model say of it.
        holds: Whether that agrees with it; None if nothing here can tell.
    """

    text: str
    evidence: str
    holds: bool | None


@dataclass(frozen=True, kw_only=True)
class LowerBound:
    """A discounted return from first states, and a bound that holds only where its assumptions do.

    Attributes:
        estimate: Mean Σ γᵗ r̂ of the elites' means, until an episode leaves the envelope.
        bound: Mean Σ γᵗ (r̂ − c·e).
        worst: The lowest reward of the data for ever. A bound below it says nothing.
        assumptions: What it takes.
    """

    estimate: float
    bound: float
    worst: float
    assumptions: tuple[Assumption, ...] = ()

    @property
    def is_vacuous(self) -> bool:
        """Whether the bound says no more than the lowest reward for ever."""
        return self.bound <= self.worst


def error_weight(gamma: float, slope: float) -> float:
    """Return c = √(1 + γ²L²): what an error of 1 in (s′, r) can cost."""
    return math.hypot(1.0, gamma * slope)


def bounded_return(
    policy: Policy,
    model: Any,
    transitions: Transitions,
    *,
    penalty: Penalty,
    error_coef: float,
    slope: float,
    horizon: int,
    gamma: float,
    termination: Termination = never,
    num_starts: int = 10,
    seed: int = 0,
) -> LowerBound:
    """Play the policy in the model that pays r̂ − c·e, and return the bound without its assumptions.

    Args:
        policy: What chooses the actions.
        model: A model with members; each of them steps to its means.
        transitions: First states, and the lowest reward. What follows the horizon or an exit is taken to pay it for
            ever.
        penalty: u.
        error_coef: λ with e = λ·u.
        slope: L.
        horizon: Steps of an episode.
        gamma: The discount.
        termination: The rule that ends episodes.
        num_starts: Episodes of every member.
        seed: Of the starts.
    """
    worst = float(transitions.rewards.min()) / (1.0 - gamma)
    priced = PenalizedModel(
        model,
        transitions,
        penalty=penalty,
        penalty_coef=error_weight(gamma, slope) * error_coef,
        termination=termination,
        deterministic=True,
        envelope_margin=DEFAULT_MARGIN,
        envelope_quantile=DEFAULT_QUANTILE,
        exit_reward=worst,
        on_exit="terminate",
    )
    found = model_returns(policy, priced, horizon=horizon, num_starts=num_starts, gamma=gamma, seed=seed)
    rest = np.where(found.unfinished, gamma**horizon * worst, 0.0).mean()
    return LowerBound(
        estimate=float(found.discounted.mean()), bound=float(found.discounted_penalized.mean() + rest), worst=worst
    )


def lower_bound(
    policy: Policy,
    penalized_model: PenalizedModel,
    score: PolicyScore,
    *,
    horizon: int,
    gamma: float,
    num_starts: int = 10,
    seed: int = 0,
) -> LowerBound | None:
    """Estimate the bound of a policy; None if its critic has no slope.

    e is the conformal bound of the model's error, λ·u with the default penalty. L is the largest slope of the critic on
    19 of 20 states that the policy visits in the model. Both are estimates, so the result is no proof.

    Args:
        policy: A policy with a critic.
        penalized_model: Its model, whose fit left a hold-out.
        score: What a `PolicyScorer` said of it.
        horizon: As in `bounded_return`, like the next three.
        gamma: The discount.
        num_starts: Episodes of every member.
        seed: Of the starts.

    Raises:
        ConfigError: If the model has no hold-out for `conformal_coef`.
    """
    data, model, termination = penalized_model.transitions, penalized_model.model, penalized_model.termination
    calibrated = PenalizedModel(
        model, data, penalty=DEFAULT_PENALTY, penalty_coef="conformal", termination=termination, deterministic=True
    )
    sizes: dict[str, Any] = {"num_starts": num_starts, "gamma": gamma, "seed": seed}
    slopes = critic_slopes(policy, model_returns(policy, calibrated, horizon=50, **sizes).visited_observations)
    if slopes is None:
        return None
    slope = float(np.quantile(slopes, 0.95))
    found = bounded_return(
        policy,
        model,
        data,
        penalty=calibrated.penalty,
        error_coef=calibrated.penalty_coef,
        slope=slope,
        horizon=horizon,
        termination=termination,
        **sizes,
    )
    rows = np.array(getattr(model, "metadata", {})["holdout_rows"])
    errors, penalties = one_step_errors(model, data, rows, calibrated.penalty)
    beyond = errors > calibrated.penalty_coef * penalties
    ratio = float((errors / (calibrated.penalty_coef * np.maximum(penalties, 1e-30))).max())
    far, gap = score.distance, score.overestimate
    return replace(
        found,
        assumptions=(
            Assumption(
                text="The model's error is at most λ·u in every step.",
                evidence=f"{beyond.mean():.1%} of {len(rows)} unseen recorded steps are beyond it, up to {ratio:.1f} "
                f"times. λ was chosen so that at most {1 - CONFORMAL_COVERAGE:.0%} are.",
                holds=not beyond.any(),
            ),
            Assumption(
                text="The policy's steps are like those of the data, where λ·u was calibrated.",
                evidence=f"Half of them are farther from the data than {far:.2f} of what 99 % of the data are.",
                holds=None if math.isnan(far) else far <= 1.0,
            ),
            Assumption(
                text=f"The policy's value changes by at most {slope:.3g} for each unit of the state.",
                evidence="This is the critic's slope. The critic is off the model's return by "
                f"{gap:+.2f} of its scale.",
                holds=None if math.isnan(gap) else abs(gap) <= 0.5,
            ),
            Assumption(
                text="The system is deterministic.",
                evidence="One recording of a step cannot tell.",
                holds=None,
            ),
            Assumption(
                text="No reward is below the lowest of the data, and episodes end by the rule that is used.",
                evidence="The data cannot tell.",
                holds=None,
            ),
        ),
    )
