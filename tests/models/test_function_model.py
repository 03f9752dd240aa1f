"""Algorithm 1 in general: any model, any u, one environment; and a perfect model gives the optimal policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import generator
from helpers.transitions import transitions
from stable_baselines3.common.env_checker import check_env
from torch.distributions import Independent, Normal, Uniform

from mopo_env.envs.env import PenalizedModelEnv
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError
from mopo_env.models.function_model import FunctionModel
from mopo_env.models.protocol import DynamicsModel, Prediction
from mopo_env.penalties import PENALTIES, error_estimator
from mopo_env.toys import TabularMDP


def model(function: Any) -> FunctionModel:
    return FunctionModel(function, observation_dim=2, action_dim=1)


def certain(observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return observations + actions, observations.sum(dim=1)


def uncertain(observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Move right, and earn nothing; each output has noise of its own size."""
    mean = torch.cat([observations + actions, torch.zeros_like(actions)], dim=1)
    return mean, torch.tensor([1.0, 3.0, 5.0]).expand_as(mean)


def as_normal(observations: torch.Tensor, actions: torch.Tensor) -> Normal:
    return Normal(*uncertain(observations, actions))


def as_independent(observations: torch.Tensor, actions: torch.Tensor) -> Independent:
    return Independent(as_normal(observations, actions), 1)


def in_numpy(observations: torch.Tensor, actions: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What scikit-learn would answer: float64, here also read-only."""
    mean, std = (part.numpy().astype(np.float64) for part in uncertain(observations, actions))
    return mean, np.broadcast_to(std[:1], std.shape)


def of_two(observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two members, 8 apart in every output."""
    mean, std = uncertain(observations, actions)
    return torch.stack([mean - 4.0, mean + 4.0]), torch.stack([std, 2.0 * std])


def test_it_fits_the_protocol() -> None:
    assert isinstance(model(certain), DynamicsModel)
    assert isinstance(model(certain).predict(torch.zeros(1, 2), torch.zeros(1, 1)), Prediction)


def test_a_plain_function_is_followed_to_the_letter() -> None:
    observations, actions = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[10.0], [20.0]])
    next_observations, rewards = model(certain).predict(observations, actions).sample(generator())
    assert next_observations.tolist() == [[11, 12], [23, 24]]
    assert rewards.tolist() == [3, 7]


@pytest.mark.parametrize("function", [uncertain, as_normal, as_independent, in_numpy])
def test_a_mean_and_its_std_are_a_prediction(function: Any) -> None:
    """In whatever form they come; what draws from a `GaussianPrediction` is tested elsewhere."""
    observations, actions = torch.zeros(4, 2), torch.ones(4, 1)
    said = model(function).predict(observations, actions)
    mean, std = uncertain(observations, actions)
    assert torch.equal(said.mean, mean[None])
    assert torch.equal(said.std, std[None])
    assert said.elites.tolist() == [0]


@pytest.mark.parametrize("penalty", PENALTIES)
def test_built_in_penalties_work_with_any_ensemble(penalty: str) -> None:
    """So nobody has to write one for their own trees or networks; the norms are those of `of_two`."""
    two = FunctionModel(of_two, observation_dim=2, action_dim=1, num_members=2)
    penalized_model = PenalizedModel(two, transitions(50), penalty=penalty, member_per="rollout")
    members = penalized_model.pick_members(3, generator())
    found = penalized_model.step(torch.zeros(3, 2), torch.zeros(3, 1), generator(), members).penalties
    expected = {
        "learned-variance": 2 * 35**0.5,
        "ensemble-disagreement": 4 * 2**0.5,
        "max-pairwise-difference": 128**0.5,
    }
    assert found[0] == pytest.approx(expected.get(penalty, float(found[0])))
    assert found.shape == (3,)


def test_it_reads_and_moves_no_global_generator() -> None:
    """Lending the global one the state of ours, as it was once done, is a race between threads."""
    said = model(as_normal).predict(torch.zeros(5, 2), torch.zeros(5, 1))
    before = torch.get_rng_state()
    first = said.sample(generator(3))[0]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(said.sample(generator(3))[0], first)
    assert not torch.equal(said.sample(generator(4))[0], first)


