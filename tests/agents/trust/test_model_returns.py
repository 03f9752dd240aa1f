"""Returns in the model, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.models import count_up, penalized_model, still_data

from mopo_agents.trust.model_returns import first_observations, model_returns
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError
from mopo_env.toys import TabularMDP


class Still:
    """A policy that always chooses the same action."""

    def __init__(self, action: float = 0.0) -> None:
        self.action = action

    def predict(self, observation: np.ndarray, *_: Any, **__: Any) -> tuple[np.ndarray, None]:
        return np.full((len(observation), 1), self.action, dtype=np.float32), None


def test_every_member_plays_whole_episodes() -> None:
    """Counting from 0 pays 1 + 2 + 3 + 4; the second member adds one to each step's state and reward."""
    model = penalized_model(count_up, offsets=[0, 1], penalty=lambda said: 0 * said.observations[:, 0] + 2.0)
    found = model_returns(Still(), model, horizon=4, num_starts=3)
    assert found.plain.tolist() == [[10.0] * 3, [20.0] * 3]
    assert found.penalized.tolist() == [[2.0] * 3, [12.0] * 3], "λ = 1 and u = 2 in each of four steps"
    assert found.left == {"non-finite": 0.0, "outside": 0.0, "uncertain": 0.0}


def test_an_episode_ends_where_the_rule_says() -> None:
    found = model_returns(Still(), penalized_model(count_up, end_above=2.5, penalty="none"), horizon=100, num_starts=2)
    assert (found.lengths == 3).all()
    assert (found.plain == 1 + 2 + 3).all()


def test_leaving_the_envelope_is_counted_and_priced() -> None:
    """The data lie in 0…3 and pay −3…4; half a range more ends at 4.5, and the fifth step pays for it."""
    model = penalized_model(count_up, starts=range(4), penalty="none", envelope_margin=0.5, exit_reward=-100.0)
    found = model_returns(Still(), model, horizon=100, num_starts=50)
    assert found.left == {"non-finite": 0.0, "outside": 1.0, "uncertain": 0.0}
    from_zero = found.lengths == 5
    assert from_zero.any()
    assert (found.penalized[from_zero] == 1 + 2 + 3 + 4 - 100).all()
    assert (found.plain[from_zero] == 1 + 2 + 3 + 4 + 5).all(), "what the model would have paid"


def test_starts_are_first_states_of_episodes() -> None:
    """A policy is deployed where episodes begin, not where they happened to be."""
    ends = np.array([False, True, False, True])
    data = still_data(range(4), truncations=ends)
    assert first_observations(data)[:, 0].tolist() == [0.0, 2.0]


def test_a_model_without_members_is_refused() -> None:
    mdp = TabularMDP(probabilities=np.ones((2, 1, 2)) / 2, rewards=np.zeros((2, 1)), start=np.ones(2) / 2, discount=0.9)
    with pytest.raises(ConfigError, match="no members to compare: found a TabularModel"):
        model_returns(Still(), PenalizedModel(mdp.model(), mdp.transitions(), penalty="none"))
