"""`PenalizedModelEnv` keeps Gymnasium's contract to the letter: every agent and wrapper relies on all of it."""

from __future__ import annotations

import json
import math
import pickle
import random
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from gymnasium.utils.env_checker import check_env as gymnasium_check
from helpers.models import LOWEST, count_up, fitted_ensemble, penalized_model
from stable_baselines3.common.env_checker import check_env as sb3_check

from mopo_env.envs.env import PenalizedModelEnv
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, InputError, UnknownNameError
from mopo_env.tasks import TOY_ID
from mopo_env.toys import LinearGaussianSystem, StubEnsemble

ZERO = np.zeros(1, np.float32)
Build = Callable[[int], PenalizedModelEnv]


def toy(horizon: int = 20, **options: Any) -> PenalizedModelEnv:
    env = gym.make(TOY_ID, horizon=horizon, **options).unwrapped
    assert isinstance(env, PenalizedModelEnv)
    return env


@pytest.fixture(scope="module")
def fitted_model() -> PenalizedModel:
    """Return what a user builds: a dataset and a real, if tiny, ensemble fitted on it."""
    transitions = LinearGaussianSystem().transitions(num_episodes=100, num_steps=2)
    return PenalizedModel(fitted_ensemble(transitions), transitions, penalty_coef=0.5)


@pytest.fixture(params=["toy", "fitted"])
def build(request: pytest.FixtureRequest) -> Build:
    if request.param == "toy":
        return toy
    fitted: PenalizedModel = request.getfixturevalue("fitted_model")
    return lambda horizon: PenalizedModelEnv(fitted, horizon=horizon)


def counting(*, horizon: int, **options: Any) -> PenalizedModelEnv:
    """Return a world of one number that counts up from zero."""
    return PenalizedModelEnv(penalized_model(count_up, **options), horizon=horizon)


# ---------------------------------------------------------------- the checkers of Gymnasium and SB3


@pytest.mark.parametrize("horizon", [2, 20])
def test_both_checkers_accept_it(build: Build, horizon: int) -> None:
    """Gymnasium's finds global generators, missing seeding and shared arrays, SB3's NumPy rewards and flags."""
    env = build(horizon)
    # Without a spec it cannot build the environment again to try other render modes, and there are none.
    gymnasium_check(env, skip_render_check=env.spec is None)
    sb3_check(env)


def test_the_checkers_accept_a_bounded_world() -> None:
    """Bounds are what they check observations against."""
    bounded = penalized_model(lambda s, a: (s + a, s[:, 0]), std=0.1, observation_space=Box(-5, 5, (1,), np.float32))
    gymnasium_check(PenalizedModelEnv(bounded, horizon=5), skip_render_check=True)
    sb3_check(PenalizedModelEnv(bounded, horizon=5))


def test_horizon_one(build: Build) -> None:
    """MOPO uses h = 1 on three tasks, and Gymnasium's checker refuses it, so it is checked by hand."""
    env = build(1)
    for episode in range(5):
        observation, info = env.reset(seed=3 if episode == 0 else None)
        assert env.observation_space.contains(observation)
        assert info == {}
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
        assert (terminated, truncated) == (False, True)
        assert {name: type(value) for name, value in info.items()} == {
            "reward_model": float,
            "penalty": float,
            "exit": str,
        }


# ---------------------------------------------------------------- randomness


def rollout(env: Any, seed: int, num_steps: int = 200) -> list[Any]:
    """Return everything an agent sees; the actions are the same for every call."""
    action_random = np.random.default_rng(5)
    seen: list[Any] = [env.reset(seed=seed)]
    for _ in range(num_steps):
        step = env.step(action_random.uniform(-1, 1, 1).astype(np.float32))
        seen.append(step)
        if step[2] or step[3]:
            seen.append(env.reset())
    return seen


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    return type(first) is type(second) and first == second


def test_the_seed_decides_everything(build: Build) -> None:
    """The checker compares one step; a generator that is shared or rebuilt too late shows only later."""
    env = build(7)
    first = rollout(env, seed=1)
    assert equal(rollout(env, seed=1), first), "the same environment, seeded again"
    assert equal(rollout(build(7), seed=1), first), "a copy"
    assert not equal(rollout(build(7), seed=2)[0], first[0]), "another seed, another start"
    steps = []
    for seed in (1, 2):
        env.reset(seed=seed, options={"observation": np.zeros(2, np.float32)})
        steps.append(env.step(ZERO))
    assert not np.array_equal(steps[0][0], steps[1][0]), "another seed, another noise"


