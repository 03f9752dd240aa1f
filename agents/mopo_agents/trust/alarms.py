"""Signs in a run's scores that its policy has left what the model knows."""

from __future__ import annotations

from collections.abc import Sequence

from mopo_agents.trust.score import PolicyScore

__all__ = ["find_alarms", "has_collapsed"]

_LEFT = 0.5
_FALL = 0.4


def find_alarms(scores: Sequence[PolicyScore]) -> dict[str, str]:
    """Return what is wrong with the latest policy, as a sentence for each kind of alarm.

    Args:
        scores: The scores of a run so far, in order.
    """
    alarms: dict[str, str] = {}
    if not scores:
        return alarms
    latest = scores[-1]
    if latest.left > _LEFT:
        alarms["left"] = (
            f"the policy leaves the data in {latest.left:.0%} of its episodes in the model. The model's rewards mean "
            "little there. Try a larger λ, a longer horizon, or rollouts by the agent itself."
        )
    if has_collapsed(scores):
        best = max(score.score for score in scores)
        alarms["fallen"] = (
            f"the score fell from {best:.0f} to {latest.score:.0f}. The policy has collapsed in the model, and maybe "
            "in the real system: use the policy with the best score."
        )
    return alarms


def has_collapsed(scores: Sequence[PolicyScore]) -> bool:
    """Return whether the latest score has lost two fifths of what the run had gained over its first score."""
    values = [score.score for score in scores]
    gained = max(values) - values[0]
    return gained > 0.0 and max(values) - values[-1] > _FALL * gained and len(values) > 2
