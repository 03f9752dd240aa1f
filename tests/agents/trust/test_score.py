"""The signs beside a score, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from helpers.models import penalized_model
from helpers.transitions import transitions

from mopo_agents.trust.alarms import ALARMS, find_alarms, has_collapsed
from mopo_agents.trust.score import PolicyScore, PolicyScorer

QUIET = PolicyScore(score=0.0, worst_member=0.0, spread=0.0, model_return=0.0, left=0.0, length=9.0)


class Always:
    """A policy of one action and no critic."""

    def __init__(self, action: float) -> None:
        self.action = action

    def predict(self, observation: np.ndarray, *_: Any, **__: Any) -> tuple[np.ndarray, None]:
        return np.full((len(observation), 1), self.action, dtype=np.float32), None


def scorer(**options: Any) -> PolicyScorer:
    """States stay at −1, 0 or 1 and are paid so; recorded actions are 0; each row is an episode."""
    space = Box(-1.0, 1.0, (1,), np.float32)
    return PolicyScorer(penalized_model(starts=[-1.0, 0.0, 1.0], action_space=space, **options), num_starts=30)


def test_the_error_is_that_of_the_starts() -> None:
    """Starts of −1, 0 and 1 pay their number: the score of 30 episodes is uncertain by their deviation over √30."""
    found = scorer().score(Always(0.0))
    assert found.length == 1.0
    assert 0.1 < found.error < 0.2
    assert abs(found.score) < 3 * found.error


@pytest.mark.parametrize(("step", "length", "expected"), [(0.0, 10, -1.0), (1.0, 2, -0.2 - 0.8 * 10.0)])
def test_what_leaves_the_data_is_paid_as_they_are(step: float, length: int, expected: float) -> None:
    """Of ten recorded steps that cost 1 each, two are played for 0.1; to leave is neither a way out nor the end."""
    states = np.linspace(0.0, 1.0, 11)[:, None]
    data = transitions(observations=states[:-1], next_observations=states[1:], rewards=np.tile([-2.0, 0.0], 5))
    model = penalized_model(lambda seen, _: (seen + step, 0.0 * seen[:, 0] - 0.1), transitions=data)
    found = PolicyScorer(model, num_starts=3).score(Always(0.0))
    assert (found.length, found.left) == (length, float(step > 0))
    assert found.score == pytest.approx(expected)
    assert found.model_return == pytest.approx(-0.1 * length)


def test_where_the_actions_are_and_how_far_from_the_data() -> None:
    near, far = scorer().score(Always(0.0)), scorer().score(Always(1.0))
    assert (near.at_bounds, far.at_bounds) == (0.0, 1.0)
    assert near.distance == pytest.approx(0.0, abs=1e-3)
    assert far.distance > near.distance
    assert np.isnan(near.value)
    assert np.isnan(near.entropy)


@pytest.mark.parametrize(("high", "share"), [(1.0, 1.0), (100.0, 0.0)])
def test_a_penalty_at_its_ceiling(high: float, share: float) -> None:
    """The action makes u larger: up to 1 as on the data, or only up to 1 % of what the data have."""
    model = {"penalty": lambda said: said.actions[:, 0].abs(), "actions": [[0.0], [0.5], [high]]}
    options = dict(model, action_space=Box(-high, high, (1,), np.float32))
    made = PolicyScorer(penalized_model(starts=[-1.0, 0.0, 1.0], **options), num_starts=5)
    assert made.score(Always(1.0)).saturated == share


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("left", {"left": 0.6}),
        ("overestimated", {"value": 50.0, "discounted": 10.0, "overestimate": 0.9}),
        ("saturated", {"saturated": 0.2}),
        ("determined", {"entropy": -4.0}),
        ("at-bounds", {"at_bounds": 0.95}),
        ("far", {"distance": 1.5}),
    ],
)
def test_each_alarm_names_its_number_and_what_to_try(kind: str, change: dict[str, float]) -> None:
    """A number that is not known raises none, so the quiet row has none."""
    assert find_alarms([QUIET]) == {}
    alarms = find_alarms([replace(QUIET, overestimate=0.2), replace(QUIET, **change)])
    assert list(alarms) == [kind]
    assert kind in ALARMS
    assert "ry " in alarms[kind] or "ook at" in alarms[kind]


def test_a_critic_that_comes_down_raises_no_alarm() -> None:
    """It begins near 0. Where every reward is a cost, that is above any return, and says nothing of a policy."""
    rows = [replace(QUIET, overestimate=value) for value in (0.98, 0.95, 0.6, 0.7)]
    assert [list(find_alarms(rows[:count])) for count in (1, 2, 3, 4)] == [[], [], [], ["overestimated"]]


def test_a_fall_within_the_noise_is_no_collapse() -> None:
    """Scores 0, 10, 5 with errors of 1: 5 is 3.5 standard errors of the difference. With errors of 2: chance."""
    for error, collapsed in ((1.0, True), (2.0, False)):
        rows = [replace(QUIET, score=score, error=error) for score in (0.0, 10.0, 5.0)]
        assert has_collapsed(rows) is collapsed
