"""The paper's bounds on processes small enough to solve, and the closed forms our environments must reproduce.

Conventions, on which the bounds stand or fall: u(s, a) is the L1 distance between true and learned transition
probabilities when rewards have both signs, and half of it, the total variation, is enough when they lie in
[0, r_max]; λ = γ·r_max/(1 − γ). What is not proved: maxᵢ‖σᵢ‖ is no such u, rewards are learned, rollouts are cut.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.envs.vector_env import PenalizedModelVectorEnv
from mopo_env.toys import LinearGaussianSystem, TabularMDP, tabular_error
from mopo_env.toys.metrics import total_variation

# ---------------------------------------------------------------- Lemma 4.1, the bound, Theorem 4.4


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A process, a model of it, and what the theory needs to compare them."""

    truth: TabularMDP
    learned: TabularMDP
    error: np.ndarray
    penalty_coef: float


def variation(first: TabularMDP, second: TabularMDP) -> np.ndarray:
    return total_variation(first.probabilities, second.probabilities)


def random_pair(seed: int) -> Pair:
    random = np.random.default_rng(seed)
    num_states, num_actions = random.integers(2, 5), random.integers(2, 4)
    discount, largest = random.choice([0.5, 0.9, 0.99]), random.choice([1.0, 5.0])
    signed = seed % 2 == 1
    probabilities = random.dirichlet(np.full(num_states, random.choice([0.1, 1.0])), (num_states, num_actions))
    mixed = random.choice([0.05, 0.5, 1.0])
    other = random.dirichlet(np.full(num_states, 0.1), (num_states, num_actions))
    rewards = random.uniform(-largest if signed else 0.0, largest, (num_states, num_actions))
    start = random.dirichlet(np.ones(num_states))
    truth, learned = (
        TabularMDP(probabilities=array, rewards=rewards, start=start, discount=float(discount))
        for array in (probabilities, (1 - mixed) * probabilities + mixed * other)
    )
    error = variation(truth, learned) * (2.0 if signed else 1.0)
    return Pair(truth=truth, learned=learned, error=error, penalty_coef=float(discount * largest / (1 - discount)))


def policies(mdp: TabularMDP, seed: int) -> Iterator[np.ndarray]:
    """Yield every deterministic policy and some that are not."""
    for choice in itertools.product(range(mdp.num_actions), repeat=mdp.num_states):
        yield np.eye(mdp.num_actions)[list(choice)]
    random = np.random.default_rng(1000 + seed)
    for _ in range(10):
        yield random.dirichlet(np.ones(mdp.num_actions), mdp.num_states)


@pytest.mark.parametrize("seed", range(12))
def test_telescoping_lemma(seed: int) -> None:
    """Lemma 4.1: η_M̂ − η_M = γ Σ ρ_M̂(s, a)·(E_M̂[V_M] − E_M[V_M]), an equality to rounding."""
    pair = random_pair(seed)
    for policy in policies(pair.truth, seed):
        values = pair.truth.values(policy)
        gap = pair.learned.probabilities @ values - pair.truth.probabilities @ values
        expected = pair.truth.discount * (pair.learned.occupancy(policy) * gap).sum()
        found = pair.learned.expected_return(policy) - pair.truth.expected_return(policy)
        scale = 1 + abs(pair.truth.expected_return(policy)) + abs(pair.learned.expected_return(policy))
        assert abs(found - expected) < 1e-11 * scale


@pytest.mark.parametrize("seed", range(12))
def test_the_penalised_return_is_a_lower_bound(seed: int) -> None:
    """η_M(π) ≥ η_M̃(π) for every policy: why an agent may trust what it earns in M̃. And the other side of it."""
    pair = random_pair(seed)
    penalised = pair.learned.penalised(pair.error, pair.penalty_coef)
    for policy in policies(pair.truth, seed):
        true, scale = pair.truth.expected_return(policy), 1 + abs(penalised.expected_return(policy))
        assert penalised.expected_return(policy) <= true + 1e-11 * scale
        paid = pair.penalty_coef * (pair.learned.occupancy(policy) * pair.error).sum()
        assert true <= pair.learned.expected_return(policy) + paid + 1e-11 * scale


