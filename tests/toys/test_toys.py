"""The toys have known answers; here the answers themselves are checked, since users test against them."""

from __future__ import annotations

import itertools
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from mopo_env.envs.env import PenalizedModelEnv
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError
from mopo_env.penalties import learned_variance
from mopo_env.toys import LinearGaussianSystem, StubEnsemble, TabularMDP, tabular_error

# ---------------------------------------------------------------- StubEnsemble


def stay(observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return observations, torch.full((len(observations),), 7.0)


def said(model: StubEnsemble, num_rows: int = 2) -> Any:
    return model.predict(torch.ones(num_rows, 1), torch.zeros(num_rows, 1))


def test_the_stub_says_what_it_is_told() -> None:
    prediction = said(StubEnsemble(1, 1, mean=stay, std=[[3.0, 4.0], [1.0, 2.0]], offsets=[0.0, 10.0], elites=[1]))
    assert prediction.mean.tolist() == [[[1.0, 7.0]] * 2, [[11.0, 17.0]] * 2]
    assert prediction.std.tolist() == [[[3.0, 4.0]] * 2, [[1.0, 2.0]] * 2]
    assert prediction.elites.tolist() == [1]


@pytest.mark.parametrize(
    ("std", "expected"),
    [(0.5, [0.5, 0.5]), ([1.0, 2.0], [1.0, 2.0]), ([[1.0, 2.0]], [1.0, 2.0]), (np.float64(2), [2.0, 2.0])],
    ids=str,
)
def test_every_way_to_give_the_std(std: Any, expected: list[float]) -> None:
    """A number is for every output, a row for every member."""
    prediction = said(StubEnsemble(1, 1, mean=stay, std=std, num_members=3))
    assert prediction.std.tolist() == [[expected] * 2] * 3


def test_the_std_may_depend_on_state_and_action() -> None:
    """So that a test can make one region uncertain."""
    model = StubEnsemble(1, 1, mean=stay, num_members=2, std=lambda s, a: (s + a).expand(2, len(s), 1).repeat(1, 1, 2))
    prediction = model.predict(torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5], [0.0]]))
    assert prediction.std.tolist() == [[[1.5, 1.5], [2.0, 2.0]]] * 2


@pytest.mark.parametrize(
    "options",
    [
        {"std": [[1.0, 1.0]] * 2, "offsets": [0, 1, 2]},
        {"offsets": [0, 1, 2], "num_members": 2},
        {"std": [[1.0, 1.0]] * 2, "num_members": 3},
        {"offsets": [0, 1, 2], "num_members": 1},
    ],
    ids=str,
)
def test_numbers_of_members_that_disagree_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="num_members"):
        StubEnsemble(1, 1, mean=stay, **options)


def test_all_members_are_elites_by_default() -> None:
    assert StubEnsemble(1, 1, mean=stay).elites.tolist() == [0]
    assert StubEnsemble(1, 1, mean=stay, offsets=[1, 2, 3]).elites.tolist() == [0, 1, 2]


# ---------------------------------------------------------------- LinearGaussianSystem

SYSTEM = LinearGaussianSystem(
    a=((0.9, 0.2), (-0.1, 1.1)), b=((0.3,), (0.7,)), q=((1.0, 0.2), (0.2, 2.0)), r=((0.5,),), reward_std=0.11
)


def test_the_model_is_the_system() -> None:
    prediction = SYSTEM.model().predict(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.4]]))
    # x′ = (0.9·1 − 0.2·2 + 0.3·0.4, −0.1·1 − 1.1·2 + 0.7·0.4); r = −(1 − 2·0.2·2 + 2·4 + 0.5·0.16)
    expected = torch.tensor([[[0.62, -2.02, -8.28]]])
    torch.testing.assert_close(prediction.mean, expected)
    torch.testing.assert_close(prediction.std, torch.tensor([[[0.05, 0.02, 0.11]]]))
    assert learned_variance(prediction).item() == pytest.approx(np.linalg.norm(SYSTEM.output_std))


