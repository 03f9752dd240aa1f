"""The vector environment is n single ones: same transitions, Gymnasium's own conventions, only faster."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from helpers.models import penalized_model

from mopo_env.envs.env import PenalizedModelEnv
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.envs.vector_env import PenalizedModelVectorEnv
from mopo_env.errors import InputError, UnknownNameError
from mopo_env.tasks import TOY_ID
from mopo_env.toys import LinearGaussianSystem

SYSTEM = LinearGaussianSystem()


def driven(num_envs: int = 2, horizon: int = 2) -> PenalizedModelVectorEnv:
    return PenalizedModelVectorEnv(driven_model(), num_envs=num_envs, horizon=horizon)


def driven_model() -> PenalizedModel:
    """Return a world that its action drives, so that rows differ; it ends above 2, and breaks down beyond 1.5."""
    return penalized_model(
        lambda s, a: (torch.where(s > 1.5, math.nan, s + a), 10 * s[:, 0] + a[:, 0]),
        penalty=lambda said: said.actions[:, 0].abs(),
        penalty_coef=0.5,
        end_above=2.0,
    )


def noisy() -> PenalizedModel:
    return PenalizedModel(
        SYSTEM.model(), SYSTEM.transitions(), termination=lambda s, a, following: following[:, 0].abs() > 3
    )


# ---------------------------------------------------------------- the same as single environments


def test_it_does_what_gymnasiums_own_vector_of_single_environments_does() -> None:
    """Observations, rewards, flags and final observations, through many restarts of every kind, exactly."""
    num_envs, horizon, diverged = 6, 4, 0
    ours = driven(num_envs, horizon)
    theirs = SyncVectorEnv(
        [lambda: PenalizedModelEnv(driven_model(), horizon=horizon)] * num_envs,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    np.testing.assert_array_equal(ours.reset(seed=0)[0], theirs.reset(seed=0)[0])
    random, kinds = np.random.default_rng(0), set()
    for _ in range(60):
        actions = random.uniform(-0.5, 1.5, (num_envs, 1)).astype(np.float32)
        found, expected = ours.step(actions), theirs.step(actions)
        for index, name in enumerate(["observations", "rewards", "terminations", "truncations"]):
            np.testing.assert_allclose(found[index], expected[index], rtol=1e-6, err_msg=name)
            assert found[index].shape == expected[index].shape
        assert (found[2].dtype, found[3].dtype) == (expected[2].dtype, expected[3].dtype)
        kinds |= set(zip(found[2].tolist(), found[3].tolist(), strict=True))
        same_infos(found[4], expected[4])
        diverged += found[4].get("final_info", found[4])["exit"].tolist().count("non-finite")
    assert diverged > 10, "models must break down, too"
    assert kinds == {(False, False), (True, False), (False, True), (True, True)}, "every kind of end must occur"


def same_infos(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Masks, and every number that a mask speaks for; Gymnasium leaves out what is said of no row."""
    assert {name for name, rows in found.items() if name[0] == "_" and rows.any()} == {
        name for name in expected if name[0] == "_"
    }
    for name, values in expected.items():
        if isinstance(values, dict):
            same_infos(found[name], values)
        elif values.dtype == object:
            for mine, other in zip(found[name], values, strict=True):
                np.testing.assert_array_equal(mine, other)
        else:
            np.testing.assert_allclose(found[name], values, rtol=1e-6, err_msg=name)


def test_one_row_is_the_single_environment_bit_for_bit() -> None:
    """Noise included: both draw the same numbers in the same order from the same seed."""
    vector = PenalizedModelVectorEnv(noisy(), num_envs=1, horizon=5)
    single = PenalizedModelEnv(noisy(), horizon=5)
    np.testing.assert_array_equal(vector.reset(seed=3)[0][0], single.reset(seed=3)[0])
    random, ends = np.random.default_rng(0), 0
    for _ in range(100):
        action = random.uniform(-1, 1, 1).astype(np.float32)
        observations, rewards, terminations, truncations, infos = vector.step(action[None])
        observation, reward, terminated, truncated, info = single.step(action)
        assert (rewards[0], terminations[0], truncations[0]) == (np.float32(reward), terminated, truncated)
        said = infos.get("final_info", infos)
        assert {name: said[name][0] for name in info} == {
            name: np.float32(value) if isinstance(value, float) else value for name, value in info.items()
        }
        if terminated or truncated:
            np.testing.assert_array_equal(infos["final_obs"][0], observation)
            observation, _ = single.reset()
            ends += 1
        np.testing.assert_array_equal(observations[0], observation)
    assert ends > 15


