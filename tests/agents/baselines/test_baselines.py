"""What each baseline's paper claims, on a task with a known optimum; and that this hangs on the method's own term."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from helpers.offline_toy import (
    BEST_REWARD,
    BEST_VALUE,
    HALF_WIDTH,
    STATES,
    mean_q,
    offsets,
    policy_actions,
    rewards,
    small_agent,
)

from mopo_agents.baselines import BEAR, BRACv

UPDATES = {"BC": 300, "offline-SAC": 300, "BEAR": 600, "BRAC-p": 350, "BRAC-v": 350}
REGULARISED = ["BEAR", "BRAC-p", "BRAC-v"]


@cache
def trained(name: str, seed: int = 0, updates: int | None = None) -> Any:
    updates = updates or UPDATES[name]
    return small_agent(name, gradient_steps=updates, seed=seed).learn(updates)


def mean_reward(agent: Any) -> float:
    return float(rewards(STATES, policy_actions(agent)).mean())


def share_within_data(agent: Any) -> float:
    """Return the share of states where the policy's action is one that is on record there."""
    return float((np.abs(offsets(STATES, policy_actions(agent))) <= HALF_WIDTH).mean())


def test_cloning_recovers_the_mean_of_the_behaviour() -> None:
    """The clone acts in the middle of what it saw, and earns what lies there: half of the best."""
    x = offsets(STATES, policy_actions(trained("BC")))
    assert np.abs(x).max() < 0.1
    assert mean_reward(trained("BC")) == pytest.approx(BEST_REWARD / 2, rel=0.2)


def test_sac_without_a_model_believes_what_it_extrapolates() -> None:
    """Its actions leave the data wherever they can, its values exceed what any policy can earn, and it earns a loss."""
    agent = trained("offline-SAC")
    assert share_within_data(agent) == 0.0
    assert mean_q(agent) > 1.3 * BEST_VALUE
    assert mean_reward(agent) < -1.0


@pytest.mark.parametrize("name", REGULARISED)
def test_the_regularised_agents_stay_within_the_data_and_beat_the_clone(name: str) -> None:
    """The data are a mix of good and bad: what is worth having lies within them, and not in their middle."""
    agent = trained(name)
    assert share_within_data(agent) > 0.9
    assert mean_reward(agent) > mean_reward(trained("BC")) + 0.15 * BEST_REWARD
    assert mean_q(agent) < BEST_VALUE


def test_bear_without_its_term_leaves_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would be one of the toy and not of the MMD."""
    monkeypatch.setattr(BEAR, "divergence_weight", 0.0)
    agent = small_agent("BEAR", gradient_steps=150).learn(150)
    assert share_within_data(agent) < 0.2
    assert mean_reward(agent) < 0.0


def test_brac_without_its_term_leaves_the_data() -> None:
    """The same of the divergence: α = 0 switches it off in actor and critic."""
    agent = small_agent("BRAC-v", gradient_steps=150, alpha=0.0).learn(150)
    assert share_within_data(agent) < 0.2
    assert mean_reward(agent) < 0.0


def test_a_larger_weight_keeps_brac_nearer_to_the_clone() -> None:
    """α is a price: at 0.1 the actor goes half of the way to the edge or more, at ten times that it hardly moves."""
    near = small_agent("BRAC-p", gradient_steps=150, alpha=1.0).learn(150)
    far = trained("BRAC-p")
    assert offsets(STATES, policy_actions(near)).mean() < 0.15
    assert offsets(STATES, policy_actions(far)).mean() > 0.2


def test_the_value_penalty_lowers_the_values() -> None:
    """BRAC-v charges the divergence to the critic as well, BRAC-p to the actor alone."""
    assert issubclass(type(trained("BRAC-v")), BRACv)
    assert mean_q(trained("BRAC-v")) < mean_q(trained("BRAC-p")) - 0.05


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_claims_hold_over_seeds_and_longer_runs(seed: int) -> None:
    """What holds for one seed and some hundred updates might be luck or only the beginning."""
    clone, sac = trained("BC", seed, 2000), trained("offline-SAC", seed, 2000)
    assert np.abs(offsets(STATES, policy_actions(clone))).max() < 0.1
    assert share_within_data(sac) == 0.0
    assert mean_q(sac) > 1.3 * BEST_VALUE
    for name in REGULARISED:
        agent = trained(name, seed, 2000)
        assert share_within_data(agent) > 0.85, name  # of 101 states; without their terms it is below 0.2
        assert mean_reward(agent) > mean_reward(clone) + 0.15 * BEST_REWARD, name
        assert mean_q(agent) < BEST_VALUE, name
