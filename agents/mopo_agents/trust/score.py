"""One score of a policy from data and model alone, and signs of trouble, to compare policies of one task."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium.spaces import Discrete

from mopo_agents.evaluation import Policy
from mopo_agents.trust.critics import actor_entropy, critic_values
from mopo_agents.trust.model_returns import ModelReturns, model_returns
from mopo_env._utils.options import DEFAULT_MARGIN, DEFAULT_PENALTY, DEFAULT_QUANTILE
from mopo_env.envs.envelope import penalties_on_data
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.penalties.nearest import DistanceToData
from mopo_env.transitions import Transitions

_LONGEST = 1000
_AT_BOUND = 0.99
_AT_CEILING = 0.95
_MOST_VISITS = 300


@dataclass(frozen=True, kw_only=True)
class PolicyScore:
    """What the model says about a policy, in whole episodes from where recorded episodes begin.

    Attributes:
        score: Mean over members and episodes of the model's return. Where an episode leaves the envelope, the model is
            believed no longer, and recorded episodes are: what is left pays as they do on average. The score has no λ,
            so policies of different methods can be compared.
        worst_member: The same for the member that thinks least of the policy.
        spread: Standard deviation of the members' means.
        model_return: Mean of the model's return up to there alone.
        left: Share of episodes that leave the envelope.
        length: Mean length of the episodes.
        error: Standard error of the score over the starts of episodes.
        value: The critic's mean value at the starts of episodes that do not leave; NaN without a critic, or if all do.
        discounted: The model's discounted return of the same episodes, without a penalty.
        overestimate: value − discounted, in units of the larger of ``|discounted|`` and the reward's standard deviation
            for ever. A critic that was trained with a penalty should be below 0; SAC's has the bonus of its entropy.
        saturated: Share of steps where the run's penalty is within a twentieth of the largest on the data, or above.
        entropy: Mean entropy of each action, in nats; NaN if the policy has no squashed Gaussian.
        at_bounds: Share of continuous actions within a hundredth of their range from a bound; NaN for discrete ones.
        distance: Median distance of the steps to the data, in units of what 99 % of the data have to other episodes.
    """

    score: float
    worst_member: float
    spread: float
    model_return: float
    left: float
    length: float
    error: float = 0.0
    value: float = math.nan
    discounted: float = math.nan
    overestimate: float = math.nan
    saturated: float = math.nan
    entropy: float = math.nan
    at_bounds: float = math.nan
    distance: float = math.nan


def scoring_model(penalized_model: PenalizedModel) -> PenalizedModel:
    """Return the model in which policies are scored: penalty and envelope are the defaults, whatever the run's are."""
    return PenalizedModel(
        penalized_model.model,
        penalized_model.transitions,
        penalty=DEFAULT_PENALTY,
        penalty_coef=0.0,
        termination=penalized_model.termination,
        envelope_margin=DEFAULT_MARGIN,
        envelope_quantile=DEFAULT_QUANTILE,
    )


def scoring_horizon(transitions: Transitions) -> int:
    """Return the longest length of the episodes in which policies are scored."""
    return min(int(np.diff(transitions.episode_ends, prepend=-1).max()), _LONGEST)


