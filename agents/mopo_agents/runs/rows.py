"""What a run records of an epoch and of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from mopo_agents.trust.score import PolicyScore


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """Means over the b·h model transitions of one epoch.

    Attributes:
        reward: r̃, the reward that the agent gets.
        model_reward: r̂, the model's reward before the penalty. Compare it with the dataset's mean reward.
        penalty: u(s, a).
        terminated: Share of the transitions that end in a terminal state, by the termination rule or the envelope.
        non_finite: Share of the transitions that leave the envelope because the prediction is not finite.
        outside: Share that leaves it because the prediction is outside the data's range.
        uncertain: Share that leaves it because the penalty is too large.
    """

    reward: float
    model_reward: float
    penalty: float
    terminated: float
    non_finite: float = 0.0
    outside: float = 0.0
    uncertain: float = 0.0


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """One line of ``evaluations.csv``.

    Attributes:
        seed: Seed of the start states, different in each evaluation. ``mopo evaluate --seed`` repeats them.
        seconds: Training time so far, without evaluations.
        return_mean: Mean return in the real environment.
        return_std: Its standard deviation over episodes.
        normalised: The mean on D4RL's scale; None if the task has no such scale.
    """

    epoch: int
    updates: int
    seed: int
    seconds: float
    return_mean: float
    return_std: float
    normalised: float | None


@dataclass(frozen=True, kw_only=True)
class ScoreRow(PolicyScore):
    """One line of ``scores.csv``: the score of the policy after an epoch."""

    epoch: int