@pytest.mark.parametrize("seed", range(12))
def test_the_policy_found_in_the_model_is_nearly_the_best(seed: int) -> None:
    """Theorem 4.4: η_M(π̂) ≥ max over π of η_M(π) − 2λ·ε_u(π), π̂ optimal in M̃."""
    pair = random_pair(seed)
    found = pair.learned.penalised(pair.error, pair.penalty_coef).optimal_policy()
    promised = max(
        pair.truth.expected_return(policy) - 2 * pair.penalty_coef * (pair.learned.occupancy(policy) * pair.error).sum()
        for policy in policies(pair.truth, seed)
    )
    assert pair.truth.expected_return(found) >= promised - 1e-9 * (1 + abs(promised))


# ---------------------------------------------------------------- examples on which a wrong constant shows


def good_or_bad(discount: float, good: float, bad: float) -> tuple[TabularMDP, TabularMDP]:
    """Start leads to bad in truth and to good in the model; both pay for ever."""
    probabilities = np.zeros((3, 1, 3))
    probabilities[0, 0, 2] = probabilities[1, 0, 1] = probabilities[2, 0, 2] = 1.0
    wrong = probabilities.copy()
    wrong[0, 0] = [0.0, 1.0, 0.0]
    truth, learned = (
        TabularMDP(
            probabilities=array,
            rewards=np.array([[0.0], [good], [bad]]),
            start=np.array([1.0, 0.0, 0.0]),
            discount=discount,
        )
        for array in (probabilities, wrong)
    )
    return truth, learned


POLICY = np.ones((3, 1))


@pytest.mark.parametrize(("discount", "largest"), [(0.9, 1.0), (0.99, 5.0)])
def test_the_bound_is_tight(discount: float, largest: float) -> None:
    """Random processes leave slack: with half the penalty the bound holds on all of them. Here 0.999 λ breaks it."""
    truth, learned = good_or_bad(discount, largest, 0.0)
    error = variation(truth, learned)
    penalty_coef = discount * largest / (1 - discount)
    true = truth.expected_return(POLICY)
    assert learned.penalised(error, penalty_coef).expected_return(POLICY) == pytest.approx(true, abs=1e-10)
    assert learned.penalised(error, 0.999 * penalty_coef).expected_return(POLICY) > true + 1e-3


def test_signed_rewards_need_the_whole_l1_distance() -> None:
    """With rewards in [−1, 1] the total variation promises 0 where the truth is −9; the L1 distance says −9."""
    truth, learned = good_or_bad(0.9, 1.0, -1.0)
    error, penalty_coef = variation(truth, learned), 0.9 * 1.0 / (1 - 0.9)
    true = truth.expected_return(POLICY)
    assert true == pytest.approx(-9.0)
    assert learned.penalised(error, penalty_coef).expected_return(POLICY) == pytest.approx(0.0, abs=1e-10)
    assert learned.penalised(2 * error, penalty_coef).expected_return(POLICY) == pytest.approx(true)


def test_the_policy_avoids_what_the_model_only_believes() -> None:
    """The paper's idea in three states: a treasure the model has invented, or a small reward that is certain.

    Without the penalty the invented one is taken, with it the certain one.
    """
    probabilities = np.zeros((4, 2, 4))
    probabilities[0, 0, 2] = probabilities[0, 1, 3] = 1.0  # in truth: risky → nothing, safe → a little
    for state in (1, 2, 3):
        probabilities[state, :, state] = 1.0
    believed = probabilities.copy()
    believed[0, 0] = [0.0, 1.0, 0.0, 0.0]  # the model: risky → treasure
    rewards = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.2, 0.2]])
    truth, learned = (
        TabularMDP(probabilities=array, rewards=rewards, start=np.eye(4)[0], discount=0.9)
        for array in (probabilities, believed)
    )
    error = variation(truth, learned)
    naive, careful = learned.optimal_policy(), learned.penalised(error, 9.0).optimal_policy()
    assert truth.expected_return(naive) == 0.0
    assert truth.expected_return(careful) == pytest.approx(1.8) == truth.expected_return(truth.optimal_policy())


# ---------------------------------------------------------------- from the formulas to our environments


def standard_errors_off(returns: np.ndarray, exact: float) -> float:
    return float((returns.mean() - exact) / (returns.std() / math.sqrt(len(returns))))


