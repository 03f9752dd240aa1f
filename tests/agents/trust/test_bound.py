"""The lower bound of the return, where its assumptions hold exactly and where they do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import fitted_ensemble
from helpers.transitions import transitions

from mopo_agents.agents import make_agent
from mopo_agents.trust.bound import LowerBound, bounded_return, error_weight, lower_bound
from mopo_agents.trust.score import PolicyScorer
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.models.function_model import FunctionModel
from mopo_env.penalties import error_estimator
from mopo_env.toys import TabularMDP

GAMMA, STEPS = 0.9, 150


class Still:
    """A policy that always does the same."""

    def predict(self, observation: Any, **_: Any) -> tuple[np.ndarray, None]:
        return np.zeros((len(observation), 1), dtype=np.float32), None


def tabular(following: np.ndarray, rewards: np.ndarray) -> TabularMDP:
    """Return a process of five states whose steps are certain."""
    return TabularMDP(probabilities=np.eye(5)[following], rewards=rewards, start=np.full(5, 0.2), discount=GAMMA)


def bound_in(truth: TabularMDP, model: TabularMDP, *, horizon: int = STEPS) -> LowerBound:
    """Bound the return in one process by the other as its model, one start in each state, with the true error as u.

    One-hot states are √2 apart, so the slope of V is its span over √2: exactly what the theorem needs.
    """
    states, means, errors = np.eye(5), model.probabilities[:, 0], []
    for state in range(5):
        gap = np.append(means[state] - truth.probabilities[state, 0], model.rewards[state] - truth.rewards[state])
        errors.append(np.linalg.norm(gap))
    data = transitions(
        observations=states,
        next_observations=truth.probabilities[:, 0],
        rewards=truth.rewards[:, 0],
        actions=np.zeros((5, 1)),
        truncations=np.ones(5, dtype=bool),
    )
    table = torch.tensor(np.column_stack([means, model.rewards, errors]))
    believed = FunctionModel(
        lambda seen, _: (table[seen.argmax(1), :5], table[seen.argmax(1), 5]), observation_dim=5, action_dim=1
    )
    return bounded_return(
        Still(),
        believed,
        data,
        penalty=error_estimator(lambda seen, _: table[seen.argmax(1), 6].float()),
        error_coef=1.0,
        slope=float(np.ptp(truth.values(np.ones((5, 1)))) / np.sqrt(2)),
        horizon=horizon,
        gamma=GAMMA,
        num_starts=5,
    )


@pytest.mark.parametrize("seed", range(20))
def test_it_never_exceeds_the_truth_of_a_tabular_process(seed: int) -> None:
    """A model that is wrong about half of the steps and about every reward."""
    random = np.random.default_rng(seed)
    following, rewards = random.integers(5, size=(5, 1)), random.normal(size=(5, 1))
    mistaken = np.where(random.random((5, 1)) < 0.5, random.integers(5, size=(5, 1)), following)
    truth = tabular(following, rewards)
    found = bound_in(truth, tabular(mistaken, rewards + random.normal(scale=0.1, size=(5, 1))))
    assert found.bound <= truth.expected_return(np.ones((5, 1))) + 1e-5


def test_a_perfect_model_gives_the_truth() -> None:
    """No error costs nothing: neither the envelope nor the horizon may lower the bound then."""
    random = np.random.default_rng(0)
    truth = tabular(random.integers(5, size=(5, 1)), random.normal(size=(5, 1)))
    assert bound_in(truth, truth).bound == pytest.approx(truth.expected_return(np.ones((5, 1))), abs=1e-5)


def test_what_follows_the_horizon_is_taken_at_the_lowest_reward() -> None:
    """Where every reward is a cost, leaving out what follows would promise too much."""
    random = np.random.default_rng(0)
    truth = tabular(random.integers(5, size=(5, 1)), -random.random((5, 1)))
    found = bound_in(truth, truth, horizon=3)
    assert found.bound <= truth.expected_return(np.ones((5, 1))) < found.estimate


@pytest.mark.parametrize("factor", [0.5, 0.8, 0.95, 1.0])
def test_it_never_exceeds_the_truth_of_a_linear_system(factor: float) -> None:
    """s′ = 0.9·s pays s: V = s/(1 − 0.81), with exactly that slope. A model with another factor is off by the gap."""
    states = 0.9 ** np.arange(61)[:, None]
    data = transitions(observations=states[:-1], next_observations=states[1:], rewards=states[:-1, 0])
    truth = 1 / (1 - GAMMA * 0.9)
    found = bounded_return(
        Still(),
        FunctionModel(lambda seen, _: (factor * seen, seen[:, 0]), observation_dim=1, action_dim=1),
        data,
        penalty=error_estimator(lambda seen, _: abs(factor - 0.9) * seen[:, 0]),
        error_coef=1.0,
        slope=truth,
        horizon=STEPS,
        gamma=GAMMA,
        num_starts=1,
    )
    assert found.bound <= truth
    if factor > 0.9:
        assert found.estimate > truth, "without the errors the model promises too much"


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
