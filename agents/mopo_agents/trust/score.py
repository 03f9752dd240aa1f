"""One score of a policy from data and model alone, to compare policies of one task without the real system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mopo_agents.evaluation import Policy
from mopo_agents.trust.model_returns import model_returns
from mopo_env._utils.options import DEFAULT_MARGIN, DEFAULT_PENALTY, DEFAULT_QUANTILE
from mopo_env.envs.penalized_model import PenalizedModel

__all__ = ["PolicyScore", "PolicyScorer"]

_LONGEST = 1000


@dataclass(frozen=True, kw_only=True)
class PolicyScore:
    """What the model says about a policy, in whole episodes from where recorded episodes begin.

    Attributes:
        score: Mean over members and episodes of the model's return until the episode leaves the envelope, and the price
            of leaving. It has no λ, so policies of different methods can be compared.
        worst_member: The same for the member that thinks least of the policy.
        spread: Standard deviation of the members' means.
        model_return: Mean of the model's return, without the price.
        left: Share of episodes that leave the envelope.
        length: Mean length of the episodes.
    """

    score: float
    worst_member: float
    spread: float
    model_return: float
    left: float
    length: float


class PolicyScorer:
    """Scores policies in one model, always from the same starts and with the same draws.

    The score is what the model believes, stopped where it has no grounds for a belief. It cannot see an error that all
    members share within the data's range, and it says nothing about what the data do not contain.
    """

    def __init__(self, penalized_model: PenalizedModel, *, num_starts: int = 20, seed: int = 0) -> None:
        """Take over model, dataset and termination rule. Penalty and envelope are the defaults, whatever the run's are.

        Args:
            penalized_model: Where the policy was trained, of a model with members.
            num_starts: Episodes of every member.
            seed: Of starts and draws.
        """
        self._model = PenalizedModel(
            penalized_model.model,
            penalized_model.transitions,
            penalty=DEFAULT_PENALTY,
            penalty_coef=0.0,
            termination=penalized_model.termination,
            envelope_margin=DEFAULT_MARGIN,
            envelope_quantile=DEFAULT_QUANTILE,
        )
        longest = np.diff(penalized_model.transitions.episode_ends, prepend=-1).max()
        self.horizon = min(int(longest), _LONGEST)
        self._num_starts, self._seed = num_starts, seed

    @staticmethod
    def fits(penalized_model: PenalizedModel) -> bool:
        """Return whether a model has members, which the score compares."""
        return isinstance(getattr(penalized_model.model, "elites", None), torch.Tensor)

    def score(self, policy: Policy) -> PolicyScore:
        """Score a policy; its deterministic actions count."""
        found = model_returns(policy, self._model, horizon=self.horizon, num_starts=self._num_starts, seed=self._seed)
        by_member = found.penalized.mean(axis=1)
        return PolicyScore(
            score=float(by_member.mean()),
            worst_member=float(by_member.min()),
            spread=float(by_member.std()),
            model_return=float(found.plain.mean()),
            left=float((found.exits > 0).mean()),
            length=float(found.lengths.mean()),
        )