def test_it_makes_an_environment_with_any_error_estimator() -> None:
    """r̃ = r − λ·u(s, a), u a function of the user's."""
    u = error_estimator(lambda observations, actions: observations.abs().sum(dim=1) + actions[:, 0].abs())
    env = PenalizedModelEnv(PenalizedModel(model(certain), transitions(50), penalty=u, penalty_coef=3.0), horizon=5)
    check_env(env, warn=True)
    observation, _ = env.reset(seed=0)
    _, reward, _, _, info = env.step(np.array([0.5]))
    assert info["penalty"] == pytest.approx(np.abs(observation).sum() + 0.5, rel=1e-6)
    assert reward == pytest.approx(observation.sum() - 3.0 * info["penalty"], rel=1e-5)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda s, a: s, "expected mean and standard deviation.*found Tensor"),
        (lambda s, a: (s, a, a), "found tuple"),
        (lambda s, a: (s, 0.0), "found tuple"),
        (lambda s, a: Uniform(s, s + 1.0), "found Uniform"),
        (lambda s, a: (s, a), r"rewards: found shape \(4, 1\), expected \(4,\)"),
        (lambda s, a: (s[:, :1], a[:, 0]), r"next observations: found shape \(4, 1\), expected \(4, 2\)"),
        (lambda s, a: (torch.zeros(4, 3), a), r"std: found shape \(1, 4, 1\), expected \(1, 4, 3\)"),
        (of_two, r"mean: found shape \(2, 4, 3\), expected \(1, 4, 3\)"),
    ],
)
def test_what_a_function_may_not_return(function: Any, message: str) -> None:
    """It would broadcast silently: four rewards of shape (4, 1) become sixteen."""
    with pytest.raises(ConfigError, match=message):
        model(function).predict(torch.zeros(4, 2), torch.zeros(4, 1))


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
def test_widths_are_checked(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="action_dim"):
        FunctionModel(certain, observation_dim=2, action_dim=wrong)


# ---------------------------------------------------------------- the theorem's extreme case


def maze(seed: int) -> TabularMDP:
    """Return a process of six states and three actions whose moves are certain."""
    random = np.random.default_rng(seed)
    probabilities = np.eye(6)[random.integers(6, size=(6, 3))]
    return TabularMDP(
        probabilities=probabilities, rewards=random.uniform(-1, 1, (6, 3)), start=np.ones(6) / 6, discount=0.9
    )


def as_function(mdp: TabularMDP) -> Any:
    """Return (s, a) → (s′, r) of such a process: states one-hot, an action the largest entry of a vector."""
    following = torch.tensor(np.eye(6)[mdp.probabilities.argmax(axis=2)], dtype=torch.float32)
    rewards = torch.tensor(mdp.rewards, dtype=torch.float32)

    def step(observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        where = observations.argmax(dim=1), actions.argmax(dim=1)
        return following[where], rewards[where]

    return step


def learned_in(env: PenalizedModelEnv, mdp: TabularMDP, num_steps: int = 3_000) -> np.ndarray:
    """Return the greedy policy of Q-learning under random actions; with certain moves a step size of 1 is exact."""
    random, q = np.random.default_rng(0), np.zeros_like(mdp.rewards)
    observation, _ = env.reset(seed=0)
    for _ in range(num_steps):
        state, action = int(observation.argmax()), int(random.integers(mdp.num_actions))
        observation, reward, _, truncated, _ = env.step(2.0 * np.eye(mdp.num_actions)[action] - 1.0)
        q[state, action] = float(reward) + mdp.discount * q[observation.argmax()].max()
        if truncated:
            observation, _ = env.reset()
    return np.eye(mdp.num_actions)[q.argmax(axis=1)]


@pytest.mark.parametrize("seed", range(3))
def test_a_perfect_model_without_a_penalty_gives_the_optimal_policy(seed: int) -> None:
    """The paper, after Theorem 4.4: with u(s, a) = 0 and perfect dynamics, π* is recovered."""
    mdp = maze(seed)
    perfect = FunctionModel(as_function(mdp), observation_dim=6, action_dim=3)
    penalized_model = PenalizedModel(perfect, mdp.transitions(num_rows=200), penalty="none")
    found = learned_in(PenalizedModelEnv(penalized_model, horizon=10), mdp)
    best = mdp.expected_return(mdp.optimal_policy())
    assert mdp.expected_return(found) == pytest.approx(best, abs=1e-6)
    worst = mdp.expected_return(np.eye(3)[mdp.rewards.argmin(axis=1)])
    assert best - worst > 0.5, "the premise: policies differ"


def test_a_penalty_gives_the_optimal_policy_of_the_penalised_process() -> None:
    """With u > 0 the agent finds what is optimal in M̃, which is another policy: the penalty reaches the agent."""
    mdp = maze(0)
    error = np.random.default_rng(5).uniform(0, 1, (6, 3))
    table = torch.tensor(error, dtype=torch.float32)
    u = error_estimator(lambda observations, actions: table[observations.argmax(dim=1), actions.argmax(dim=1)])
    perfect = FunctionModel(as_function(mdp), observation_dim=6, action_dim=3)
    penalized_model = PenalizedModel(perfect, mdp.transitions(num_rows=200), penalty=u, penalty_coef=2.0)
    found = learned_in(PenalizedModelEnv(penalized_model, horizon=10), mdp)
    penalised = mdp.penalised(error, 2.0)
    assert penalised.expected_return(found) == pytest.approx(
        penalised.expected_return(penalised.optimal_policy()), abs=1e-6
    )
    assert not np.array_equal(found, mdp.optimal_policy())
