"""The watch on a training: what has ceased to be finite, and the policy by data and model alone."""

from __future__ import annotations

import math
from dataclasses import asdict
from numbers import Real
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

from mopo_agents.policies import policy_weights
from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.rows import ScoreRow
from mopo_agents.trust.alarms import find_alarms, has_collapsed
from mopo_agents.trust.score import PolicyScorer
from mopo_agents.vec_env import PenalizedModelVecEnv
from mopo_env._utils.progress import announce
from mopo_env.errors import InputError

# The explained variance of returns that are all equal is not a number, and this is no sign of divergence.
_MAY_BE_NAN = "train/explained_variance"


class Watch:
    """Scores the policy of a run, without any effect on the training.

    Attributes:
        scores: The scores so far; empty without a model.
        alarms: What the scores say is wrong, by kind, at the epoch of each kind's first alarm.
        stopped: Whether the policy has collapsed, and the run is to stop then.
    """

    def __init__(self, config: TrainConfig) -> None:
        """Watch nothing yet."""
        self.scores: list[ScoreRow] = []
        self.alarms: dict[str, str] = {}
        self.stopped = False
        self._config = config
        self._scorer: PolicyScorer | None = None

    def begin(self, agent: BaseAlgorithm) -> None:
        """Score in the model that the agent trains in, if there is one with members."""
        env = agent.env if self._config.score_every else None
        if isinstance(env, PenalizedModelVecEnv) and PolicyScorer.fits(env.rollouts.penalized_model):
            self._scorer = PolicyScorer(env.rollouts.penalized_model, gamma=float(getattr(agent, "gamma", 0.99)))

    def restore(self, notes: dict[str, Any]) -> None:
        """Continue from what `notes` returned."""
        self.scores, self.alarms = [ScoreRow(**row) for row in notes.get("scores", [])], notes.get("alarms", {})

    def notes(self) -> dict[str, Any]:
        """Return what a resumed run needs, as JSON data. NaN has no JSON: what is not known is left out."""
        known = [{name: value for name, value in asdict(row).items() if value == value} for row in self.scores]
        return {"scores": known, "alarms": self.alarms}

    def look(self, agent: BaseAlgorithm, epoch: int, *, last: bool) -> bool:
        """Score the policy if it is time, tell new alarms, and return whether its score is the highest so far."""
        if self._scorer is None or not (last or epoch % self._config.score_every == 0):
            return False
        row = ScoreRow(epoch=epoch, **asdict(self._scorer.score(agent)))
        is_highest = all(row.score > other.score for other in self.scores)
        self.scores.append(row)
        for name in ("score", "left", "overestimate", "entropy", "distance"):
            agent.logger.record(f"offline/{name}", getattr(row, name))
        for kind, alarm in find_alarms(self.scores).items():
            if kind not in self.alarms:
                self.alarms[kind] = f"epoch {epoch}: {alarm}"
                announce(f"Warning, {self.alarms[kind]}")
        self.stopped = self._config.stop_when_collapsing and has_collapsed(self.scores)
        return is_highest


def non_finite_quantity(agent: BaseAlgorithm) -> str | None:
    """Return the name of a loss of the last epoch, or of a weight, that is not finite; None: all are finite.

    A loss can overflow while the weights are finite: Adam then divides by infinity and never changes them again.
    """
    logged: dict[str, Any] = agent.logger.name_to_value
    for name, value in logged.items():
        if name.startswith("train/") and name != _MAY_BE_NAN and isinstance(value, Real) and not math.isfinite(value):
            return f"{name} is {value}"
    for name, array in policy_weights(agent).items():
        if not np.isfinite(array).all():
            return f"a weight in {name} is {array[~np.isfinite(array)].flat[0]}"
    return None


def cause_of_failure(agent: BaseAlgorithm, error: Exception) -> str | None:
    """Return what was not finite when an error ended an epoch; None: the error has another cause.

    PyTorch's distributions refuse means that are not finite, and the environment such actions.
    """
    if isinstance(error, InputError):
        return "the policy chose actions that are not finite"
    return non_finite_quantity(agent) if isinstance(error, ValueError | RuntimeError) else None