def one_action(policy: np.ndarray, observations: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw an action for each one-hot state, as the vector whose largest entry it is."""
    chances = policy[observations.argmax(axis=1)].cumsum(axis=1)
    chosen = (random.random(len(chances))[:, None] > chances).sum(axis=1)
    return 2.0 * np.eye(policy.shape[1])[np.minimum(chosen, policy.shape[1] - 1)] - 1.0


@pytest.mark.parametrize("seed", [0, 3])
def test_the_vector_environment_is_the_penalised_process(seed: int) -> None:
    """The mean return of h steps is that of M̃ over h steps, not η: rollouts are cut and not discounted."""
    pair, horizon, num_envs = random_pair(seed), 4, 20_000
    data = pair.learned.transitions(num_rows=500, seed=seed)
    exact_start = data.observations.mean(axis=0, dtype=np.float64)  # starts are rows of the dataset
    model = TabularMDP(
        probabilities=pair.learned.probabilities,
        rewards=pair.learned.rewards,
        start=exact_start,
        discount=pair.learned.discount,
    )
    policy = np.random.default_rng(seed).dirichlet(np.ones(model.num_actions), model.num_states)
    penalized_model = PenalizedModel(model.model(pair.error), data, penalty=tabular_error, penalty_coef=1.5)
    env = PenalizedModelVectorEnv(penalized_model, num_envs=num_envs, horizon=horizon)
    observations, _ = env.reset(seed=seed)
    random, returns = np.random.default_rng(seed), np.zeros(num_envs)
    for _ in range(horizon):
        observations, rewards, _, truncations, _ = env.step(one_action(policy, observations, random))
        returns += rewards
    assert truncations.all()
    exact = model.penalised(pair.error, 1.5).horizon_return(policy, horizon)
    assert abs(standard_errors_off(returns, exact)) < 5
    for wrong in (
        model.penalised(pair.error, 1.5).horizon_return(policy, horizon + 1),
        model.horizon_return(policy, horizon),
        model.penalised(pair.error, -1.5).horizon_return(policy, horizon),
    ):
        assert abs(standard_errors_off(returns, wrong)) > 20, "this test must be able to fail"


# A start far enough out for the dynamics to matter, a gain that keeps the closed loop stable, λ large enough to see.
SYSTEM = LinearGaussianSystem(input_limit=100.0)
START, GAIN, PENALTY_COEF = [1.0, 0.5], ((0.6, 0.9),), 2.5


def linear_model() -> PenalizedModel:
    return PenalizedModel(SYSTEM.model(), SYSTEM.start_transitions(START), penalty_coef=PENALTY_COEF)


def test_linear_quadratic_return_through_the_vector_environment() -> None:
    """20,000 rollouts of 40 steps against the closed form; the discount weighs an error of one step."""
    horizon, num_envs, discount = 40, 20_000, 0.99
    env = PenalizedModelVectorEnv(linear_model(), num_envs=num_envs, horizon=horizon)
    observations, _ = env.reset(seed=0)
    returns = np.zeros(num_envs)
    for step in range(horizon):
        observations, rewards, *_ = env.step(-observations @ np.array(GAIN).T)
        returns += discount**step * rewards

    def exact(penalty_coef: float, horizon: int = horizon, discount: float = discount) -> float:
        return SYSTEM.expected_return(GAIN, START, horizon=horizon, discount=discount, penalty_coef=penalty_coef)

    assert abs(standard_errors_off(returns, exact(PENALTY_COEF))) < 5
    norm = np.linalg.norm(SYSTEM.output_std)
    without_reward = PENALTY_COEF * np.linalg.norm(SYSTEM.noise_std) / norm
    assert abs(standard_errors_off(returns, exact(without_reward))) > 100, "the reward's std dropped from the norm"
    assert abs(standard_errors_off(returns, exact(PENALTY_COEF * norm))) > 100, "variances in place of stds"
    assert abs(standard_errors_off(returns, exact(0.0))) > 100, "no penalty"
    assert abs(standard_errors_off(returns, exact(PENALTY_COEF, horizon=horizon - 1))) > 8, "one step too few"
    assert abs(standard_errors_off(returns, exact(PENALTY_COEF, discount=1.0))) > 100, "no discount"
