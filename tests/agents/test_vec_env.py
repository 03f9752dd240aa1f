"""What Stable-Baselines3 asks of a vector environment, on systems whose every number can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from helpers.agents import toy_model
from helpers.transitions import transitions
from stable_baselines3.common.monitor import Monitor
from torch import Tensor

from mopo_agents.vec_env import PenalizedModelVecEnv
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.envs.vector_env import PenalizedModelVectorEnv
from mopo_env.errors import InputError
from mopo_env.toys import StubEnsemble

PENALTY_COEF = 0.5


def count_up(states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """s′ = s + 1 and r̂ = 10·s: the state tells how many steps were taken."""
    return states + 1.0, 10.0 * states[:, 0]


def counter(
    *, num_envs: int, horizon: int, starts: tuple[float, ...] = (0.0,), seed: int = 0, **options: Any
) -> PenalizedModelVecEnv:
    """Count up without noise; u(s, a) = |a| and λ = 0.5."""
    rows = np.array(starts * 2, dtype=np.float32)[:, None]
    # Rewards are below all that the model pays: what a broken model is paid is read off this.
    data = transitions(widths=(1, 1), observations=rows, next_observations=rows, rewards=np.full(len(rows), -7.0))
    model = StubEnsemble(1, 1, mean=options.pop("mean", count_up))
    penalized_model = PenalizedModel(
        model,
        data,
        penalty=lambda prediction: prediction.actions[:, 0].abs(),
        penalty_coef=PENALTY_COEF,
        **options,
    )
    return PenalizedModelVecEnv(penalized_model, num_envs=num_envs, horizon=horizon, seed=seed)


def from_state(limit: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A rule that ends an episode in states from `limit` on."""
    return lambda states, actions, next_states: next_states[:, 0] >= limit


def ones(env: PenalizedModelVecEnv) -> np.ndarray:
    return np.ones((env.num_envs, 1), dtype=np.float32)


@pytest.fixture
def toy() -> PenalizedModel:
    return toy_model()


def test_the_horizon_truncates_with_the_true_last_state() -> None:
    """SB3 bootstraps from terminal_observation: the restart's state there would corrupt every target at the horizon."""
    env = counter(num_envs=2, horizon=3)
    env.reset()
    for _ in range(2):
        _, _, dones, infos = env.step(ones(env))
        assert not dones.any()
        assert all("terminal_observation" not in info and "TimeLimit.truncated" not in info for info in infos)
    observations, _, dones, infos = env.step(ones(env))
    assert dones.tolist() == [True, True]
    np.testing.assert_array_equal(observations, [[0.0], [0.0]])
    for info in infos:
        assert info["TimeLimit.truncated"] is True
        np.testing.assert_array_equal(info["terminal_observation"], [3.0])


@pytest.mark.parametrize("horizon", [10, 2])
def test_a_death_is_no_truncation(horizon: int) -> None:
    """Else the critic would bootstrap from terminal states; a state is terminal at the horizon as well."""
    env = counter(num_envs=1, horizon=horizon, termination=from_state(2.0))
    env.reset()
    env.step(ones(env))
    observations, _, dones, infos = env.step(ones(env))
    assert dones.tolist() == [True]
    assert infos[0]["TimeLimit.truncated"] is False
    np.testing.assert_array_equal(infos[0]["terminal_observation"], [2.0])
    np.testing.assert_array_equal(observations, [[0.0]])