class PolicyScorer:
    """Scores policies in one model, always from the same starts and with the same draws.

    The score is what the model believes, stopped where it has no grounds for a belief. It cannot see an error that all
    members share within the data's range, and it says nothing about what the data do not contain.
    """

    def __init__(
        self, penalized_model: PenalizedModel, *, num_starts: int = 20, gamma: float = 0.99, seed: int = 0
    ) -> None:
        """Score in `scoring_model`.

        Args:
            penalized_model: Where the policy was trained, of a model with members. Whether its penalty is saturated is
                one of the signs.
            num_starts: Episodes of every member.
            gamma: The discount of the agent.
            seed: Of starts and draws.
        """
        data = penalized_model.transitions
        self._trained_in = penalized_model
        self._model = scoring_model(penalized_model)
        self.horizon = scoring_horizon(data)
        self._num_starts, self._seed, self.gamma = num_starts, seed, gamma
        self._distance = DistanceToData(data, device=penalized_model.device)
        self._usual_distance = float(np.quantile(self._distance.of_data(), 0.99))
        self._largest_penalty = float(penalties_on_data(data, penalized_model.model, penalized_model.penalty).max())
        self._recorded_return = float(data.episode_returns.mean(dtype=np.float64))
        self._reward_scale = float(data.rewards.std(dtype=np.float64)) / (1.0 - gamma) if gamma < 1.0 else math.inf

    @staticmethod
    def fits(penalized_model: PenalizedModel) -> bool:
        """Return whether a model has members, which the score compares."""
        return isinstance(getattr(penalized_model.model, "elites", None), torch.Tensor)

    def score(self, policy: Policy) -> PolicyScore:
        """Score a policy; its deterministic actions count. No global random generator is read or moved."""
        limits = {"horizon": self.horizon, "num_starts": self._num_starts}
        found = model_returns(policy, self._model, gamma=self.gamma, seed=self._seed, **limits)
        left = (found.exits > 0) * (1.0 - found.lengths / self.horizon)
        returns = found.plain + self._recorded_return * left
        by_member, by_start = returns.mean(axis=1), returns.mean(axis=0)
        value, discounted, overestimate = self._overestimate(policy, found)
        count = len(found.visited_actions)
        visits = np.linspace(0, count - 1, min(_MOST_VISITS, count)).astype(np.int64)
        states, chosen = found.visited_observations[visits], found.visited_actions[visits]
        saturated, distance = self._look(states, chosen)
        return PolicyScore(
            score=float(by_member.mean()),
            worst_member=float(by_member.min()),
            spread=float(by_member.std()),
            model_return=float(found.plain.mean()),
            left=float((found.exits > 0).mean()),
            length=float(found.lengths.mean()),
            error=float(by_start.std(ddof=1) / math.sqrt(len(by_start))) if len(by_start) > 1 else 0.0,
            value=value,
            discounted=discounted,
            overestimate=overestimate,
            saturated=saturated,
            entropy=actor_entropy(policy, states),
            at_bounds=self._at_bounds(chosen),
            distance=distance,
        )

    def _overestimate(self, policy: Policy, found: ModelReturns) -> tuple[float, float, float]:
        """Compare the critic at the starts with what the model pays, and with the critic where an episode is cut."""
        stayed, values = found.exits == 0, critic_values(policy, found.first_observations)
        last = critic_values(policy, found.last_observations.reshape(stayed.size, -1))
        if values is None or last is None or not stayed.any():
            return math.nan, math.nan, math.nan
        value, discounted = float(np.tile(values, (len(stayed), 1))[stayed].mean()), found.discounted[stayed].mean()
        rest = np.where(found.unfinished, self.gamma**self.horizon * last.reshape(stayed.shape), 0.0)[stayed].mean()
        expected = float(discounted + rest)
        return value, expected, (value - expected) / max(abs(expected), self._reward_scale, 1e-30)

    @torch.no_grad()
    def _look(self, observations: np.ndarray, actions: np.ndarray) -> tuple[float, float]:
        """Return the share of saturated penalties, and the median distance to the data."""
        space, device = self._trained_in.action_space, self._trained_in.device
        if isinstance(space, Discrete):
            actions = np.eye(int(space.n))[actions.ravel() - int(space.start)]
        pairs = [torch.tensor(array, dtype=torch.float32, device=device) for array in (observations, actions)]
        penalties = self._trained_in.penalty(self._trained_in.model.predict(pairs[0], pairs[1]))
        ceiling = _AT_CEILING * self._largest_penalty if self._largest_penalty > 0 else math.inf
        saturated = float((penalties >= ceiling).float().mean())
        return saturated, float(self._distance(pairs[0], pairs[1]).median()) / max(self._usual_distance, 1e-30)

    def _at_bounds(self, actions: np.ndarray) -> float:
        space = self._trained_in.action_space
        if isinstance(space, Discrete) or not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            return math.nan
        scaled = 2.0 * (actions - space.low) / (space.high - space.low) - 1.0
        return float((np.abs(scaled) > _AT_BOUND).mean())
