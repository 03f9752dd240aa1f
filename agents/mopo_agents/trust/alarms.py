"""Signs in a run's scores that its policy has left what the model knows.

The limits were chosen by reasoning, before they were measured (docs/trust.md): none is fitted to a real return.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mopo_agents.trust.score import PolicyScore

_FALL = 0.4
_ERRORS = 3.0
"""A score falls by chance, too: so many standard errors do not count. The best of several noisy scores is too high."""

Test = Callable[[Sequence[PolicyScore]], bool]
Text = Callable[[PolicyScore], str]

ALARMS: dict[str, tuple[Test, Text]] = {
    "left": (
        lambda rows: rows[-1].left > 0.5,
        lambda row: (
            f"the policy leaves the data in {row.left:.0%} of its episodes in the model. The model's rewards mean "
            "little there. Try a larger λ, a longer horizon, or rollouts by the agent itself."
        ),
    ),
    "overestimated": (
        # A critic begins near 0, above returns that are costs, and has to come down first.
        lambda rows: len(rows) > 1 and rows[-1].overestimate > max(0.5, rows[-2].overestimate),
        lambda row: (
            f"the critic expects {row.value:.0f} where the model pays {row.discounted:.0f}, discounted and without a "
            "penalty. Such values grow without a ground. Try more critics, a larger --real-ratio, or a longer horizon."
        ),
    ),
    "saturated": (
        lambda rows: rows[-1].saturated > 0.1,
        lambda row: (
            f"the penalty is at the largest value of the data in {row.saturated:.0%} of the steps. It cannot tell "
            "these apart. Try --penalty ensemble-std, which grows off the data, or a larger λ."
        ),
    ),
    "determined": (
        lambda rows: rows[-1].entropy < -3.0,
        lambda row: (
            f"the entropy of an action is {row.entropy:.1f} nats, where SAC aims at -1. The policy has stopped to try "
            "others. Try a higher --target-entropy, or a fixed ent_coef in --agent-options."
        ),
    ),
    "at-bounds": (
        lambda rows: rows[-1].at_bounds > 0.9,
        lambda row: (
            f"{row.at_bounds:.0%} of the actions are at their bounds. The data may hold few like them. Look at the "
            "reward, and at the actions of the data with `mopo data show`; try a larger λ."
        ),
    ),
    "far": (
        lambda rows: rows[-1].distance > 1.0,
        lambda row: (
            f"half of the policy's steps are farther from the data than {row.distance:.1f} times what 99 % of the data "
            "are from other episodes. Penalties and bounds were learned nearer. Try a larger λ or --real-ratio."
        ),
    ),
}
"""When an alarm comes, and what it says. A number that is not known, NaN, raises none."""


def find_alarms(scores: Sequence[PolicyScore]) -> dict[str, str]:
    """Return what is wrong with the latest policy, as a sentence for each kind of alarm.

    Args:
        scores: The scores of a run so far, in order.
    """
    if not scores:
        return {}
    latest = scores[-1]
    alarms = {kind: text(latest) for kind, (test, text) in ALARMS.items() if test(scores)}
    if has_collapsed(scores):
        best = max(score.score for score in scores)
        alarms["fallen"] = (
            f"the score fell from {best:.0f} to {latest.score:.0f}. The policy has collapsed in the model, and maybe "
            "in the real system: use the policy with the best score."
        )
    return alarms


def has_collapsed(scores: Sequence[PolicyScore]) -> bool:
    """Return whether the latest score has lost two fifths of what the run had gained, and more than chance explains.

    Chance explains three standard errors of the difference between the best and the latest score.
    """
    if len(scores) < 3:
        return False
    first, best, latest = scores[0], max(scores, key=lambda row: row.score), scores[-1]
    fall, noise = best.score - latest.score, math.hypot(best.error, latest.error)
    return fall > _FALL * (best.score - first.score) > 0.0 and fall > _ERRORS * noise
