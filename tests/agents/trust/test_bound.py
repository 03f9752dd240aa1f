"""The lower bound of the return, where its assumptions hold exactly and where they do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.models import fitted_ensemble
from helpers.transitions import transitions

from mopo_agents.agents import make_agent
from mopo_agents.trust.bound import error_weight, lower_bound, return_bound
from mopo_agents.trust.score import PolicyScorer
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.toys import TabularMDP

GAMMA, STEPS = 0.9, 300


def deterministic(seed: int) -> tuple[TabularMDP, TabularMDP]:
    """Return a process whose steps are certain, and a model that is wrong about some of them and of the rewards."""
    random = np.random.default_rng(seed)
    following = random.integers(5, size=(5, 1))
    believed = np.where(random.random((5, 1)) < 0.5, random.integers(5, size=(5, 1)), following)
    rewards = random.normal(size=(5, 1))
    start = np.eye(5)[random.integers(5)]
    truth, model = (
        TabularMDP(probabilities=np.eye(5)[table], rewards=paid, start=start, discount=GAMMA)
        for table, paid in ((following, rewards), (believed, rewards + random.normal(scale=0.1, size=(5, 1))))
    )
    return truth, model


def play(truth: TabularMDP, model: TabularMDP) -> tuple[np.ndarray, np.ndarray]:
    """Return rewards and true errors ‖(ŝ′, r̂) − (s′, r)‖₂ along the model's own episode; states are one-hot."""
    state, rewards, errors = int(model.start.argmax()), [], []
    for _ in range(STEPS):
        difference = np.append(
            model.probabilities[state, 0] - truth.probabilities[state, 0],
            model.rewards[state, 0] - truth.rewards[state, 0],
        )
        rewards.append(model.rewards[state, 0])
        errors.append(np.linalg.norm(difference))
        state = int(model.probabilities[state, 0].argmax())
    return np.array([rewards]), np.array([errors])


@pytest.mark.parametrize("seed", range(20))
def test_it_never_exceeds_the_truth_of_a_tabular_process(seed: int) -> None:
    """One-hot states are √2 apart, so V's slope is the span of V over √2: exactly what the theorem needs."""
    truth, model = deterministic(seed)
    policy = np.ones((5, 1))
    slope = float(np.ptp(truth.values(policy)) / np.sqrt(2))
    rewards, errors = play(truth, model)
    (bound,) = return_bound(rewards, errors, gamma=GAMMA, slope=slope)
    assert bound <= truth.expected_return(policy) + 1e-9
    if not errors.any():
        assert bound == pytest.approx(truth.expected_return(policy))


@pytest.mark.parametrize("believed", [0.5, 0.8, 0.95, 1.0])
def test_it_never_exceeds_the_truth_of_a_linear_system(believed: float) -> None:
    """s′ = 0.9·s pays s: V = s/(1 − 0.81), with exactly that slope. A model with another factor is off by the gap."""
    states = believed ** np.arange(STEPS)[None]
    errors = np.abs(believed - 0.9) * states
    slope, truth = 1 / (1 - GAMMA * 0.9), 1 / (1 - GAMMA * 0.9)
    (bound,) = return_bound(states, errors, gamma=GAMMA, slope=slope)
    assert bound <= truth
    if believed > 0.9:
        (naive,) = return_bound(states, 0 * errors, gamma=GAMMA, slope=slope)
        assert naive > truth, "without the errors the model promises too much"


def test_the_cost_of_an_error_in_reward_and_state_at_once() -> None:
    """By hand: an error of 3 in the reward and 4 in the state, norm 5, costs 3 + γL·4 at most."""
    assert error_weight(0.5, 2.0) == pytest.approx(2**0.5)
    assert error_weight(0.5, 2.0) * 5 >= 3 + 0.5 * 2.0 * 4


def test_the_bound_of_an_agent_says_what_the_data_contradict() -> None:
    data = transitions(300, truncations=np.arange(300) % 20 == 19)
    model = PenalizedModel(fitted_ensemble(data), data, penalty="ensemble-std")
    options: Any = {"rollout_batch_size": 4, "horizon": 2, "gradient_steps": 1, "policy_kwargs": {"net_arch": [8]}}
    agent = make_agent("SAC", model, **options)
    score = PolicyScorer(model, num_starts=3).score(agent)
    found = lower_bound(agent, model, score, horizon=20, gamma=0.99, num_starts=3)
    assert found is not None
    assert found.bound < found.estimate
    error_holds, *_ = found.assumptions
    assert error_holds.holds is False, "nine of ten rows are not all of them"