def test_a_reset_without_seed_goes_on_with_the_stream(build: Build) -> None:
    """If it restarted the stream, every episode after the first would be the same."""
    env = build(3)
    starts = [env.reset(seed=1)[0]] + [env.reset()[0] for _ in range(9)]
    assert len({start.tobytes() for start in starts}) > 5
    noises = []
    for _ in range(5):
        env.reset(options={"observation": np.zeros(2, np.float32)})
        noises.append(env.step(ZERO)[0].tobytes())
    assert len(set(noises)) == 5


def test_an_unseeded_environment_is_random() -> None:
    """Otherwise runs without a seed would be one run, many times."""
    assert not equal(toy().reset(), toy().reset())


def test_the_stream_is_derived_from_gymnasiums_own_generator() -> None:
    """A wrapper may set `np_random` instead of a seed; what follows must depend on it alone."""
    rollouts = []
    for _ in range(2):
        env = toy()
        env.np_random = np.random.default_rng(11)
        rollouts.append([env.reset()[0], env.step(ZERO)])
    assert equal(*rollouts)


def test_global_generators_are_neither_moved_nor_read(build: Build) -> None:
    """A model that draws from torch's global generator passes SB3's checker and ruins reproducibility."""
    env = build(7)
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    first = rollout(env, seed=1)
    if isinstance(env.penalized_model.model, StubEnsemble):
        # Around a network, beartype draws from this one itself, to check a random item of a list; only in tests.
        assert random.getstate() == before[0]
    assert equal(list(np.random.get_state()), list(before[1]))  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
    random.seed(77)
    np.random.seed(77)  # noqa: NPY002
    torch.manual_seed(77)
    assert equal(rollout(env, seed=1), first)


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize(
    ("horizon", "end_above", "last"),
    [(1, None, (False, True)), (5, None, (False, True)), (10, 2.5, (True, False)), (3, 2.5, (True, True))],
)
def test_the_end_of_an_episode(horizon: int, end_above: float | None, last: tuple[bool, bool]) -> None:
    """One step more or less changes what λ and h mean; a horizon flagged as terminal stops bootstrapping."""
    env = counting(horizon=horizon, end_above=end_above)
    steps = min(horizon, 3) if end_above else horizon
    for _ in range(2):
        env.reset(seed=0)
        assert [env.step(ZERO)[2:4] for _ in range(steps)] == [(False, False)] * (steps - 1) + [last]


def test_reset_in_mid_episode_counts_from_zero() -> None:
    """A counter that goes on would cut the next episode short."""
    env = counting(horizon=2)
    env.reset()
    env.step(ZERO)
    env.reset()
    assert [env.step(ZERO)[3] for _ in range(2)] == [False, True]


def test_a_horizon_that_is_none_is_refused() -> None:
    """What counts as a number is tested where numbers are checked."""
    with pytest.raises(ConfigError, match="horizon"):
        counting(horizon=0)


def test_a_model_that_breaks_down_ends_the_episode() -> None:
    """The agent sees the last finite state and the price of leaving; `info` says why."""
    breaks = penalized_model(lambda s, a: (torch.where(s > 1.5, math.nan, s + 1), s[:, 0]))
    env = PenalizedModelEnv(breaks, horizon=10)
    env.reset()
    assert [env.step(ZERO)[4]["exit"] for _ in range(2)] == ["", ""]
    observation, reward, terminated, truncated, info = env.step(ZERO)
    assert (observation[0], reward, terminated, truncated) == (2.0, 100 * LOWEST, True, False)
    assert info == {"reward_model": LOWEST, "penalty": 0.0, "exit": "non-finite"}
    assert env.reset()[0][0] == 0.0, "and the next episode is a normal one"
    assert env.step(ZERO)[0][0] == 1.0