# ---------------------------------------------------------------- Gymnasium's conventions


def test_spaces_and_metadata() -> None:
    env = driven(3)
    assert env.num_envs == 3
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert env.single_observation_space.shape == env.single_action_space.shape == (1,)
    assert env.observation_space.shape == env.action_space.shape == (3, 1)
    observations, infos = env.reset(seed=0)
    assert infos == {}
    assert env.observation_space.contains(observations)
    step = env.step(env.action_space.sample())
    assert env.observation_space.contains(step[0])
    assert step[1].shape == step[2].shape == step[3].shape == (3,)
    assert (step[2].dtype, step[3].dtype) == (bool, bool)


# ---------------------------------------------------------------- seeds and refusals


def test_the_seed_decides_everything_and_the_stream_goes_on() -> None:
    def rollout(seed: int) -> np.ndarray:
        env = PenalizedModelVectorEnv(noisy(), num_envs=3, horizon=2)
        seen = [env.reset(seed=seed)[0]]
        seen += [env.step(np.zeros((3, 1)))[0] for _ in range(5)]
        seen.append(env.reset()[0])
        return np.stack(seen)

    before = torch.get_rng_state()
    first = rollout(1)
    np.testing.assert_array_equal(first, rollout(1))
    assert not np.array_equal(first, rollout(2))
    assert not np.array_equal(first[0], first[-1])
    assert torch.equal(torch.get_rng_state(), before)


def test_start_states_can_be_given_one_a_rollout() -> None:
    """As a single environment takes one; and the draws that follow are those of the same seed."""
    starts = np.array([[0.5, -0.5], [2.0, 0.0], [0.0, 1.0]])
    env = PenalizedModelVectorEnv(noisy(), num_envs=3, horizon=9)
    observations, _ = env.reset(seed=0, options={"observation": starts})
    np.testing.assert_array_equal(observations, starts.astype(np.float32))
    following = env.step(np.zeros((3, 1)))[0]
    assert np.abs(following - starts @ np.array(SYSTEM.a).T).max() < 0.5, "the step starts there, too"
    starts[:] = 9.0
    np.testing.assert_array_equal(env.reset(seed=0, options={"observation": following})[0], following)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"observaton": np.zeros((2, 1))}, UnknownNameError, "option of reset 'observaton'.*'observation'"),
        ({"reset_mask": np.array([True, False])}, UnknownNameError, "reset_mask"),
        ({"observation": np.zeros(1)}, InputError, r"observation: found shape \(1,\).*expected \(2, 1\)"),
        ({"observation": np.full((2, 1), np.nan)}, InputError, "finite"),
    ],
)
def test_wrong_options_of_reset_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """What is ignored is believed to work."""
    with pytest.raises(error, match=message):
        driven().reset(options=options)


def test_numbers_of_numpy_are_numbers() -> None:
    """A sweep over `np.arange` hands them over; what is kept are plain ones."""
    env = driven(np.int64(2), np.int32(3))  # type: ignore[arg-type]
    assert (type(env.num_envs), type(env.rollouts.horizon)) == (int, int)


def test_step_before_reset_is_refused() -> None:
    with pytest.raises(gym.error.ResetNeeded):
        driven().step(np.zeros((2, 1)))


# ---------------------------------------------------------------- gym.make_vec


def test_make_vec_gives_the_batched_environment() -> None:
    """By default, and without a warning: n separate models in one process would be n times slower."""
    env = gym.make_vec(TOY_ID, num_envs=3, horizon=2, penalty_coef=4.0)
    assert isinstance(env.unwrapped, PenalizedModelVectorEnv)
    assert env.num_envs == 3
    assert env.unwrapped.rollouts.horizon == 2
    assert env.unwrapped.rollouts.penalized_model.penalty_coef == 4.0
    env.reset(seed=0)
    assert not env.step(np.zeros((3, 1), np.float32))[3].any()
    assert env.step(np.zeros((3, 1), np.float32))[3].all()


def test_make_vec_can_also_build_single_environments() -> None:
    """`vectorization_mode="sync"` is what a user asks for who wants the wrappers of single environments."""
    env = gym.make_vec(TOY_ID, num_envs=2, vectorization_mode="sync", horizon=3)
    assert env.reset(seed=0)[0].shape == (2, 2)
    env.close()