def test_recorded_transitions_obey_the_system() -> None:
    """Residuals have the stated std, no mean and no correlation; every figure within five standard errors."""
    recorded = SYSTEM.transitions(num_episodes=400, num_steps=20, seed=1)
    rows = len(recorded)
    assert rows == 8000
    means = SYSTEM.model().predict(torch.tensor(recorded.observations), torch.tensor(recorded.actions)).mean[0]
    outcome = np.column_stack([recorded.next_observations, recorded.rewards])
    residuals = (outcome - means.numpy()) / SYSTEM.output_std
    assert np.abs(residuals.mean(axis=0)).max() < 5 / math.sqrt(rows)
    assert np.abs(residuals.std(axis=0) - 1).max() < 5 / math.sqrt(2 * rows)
    assert np.abs(np.corrcoef(residuals.T) - np.eye(3)).max() < 5 / math.sqrt(rows)
    assert np.abs((residuals[1:] * residuals[:-1]).mean(axis=0)).max() < 5 / math.sqrt(rows), "white in time"


def test_recorded_episodes_are_whole() -> None:
    recorded = SYSTEM.transitions(num_episodes=3, num_steps=4)
    assert recorded.episode_ends.tolist() == [3, 7, 11]
    assert recorded.truncations.sum() == 3
    assert not recorded.terminations.any()
    inside = np.delete(np.arange(11), recorded.episode_ends[:-1])
    np.testing.assert_array_equal(recorded.next_observations[inside], recorded.observations[inside + 1])


def test_recording_depends_on_the_seed_alone() -> None:
    fingerprints = [SYSTEM.transitions(seed=seed).fingerprint for seed in (0, 0, 1)]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_the_limit_of_the_input_is_the_action_space() -> None:
    system = LinearGaussianSystem(input_limit=3.0)
    recorded = system.transitions()
    assert recorded.action_space.high.tolist() == [3.0]
    assert 2 < np.abs(recorded.actions).max() <= 3


def test_start_transitions_start_where_they_say() -> None:
    penalized_model = PenalizedModel(SYSTEM.model(), SYSTEM.start_transitions([0.25, -0.5]))
    assert penalized_model.reset(5, torch.Generator()).tolist() == [[0.25, -0.5]] * 5


def test_the_expected_return_of_two_steps_by_hand() -> None:
    """x′ = x/2 + w, no input, r = −x²: from x = 2 that is −4, then −(1 + σ²), less λ times the norm of both stds."""
    system = LinearGaussianSystem(a=((0.5,),), b=((1.0,),), q=((1.0,),), r=((1.0,),), noise_std=(0.3,), reward_std=0.4)
    found = system.expected_return(((0.0,),), [2.0], horizon=2, discount=0.9, penalty_coef=2.0)
    assert found == pytest.approx(-4 - 2 * 0.5 + 0.9 * (-(1 + 0.09) - 2 * 0.5))


def test_a_gain_pays_for_the_input_it_uses() -> None:
    """u = −Kx costs R·K²x² in the same step and moves the next state."""
    system = LinearGaussianSystem(a=((1.0,),), b=((1.0,),), q=((1.0,),), r=((0.5,),), noise_std=(0.0,), reward_std=0.0)
    assert system.expected_return(((0.5,),), [2.0], horizon=2) == pytest.approx(-(4 + 0.5) - (1 + 0.125))


@pytest.mark.parametrize(("start", "limit"), [(-2.1, 1.0), (0.0, 0.09)], ids=["the state's", "the noise's"])
def test_a_return_that_the_limit_changes_is_refused(start: float, limit: float) -> None:
    """Environments clip inputs: the linear formula would be far from what anything in them can reach."""
    system: dict[str, Any] = {"a": ((1.0,),), "b": ((1.0,),), "q": ((1.0,),), "r": ((0.5,),), "noise_std": (0.05,)}
    with pytest.raises(ConfigError, match=rf"input_limit: inputs reach .* beyond {limit:g}"):
        LinearGaussianSystem(**system, input_limit=limit).expected_return(((0.5,),), [start], horizon=3)
    LinearGaussianSystem(**system, input_limit=1.5 * limit).expected_return(((0.5,),), [start], horizon=3)


@pytest.mark.parametrize("model", [SYSTEM.model(), LinearGaussianSystem().model(std=0.5, num_members=2)])
def test_a_toy_survives_pickling(model: Any) -> None:
    """Worker processes of a vector environment are sent their environments."""
    arguments = torch.ones(2, 2), torch.ones(2, 1)
    copied = pickle.loads(pickle.dumps(model)).predict(*arguments)  # noqa: S301
    assert torch.equal(copied.std, model.predict(*arguments).std)


# ---------------------------------------------------------------- TabularMDP


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