@pytest.mark.parametrize(("member_per", "speakers"), [("rollout", 1), ("step", 3)])
def test_a_member_may_speak_for_a_whole_episode(member_per: Any, speakers: int) -> None:
    """Three members pay 1, 2 and 3. One episode hears one of them, ten episodes hear all."""
    model = penalized_model(lambda s, a: (s, torch.zeros(len(s))), offsets=[1, 2, 3], member_per=member_per)
    env = PenalizedModelEnv(model, horizon=30)
    env.reset(seed=0)
    heard = []
    for _ in range(10):
        env.reset()
        heard.append({float(env.step(np.zeros(1))[1]) for _ in range(30)})
    assert {len(episode) for episode in heard} == {speakers}
    assert set.union(*heard) == {1.0, 2.0, 3.0}


# ---------------------------------------------------------------- actions and starts


@pytest.mark.parametrize("action", [0.0, np.zeros(2, np.float32), np.array([np.nan]), None], ids=repr)
def test_what_is_no_action_is_refused_and_changes_nothing(action: Any) -> None:
    """A NaN action would otherwise come back as a diverged model, and the blame would fall on the model."""
    env = counting(horizon=3)
    env.reset()
    with pytest.raises(InputError, match="action"):
        env.step(action)
    observation, _, _, truncated, _ = env.step(ZERO)
    assert (observation[0], truncated) == (1.0, False)


def test_writing_into_what_was_returned_does_not_move_the_environment() -> None:
    """Wrappers normalise in place, and buffers keep what they are given."""
    env, untouched = toy(), toy()
    observation, _ = env.reset(seed=0)
    untouched.reset(seed=0)
    for _ in range(5):
        observation[:] = 1e6
        action = np.full(1, 0.5, np.float32)
        observation, *rest = env.step(action)
        action[:] = 1e6
        expected, *expected_rest = untouched.step(np.full(1, 0.5, np.float32))
        np.testing.assert_array_equal(observation, expected)
        assert rest == expected_rest


def test_a_given_observation_is_the_start() -> None:
    """To ask the model about one state of one's choice; it may be a row of a buffer that is about to be overwritten."""
    env, start = counting(horizon=5), np.array([41.0], np.float32)
    assert env.reset(options={"observation": start})[0].tolist() == [41.0]
    start[:] = 1000.0
    assert env.step(ZERO)[0].tolist() == [42.0]
    assert env.reset(options={"observation": None})[0].tolist() == [0.0]
    assert env.reset(options={})[0].tolist() == [0.0]


def test_a_refused_reset_leaves_the_episode_as_it_was() -> None:
    """An option that is ignored is believed to work, and half a reset would be worse than none."""
    env = counting(horizon=2)
    with pytest.raises(InputError, match="observation"):
        env.reset(options={"observation": [1.0, 2.0]})
    with pytest.raises(gym.error.ResetNeeded):
        env.step(ZERO)
    env.reset()
    env.step(ZERO)
    with pytest.raises(InputError, match="observation"):
        env.reset(options={"observation": [math.nan]})
    with pytest.raises(UnknownNameError, match=r"option of reset 'observaton'.*Did you mean 'observation'"):
        env.reset(options={"observaton": [1.0]})
    observation, _, _, truncated, _ = env.step(ZERO)
    assert (observation[0], truncated) == (2.0, True)


# ---------------------------------------------------------------- gym.make


def test_options_arrive() -> None:
    """An option that `gymnasium.make` loses would leave a default in its place."""
    env = toy(horizon=4, penalty="none", penalty_coef=3.0, termination="never")
    assert (env.horizon, env.penalized_model.penalty_coef) == (4, 3.0)
    env.reset(seed=0)
    assert env.step(ZERO)[4]["penalty"] == 0.0
    assert (toy().horizon, toy().penalized_model.penalty_coef) == (20, 1.0)


def test_the_spec_survives_pickle_and_json() -> None:
    """Minari stores the JSON, subprocesses the pickle; either must make the same environment again."""
    env = gym.make(TOY_ID, horizon=4, penalty_coef=2.5)
    assert env.spec is not None
    unpickled = pickle.loads(pickle.dumps(env.spec)).make()  # noqa: S301
    text = env.spec.to_json()
    assert json.loads(text)["kwargs"] == {"horizon": 4, "penalty_coef": 2.5}
    from_json = gym.make(gym.envs.registration.EnvSpec.from_json(text))
    expected = rollout(env.unwrapped, seed=1, num_steps=10)
    for again in (unpickled, from_json):
        assert again.unwrapped.horizon == 4
        assert again.unwrapped.penalized_model.penalty_coef == 2.5
        assert equal(rollout(again.unwrapped, seed=1, num_steps=10), expected)