def test_a_model_that_breaks_down_dies_and_says_so() -> None:
    """A model's NaN must end as a death paid with the price of leaving, and never reach the agent."""

    def breaks_at_one(states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        next_states, rewards = count_up(states, actions)
        return next_states, torch.where(states[:, 0] == 1.0, torch.nan, rewards)

    env = counter(num_envs=1, horizon=10, mean=breaks_at_one)
    env.reset()
    _, _, _, infos = env.step(ones(env))
    assert infos[0]["exit"] == ""
    observations, rewards, dones, infos = env.step(ones(env))
    assert dones.tolist() == [True]
    assert infos[0]["exit"] == "non-finite"
    assert infos[0]["TimeLimit.truncated"] is False
    assert rewards.tolist() == pytest.approx([env.rollouts.penalized_model.envelope.exit_reward])
    assert np.isfinite(observations).all()
    assert np.isfinite(infos[0]["terminal_observation"]).all()


def test_rewards_are_the_models_less_the_weighted_penalty() -> None:
    """r̃ = r̂ − λ·u, and all three can be followed: infos are the only place where a user sees the penalty."""
    env = counter(num_envs=3, horizon=10)
    env.reset()
    env.step(ones(env))
    actions = np.array([[0.0], [-0.5], [1.0]], dtype=np.float32)
    _, rewards, _, infos = env.step(actions)
    np.testing.assert_array_equal(rewards, [10.0, 9.75, 9.5])
    assert [info["reward_model"] for info in infos] == [10.0, 10.0, 10.0]
    assert [info["penalty"] for info in infos] == [0.0, 0.5, 1.0]
    assert [info["exit"] for info in infos] == [""] * 3


def test_episode_holds_return_and_length() -> None:
    """SB3's rollout/ep_rew_mean reads it: 0 + 10 + 20 less 3·0.5·1, and the next episode starts from nothing."""
    env = counter(num_envs=1, horizon=3)
    env.reset()
    for _ in range(2):
        for _ in range(2):
            assert "episode" not in env.step(ones(env))[3][0]
        (info,) = env.step(ones(env))[3]
        assert (info["episode"]["r"], info["episode"]["l"]) == (28.5, 3)


def test_what_an_ended_branch_reports_is_its_own() -> None:
    """Rollouts that end at different times: each one's last state, cause, return and length must carry its index."""
    env = counter(num_envs=40, horizon=4, starts=(0.0, 8.0), termination=from_state(10.0), seed=1)
    start = env.reset()[:, 0]
    assert set(start) == {0.0, 8.0}  # else there is nothing to tell apart
    state = start.copy()
    for step in (1, 2, 3, 4):
        before = state
        observations, _, dones, infos = env.step(ones(env))
        state = observations[:, 0]
        dead = before + 1.0 >= 10.0
        ends = dead | (step == 4) & (start == 0.0)
        np.testing.assert_array_equal(dones[start == 0.0], ends[start == 0.0])
        for index in np.flatnonzero(dones):
            info = infos[index]
            np.testing.assert_array_equal(info["terminal_observation"], [before[index] + 1.0])
            assert info["TimeLimit.truncated"] is bool(not dead[index])
            steps = info["episode"]["l"]
            first = before[index] + 1.0 - steps
            assert first in (0.0, 8.0)
            assert info["episode"]["r"] == sum(10.0 * (first + k) - 0.5 for k in range(steps))
        assert set(state[dones]) <= {0.0, 8.0}


def test_the_same_rollouts_as_gymnasiums_vector_environment(toy: PenalizedModel) -> None:
    """Two facades of one core: with the same seed they must agree bit for bit, so that results carry over."""
    b, h = 6, 3
    here = PenalizedModelVecEnv(toy, num_envs=b, horizon=h, seed=3)
    there = PenalizedModelVectorEnv(toy, num_envs=b, horizon=h)
    np.testing.assert_array_equal(here.reset(), there.reset(seed=3)[0])
    random = np.random.default_rng(0)
    for _ in range(2 * h + 1):
        actions = random.uniform(-1, 1, size=(b, 1)).astype(np.float32)
        observations, rewards, dones, infos = here.step(actions)
        expected, expected_rewards, terminations, truncations, expected_infos = there.step(actions)
        np.testing.assert_array_equal(observations, expected)
        np.testing.assert_array_equal(rewards, expected_rewards)
        np.testing.assert_array_equal(dones, terminations | truncations)
        for name in ("reward_model", "penalty", "exit"):
            ended = expected_infos.get("final_info", expected_infos)[name]
            np.testing.assert_array_equal([info[name] for info in infos], np.where(dones, ended, expected_infos[name]))
        for index in np.flatnonzero(dones):
            np.testing.assert_array_equal(infos[index]["terminal_observation"], expected_infos["final_obs"][index])


def test_types_are_those_the_buffers_expect(toy: PenalizedModel) -> None:
    """SB3 copies what it is given into arrays of these types; another type would be converted row by row."""
    env = PenalizedModelVecEnv(toy, num_envs=4, horizon=2)
    assert env.reset().dtype == np.float32
    observations, rewards, dones, infos = env.step(np.zeros((4, 1), dtype=np.float32))
    assert (observations.dtype, rewards.dtype, dones.dtype) == (np.float32, np.float32, np.bool_)
    assert (observations.shape, rewards.shape, dones.shape, len(infos)) == ((4, 2), (4,), (4,), 4)
    assert env.observation_space == toy.observation_space
    assert env.action_space == toy.action_space


def test_a_caller_who_writes_into_an_observation_moves_nothing() -> None:
    """Wrappers normalise in place; the rollouts must not follow."""
    env = counter(num_envs=1, horizon=3)
    env.reset()[:] = 100.0
    observations = env.step(ones(env))[0]
    np.testing.assert_array_equal(observations, [[1.0]])
    observations[:] = 100.0
    np.testing.assert_array_equal(env.step(ones(env))[0], [[2.0]])


def rollout(env: PenalizedModelVecEnv, steps: int = 4) -> np.ndarray:
    seen = [env.reset()]
    seen += [env.step(np.zeros((env.num_envs, 1), dtype=np.float32))[0] for _ in range(steps)]
    return np.array(seen)


def test_seed_starts_the_stream_that_the_constructor_would(toy: PenalizedModel) -> None:
    """SB3 seeds environments through seed() and never through the constructor."""
    constructed = PenalizedModelVecEnv(toy, num_envs=8, horizon=3, seed=5)
    seeded = PenalizedModelVecEnv(toy, num_envs=8, horizon=3, seed=0)
    rollout(seeded)  # whatever was drawn before must not matter
    assert seeded.seed(5) == [5] * 8
    expected = rollout(constructed)
    np.testing.assert_array_equal(rollout(seeded), expected)
    assert (rollout(PenalizedModelVecEnv(toy, num_envs=8, horizon=3, seed=6)) != expected).any()


def test_seed_waits_for_the_next_reset(toy: PenalizedModel) -> None:
    """That is what SB3's documentation of VecEnv.seed promises."""
    untouched, reseeded = (PenalizedModelVecEnv(toy, num_envs=8, horizon=3, seed=5) for _ in range(2))
    untouched.reset()
    reseeded.reset()
    reseeded.seed(6)
    actions = np.zeros((8, 1), dtype=np.float32)
    np.testing.assert_array_equal(reseeded.step(actions)[0], untouched.step(actions)[0])


def test_reset_without_a_seed_goes_on_with_the_stream(toy: PenalizedModel) -> None:
    """Else every epoch would roll out from the same states with the same noise."""
    env = PenalizedModelVecEnv(toy, num_envs=8, horizon=3, seed=5)
    assert (rollout(env) != rollout(env)).any()


def test_seed_none_is_unpredictable(toy: PenalizedModel) -> None:
    """8 start states out of 1,000 rows: two streams agree by chance once in 10²⁴."""
    env = PenalizedModelVecEnv(toy, num_envs=8, horizon=3)
    assert env.seed(None) == [None] * 8
    first = env.reset()
    env.seed(None)
    assert (env.reset() != first).any()


def test_attributes_can_be_read(toy: PenalizedModel) -> None:
    """SB3 asks for render_mode in every constructor and warns where it cannot be had."""
    env = PenalizedModelVecEnv(toy, num_envs=3, horizon=2)
    assert env.get_attr("render_mode") == [None] * 3
    assert env.get_attr("render_mode", indices=[0, 2]) == [None] * 2
    assert env.get_attr("num_envs", indices=1) == [3]
    with pytest.raises(AttributeError):
        env.get_attr("no_such_attribute")
    assert not env.has_attr("no_such_attribute")


def test_attributes_of_one_rollout_cannot_be_set(toy: PenalizedModel) -> None:
    """Silently doing nothing would let a user believe that λ of one rollout was changed."""
    env = PenalizedModelVecEnv(toy, num_envs=3, horizon=2)
    with pytest.raises(AttributeError, match="penalty_coef: the rollouts share one model"):
        env.set_attr("penalty_coef", 3.0)
    with pytest.raises(AttributeError, match="reset: the rollouts share one model"):
        env.env_method("reset")


def test_no_rollout_is_wrapped(toy: PenalizedModel) -> None:
    """SB3's evaluation asks for Monitor and trusts the answer."""
    env = PenalizedModelVecEnv(toy, num_envs=3, horizon=2)
    assert env.env_is_wrapped(Monitor) == [False] * 3
    assert env.env_is_wrapped(gym.Wrapper, indices=[1]) == [False]


@pytest.mark.parametrize("actions", [np.zeros((4, 1)), np.array([[0.0], [np.nan], [0.0]])])
def test_wrong_actions_are_refused(toy: PenalizedModel, actions: np.ndarray) -> None:
    """They would broadcast or spread as NaN."""
    env = PenalizedModelVecEnv(toy, num_envs=3, horizon=2)
    env.reset()
    with pytest.raises(InputError, match="actions"):
        env.step(actions)
