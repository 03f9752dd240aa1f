"""Tabular processes are solved exactly; the solutions are checked here, since bounds are tested with them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from mopo_env.envs.env import PenalizedModelEnv
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError
from mopo_env.toys import TabularMDP, tabular_error


def random_mdp(seed: int, num_states: int = 4, num_actions: int = 3) -> TabularMDP:
    random = np.random.default_rng(seed)
    return TabularMDP(
        probabilities=random.dirichlet(np.ones(num_states), (num_states, num_actions)),
        rewards=random.uniform(-1, 1, (num_states, num_actions)),
        start=random.dirichlet(np.ones(num_states)),
        discount=0.9,
    )


def random_policy(seed: int, num_states: int = 4, num_actions: int = 3) -> np.ndarray:
    return np.random.default_rng(100 + seed).dirichlet(np.ones(num_actions), num_states)


def test_values_of_a_chain_by_hand() -> None:
    """0 → 1 → 1 …, paying 3 and then 2 for ever, discounted by ½: V(1) = 4, V(0) = 5."""
    mdp = TabularMDP(
        probabilities=np.array([[[0.0, 1.0]], [[0.0, 1.0]]]),
        rewards=np.array([[3.0], [2.0]]),
        start=np.array([1.0, 0.0]),
        discount=0.5,
    )
    policy = np.ones((2, 1))
    np.testing.assert_allclose(mdp.values(policy), [5.0, 4.0])
    assert mdp.expected_return(policy) == pytest.approx(5.0)
    assert mdp.horizon_return(policy, 3) == pytest.approx(3 + 2 + 2)
    np.testing.assert_allclose(mdp.occupancy(policy), [[1.0], [1.0]])


@pytest.mark.parametrize("seed", range(3))
def test_return_and_occupancy_are_two_views_of_one_number(seed: int) -> None:
    """η = Σ ρ·r, and ρ sums to 1/(1 − γ)."""
    mdp, policy = random_mdp(seed), random_policy(seed)
    occupancy = mdp.occupancy(policy)
    assert (occupancy * mdp.rewards).sum() == pytest.approx(mdp.expected_return(policy), rel=1e-12)
    assert occupancy.sum() == pytest.approx(1 / (1 - 0.9), rel=1e-12)
    assert (occupancy >= 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_values_solve_bellmans_equation(seed: int) -> None:
    mdp, policy = random_mdp(seed), random_policy(seed)
    values = mdp.values(policy)
    backup = (policy * (mdp.rewards + mdp.discount * mdp.probabilities @ values)).sum(axis=1)
    np.testing.assert_allclose(values, backup, rtol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_the_optimal_policy_beats_every_other(seed: int) -> None:
    """All 81 deterministic policies, in every state at once."""
    mdp = random_mdp(seed)
    best = mdp.optimal_policy()
    assert set(np.unique(best)) <= {0.0, 1.0}
    np.testing.assert_array_equal(best.sum(axis=1), 1)
    for choice in itertools.product(range(3), repeat=4):
        assert (mdp.values(best) >= mdp.values(np.eye(3)[list(choice)]) - 1e-9).all()


def test_policy_iteration_ends_where_all_actions_are_equal() -> None:
    """Swapping between equals would never end."""
    mdp = TabularMDP(
        probabilities=np.full((3, 4, 3), 1 / 3), rewards=np.full((3, 4), 0.1), start=np.full(3, 1 / 3), discount=0.99
    )
    assert mdp.optimal_policy().shape == (3, 4)


def test_penalised_takes_lambda_u_off_the_reward() -> None:
    mdp = random_mdp(0)
    error = np.random.default_rng(0).uniform(size=(4, 3))
    penalised = mdp.penalised(error, 2.0)
    np.testing.assert_allclose(penalised.rewards, mdp.rewards - 2 * error)
    np.testing.assert_array_equal(penalised.probabilities, mdp.probabilities)
    assert penalised.discount == mdp.discount


GOOD: dict[str, Any] = {
    "probabilities": np.full((2, 1, 2), 0.5),
    "rewards": np.zeros((2, 1)),
    "start": np.array([0.5, 0.5]),
    "discount": 0.9,
}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("probabilities", np.full((2, 2, 2), 0.5)),
        ("probabilities", np.full((2, 1, 2), 0.6)),
        ("probabilities", np.array([[[1.5, -0.5]], [[0.5, 0.5]]])),
        ("probabilities", np.full((2, 1, 2), np.nan)),
        ("start", np.array([1.0])),
        ("start", np.array([0.5, 0.4])),
        ("discount", 1.0),
        ("discount", -0.1),
        ("discount", math.nan),
    ],
)
def test_what_is_no_process_is_refused(name: str, wrong: Any) -> None:
    """Rows that do not sum to one would still solve, to numbers that mean nothing."""
    TabularMDP(**GOOD)
    with pytest.raises(ConfigError, match=name):
        TabularMDP(**{**GOOD, name: wrong})


# ---------------------------------------------------------------- TabularModel


def test_the_model_looks_up_state_and_action() -> None:
    mdp, error = random_mdp(0), np.arange(12.0).reshape(4, 3)
    states, actions = np.divmod(np.arange(12), 3)
    prediction = mdp.model(error).predict(
        torch.tensor(np.eye(4)[states], dtype=torch.float32),
        torch.tensor(np.eye(3)[actions] * 0.1, dtype=torch.float32),
    )
    np.testing.assert_allclose(prediction.rewards.numpy(), mdp.rewards.ravel(), rtol=1e-6)
    np.testing.assert_allclose(prediction.probabilities.numpy(), mdp.probabilities.reshape(12, 4), rtol=1e-6)
    assert tabular_error(prediction).tolist() == list(range(12))


def test_the_model_draws_with_the_stated_probabilities() -> None:
    mdp, rows = random_mdp(1), 20_000
    state = torch.eye(4)[[2]].repeat(rows, 1)
    action = torch.eye(3)[[1]].repeat(rows, 1)
    observations, rewards = mdp.model().predict(state, action).sample(torch.Generator().manual_seed(0))
    counts, expected = observations.sum(dim=0).numpy(), rows * mdp.probabilities[2, 1]
    assert counts.sum() == rows
    assert ((counts - expected) ** 2 / expected).sum() < 16.3, "99.9 % of fair draws stay below, 3 degrees of freedom"
    assert rewards.unique().tolist() == [np.float32(mdp.rewards[2, 1])]


def test_recorded_steps_follow_start_and_transition_probabilities() -> None:
    """Starts from μ₀, actions uniform, next states from T: one chi-square over all of them."""
    mdp, rows = random_mdp(2), 20_000
    recorded = mdp.transitions(num_rows=rows, seed=3)
    states, actions, following = (
        array.argmax(axis=1) for array in (recorded.observations, recorded.actions, recorded.next_observations)
    )
    counts = np.zeros((4, 3, 4))
    np.add.at(counts, (states, actions, following), 1)
    expected = rows * mdp.start[:, None, None] * mdp.probabilities / 3
    assert expected.min() > 5, "a chi-square needs cells that are not empty"
    assert ((counts - expected) ** 2 / expected).sum() < 82.7, "99.9 % of fair draws stay below, 47 degrees of freedom"
    np.testing.assert_array_equal(recorded.rewards, mdp.rewards[states, actions].astype(np.float32))
    assert recorded.observation_space.contains(recorded.observations[0])


def test_a_claimed_error_of_another_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match="error"):
        random_mdp(0).model(np.zeros((3, 4)))


def test_the_model_claims_no_error_by_default() -> None:
    mdp = random_mdp(0)
    env = PenalizedModelEnv(PenalizedModel(mdp.model(), mdp.transitions(), penalty=tabular_error), horizon=3)
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[4]["penalty"] == 0.0
