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
from stable_baselines3.common.env_checker import check_env as sb3_check

import mopo_env
from mopo_env.envs.env import PenalizedModelEnv
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, InputError, UnknownNameError
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.tasks import TOY_ID
from mopo_env.toys import LinearGaussianSystem, StubEnsemble
from mopo_env.transitions import Transitions

SYSTEM = LinearGaussianSystem()


def toy(horizon: int = 20, **options: Any) -> PenalizedModelEnv:
    env = gym.make(TOY_ID, horizon=horizon, **options).unwrapped
    assert isinstance(env, PenalizedModelEnv)
    return env


@pytest.fixture(scope="module")
def fitted_model() -> PenalizedModel:
    """Return what a user builds: a dataset and a real, if tiny, ensemble fitted on it."""
    transitions = SYSTEM.transitions(num_episodes=100, num_steps=2)
    config = FitConfig(hidden_sizes=(16, 16), weight_decay=(0.0, 0.0, 0.0), max_epochs=3)
    return PenalizedModel(fit_ensemble(transitions, config, progress=False), transitions, penalty_coef=0.5)


@pytest.fixture(params=["toy", "fitted"])
def build(request: pytest.FixtureRequest) -> Callable[[int], PenalizedModelEnv]:
    if request.param == "toy":
        return toy
    penalized_model: PenalizedModel = request.getfixturevalue("fitted_model")
    return lambda horizon: PenalizedModelEnv(penalized_model, horizon=horizon)


def dataset(starts: Any = ((0.0,), (0.0,)), rewards: Any = (-3.0, 4.0), **options: Any) -> Transitions:
    starts = np.asarray(starts, dtype=np.float32)
    return Transitions(
        observations=starts,
        actions=np.zeros((len(starts), 1)),
        rewards=np.asarray(rewards),
        next_observations=starts,
        terminations=np.zeros(len(starts)),
        truncations=np.ones(len(starts)),
        **options,
    )


def counting(*, horizon: int, end_above: float = math.inf, **options: Any) -> PenalizedModelEnv:
    """Return a world of one number that counts up from zero."""
    penalized_model = PenalizedModel(
        StubEnsemble(1, 1, mean=lambda s, a: (s + 1, s[:, 0])),
        dataset(),
        termination=lambda s, a, following: following[:, 0] > end_above,
        **options,
    )
    return PenalizedModelEnv(penalized_model, horizon=horizon)


ZERO = np.zeros(1, np.float32)

# ---------------------------------------------------------------- the checkers of Gymnasium and SB3


@pytest.mark.parametrize("horizon", [2, 20])
def test_gymnasiums_checker(build: Callable[[int], PenalizedModelEnv], horizon: int) -> None:
    """Finds global generators, missing seeding and shared arrays; every other warning is an error."""
    env = build(horizon)
    # Without a spec it cannot build the environment again to try other render modes, and there are none.
    gymnasium_check(env, skip_render_check=env.spec is None)


@pytest.mark.parametrize("horizon", [2, 20])
def test_sb3s_checker(build: Callable[[int], PenalizedModelEnv], horizon: int) -> None:
    """Finds NumPy rewards and flags, which the other one misses."""
    sb3_check(build(horizon))


def test_the_checkers_on_a_bounded_world() -> None:
    """With bounds there is nothing to let through."""
    transitions = dataset(observation_space=Box(-5, 5, (1,), np.float32))
    penalized_model = PenalizedModel(StubEnsemble(1, 1, mean=lambda s, a: (s + a, s[:, 0]), std=0.1), transitions)
    gymnasium_check(PenalizedModelEnv(penalized_model, horizon=5), skip_render_check=True)
    sb3_check(PenalizedModelEnv(penalized_model, horizon=5))


def test_horizon_one(build: Callable[[int], PenalizedModelEnv]) -> None:
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
            "diverged": bool,
        }


# ---------------------------------------------------------------- randomness


def rollout(env: PenalizedModelEnv, seed: int, num_steps: int = 200) -> list[Any]:
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


def test_two_copies_in_lockstep(build: Callable[[int], PenalizedModelEnv]) -> None:
    """The checker compares one step; a generator shared or rebuilt too late shows only later."""
    assert equal(rollout(build(7), seed=1), rollout(build(7), seed=1))


def test_another_seed_is_another_rollout(build: Callable[[int], PenalizedModelEnv]) -> None:
    first, second = rollout(build(7), seed=1), rollout(build(7), seed=2)
    assert not equal(first[0], second[0]), "the start"
    env = build(7)
    steps = []
    for seed in (1, 2):
        env.reset(seed=seed, options={"observation": np.zeros(2, np.float32)})
        steps.append(env.step(ZERO))
    assert not np.array_equal(steps[0][0], steps[1][0]), "the noise"


def test_seeding_again_starts_again(build: Callable[[int], PenalizedModelEnv]) -> None:
    env = build(7)
    assert equal(rollout(env, seed=1), rollout(env, seed=1))


def test_a_reset_without_seed_goes_on_with_the_stream(build: Callable[[int], PenalizedModelEnv]) -> None:
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
    assert not equal(toy().reset(), toy().reset())


def test_the_stream_is_derived_from_gymnasiums_own_generator() -> None:
    """A wrapper may set `np_random` instead of a seed; what follows must depend on it alone."""
    rollouts = []
    for _ in range(2):
        env = toy()
        env.np_random = np.random.default_rng(11)
        rollouts.append([env.reset()[0], env.step(ZERO)])
    assert equal(*rollouts)


def test_global_generators_are_neither_moved_nor_read(build: Callable[[int], PenalizedModelEnv]) -> None:
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


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_truncated_at_the_horizon_exactly(horizon: int) -> None:
    """One step more or less changes what λ and h of the paper mean; a horizon flagged terminal stops bootstrapping."""
    env = counting(horizon=horizon)
    for _ in range(2):
        env.reset(seed=0)
        ends = [env.step(ZERO)[2:4] for _ in range(horizon)]
        assert ends == [(False, False)] * (horizon - 1) + [(False, True)]


def test_the_models_death_is_terminated() -> None:
    env = counting(horizon=10, end_above=2.5)
    env.reset()
    assert [env.step(ZERO)[2:4] for _ in range(3)] == [(False, False), (False, False), (True, False)]


def test_death_at_the_horizon_is_both() -> None:
    env = counting(horizon=3, end_above=2.5)
    env.reset()
    assert [env.step(ZERO)[2:4] for _ in range(3)][-1] == (True, True)


@pytest.mark.parametrize("wrong", [0, -5, 2.5, math.nan, "5", None, True])
def test_a_horizon_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="horizon"):
        counting(horizon=wrong)


# ---------------------------------------------------------------- members, and models that break down


def test_each_draw_is_one_elites_and_every_elite_is_drawn() -> None:
    """Members add 10, 11, 12, 13; 13 is no elite. A mean of members would be 11."""
    model = StubEnsemble(1, 1, mean=lambda s, a: (0 * s, 0 * s[:, 0]), offsets=[10, 11, 12, 13], elites=[0, 1, 2])
    env = PenalizedModelEnv(PenalizedModel(model, dataset(), penalty="none"), horizon=10**6)
    env.reset(seed=0)
    draws = []
    for _ in range(900):
        observation, reward, *_ = env.step(ZERO)
        assert observation[0] == reward
        draws.append(reward)
    values, counts = np.unique(draws, return_counts=True)
    assert values.tolist() == [10.0, 11.0, 12.0]
    assert ((counts - 300) ** 2 / 300).sum() < 13.8, "99.9 % of fair draws stay below this, two degrees of freedom"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["observation", "reward"])
def test_a_model_that_breaks_down_ends_the_episode(value: float, where: str) -> None:
    """The agent sees the last finite state and the lowest reward on record; `info` says why."""

    def mean(s: torch.Tensor, a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        bad = torch.where(s > 1.5, value, 0.0)
        return s + 1 + (bad if where == "observation" else 0), s[:, 0] + (bad[:, 0] if where == "reward" else 0)

    env = PenalizedModelEnv(PenalizedModel(StubEnsemble(1, 1, mean=mean), dataset()), horizon=10)
    env.reset()
    for count in (1, 2):
        observation, _, terminated, _, info = env.step(ZERO)
        assert (observation[0], terminated, info["diverged"]) == (count, False, False)
    observation, reward, terminated, truncated, info = env.step(ZERO)
    assert (observation[0], reward, terminated, truncated) == (2.0, -3.0, True, False)
    assert info == {"reward_model": -3.0, "penalty": 0.0, "diverged": True}
    assert env.reset()[0][0] == 0.0, "and the next episode is a normal one"
    assert env.step(ZERO)[0][0] == 1.0


@pytest.mark.parametrize(
    ("option", "function"),
    [
        ("penalty", lambda said: said.observations),
        ("termination", lambda s, a, following: following > 0),
    ],
)
def test_a_users_function_of_the_wrong_shape_is_refused(option: str, function: Callable[..., Any]) -> None:
    """With a single row (1, 1) looks like one value, and would work until the vector environment broadcasts it."""
    penalized_model = PenalizedModel(
        StubEnsemble(1, 1, mean=lambda s, a: (s, s[:, 0])), dataset(), **{option: function}
    )
    env = PenalizedModelEnv(penalized_model, horizon=3)
    env.reset()
    with pytest.raises(ConfigError, match=option):
        env.step(ZERO)


# ---------------------------------------------------------------- actions and observations


@pytest.mark.parametrize(
    "action",
    [
        0.0,
        np.zeros(2, np.float32),
        np.zeros((1, 1), np.float32),
        np.array([np.nan]),
        np.array([-np.inf]),
        np.array([1e300]),
        np.array([True]),
        np.array([1j]),
        np.array(["1"]),
        np.array([None]),
        None,
    ],
    ids=repr,
)
def test_what_is_no_action_is_refused_and_changes_nothing(action: Any) -> None:
    """A NaN action would otherwise come back as a diverged model, and the blame would fall on the model."""
    env = counting(horizon=3)
    env.reset()
    with pytest.raises(InputError, match="action"):
        env.step(action)
    observation, _, _, truncated, _ = env.step(ZERO)
    assert observation[0] == 1.0
    assert not truncated


@pytest.mark.parametrize(
    "action", [np.zeros(1), np.zeros(1, np.int64), [0], torch.zeros(1)], ids=lambda a: str(type(a))
)
def test_other_real_numbers_are_converted(action: Any) -> None:
    env = counting(horizon=3)
    env.reset()
    observation, *_ = env.step(action)
    assert observation.dtype == np.float32


def test_a_recorded_action_can_be_replayed() -> None:
    """A dataset's arrays are read-only; torch warns about sharing such memory."""
    env, transitions = toy(), SYSTEM.transitions(num_episodes=1, num_steps=2)
    env.reset(seed=0, options={"observation": transitions.observations[0]})
    env.step(transitions.actions[0])


def test_actions_outside_the_box_are_clipped() -> None:
    """As in the real environments, so that a policy that saturates behaves alike in both."""
    env = PenalizedModelEnv(
        PenalizedModel(
            StubEnsemble(1, 1, mean=lambda s, a: (s + a, a[:, 0])),
            dataset(action_space=Box(-1, 2, (1,), np.float32)),
        ),
        horizon=9,
    )
    env.reset()
    assert [env.step(np.array([value]))[1] for value in (-50.0, -1.0, 1.5, 2.5)] == [-1.0, -1.0, 1.5, 2.0]


def test_observations_stay_in_a_bounded_space() -> None:
    space = Box(-1.5, 2.5, (1,), np.float32)
    penalized_model = PenalizedModel(
        StubEnsemble(1, 1, mean=lambda s, a: (s + 1, s[:, 0])), dataset(observation_space=space)
    )
    env = PenalizedModelEnv(penalized_model, horizon=9)
    env.reset()
    observations = [env.step(ZERO)[0] for _ in range(4)]
    assert [float(observation[0]) for observation in observations] == [1.0, 2.0, 2.5, 2.5]
    assert all(space.contains(observation) for observation in observations)


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


# ---------------------------------------------------------------- reset


def test_starts_come_from_the_dataset() -> None:
    env = toy()
    rows = {row.tobytes() for row in env.penalized_model._start_observations.numpy()}
    assert all(env.reset()[0].tobytes() in rows for _ in range(50))


def test_a_given_observation_is_the_start() -> None:
    """To ask the model about one state of one's choice."""
    env = counting(horizon=5)
    observation, _ = env.reset(options={"observation": [41]})
    assert observation.tolist() == [41.0]
    assert env.step(ZERO)[0].tolist() == [42.0]
    assert env.reset(options={"observation": None})[0].tolist() == [0.0]
    assert env.reset(options={})[0].tolist() == [0.0]


def test_a_given_observation_is_copied() -> None:
    """It may be a row of a buffer that is about to be overwritten."""
    env, start = counting(horizon=5), np.array([41.0], np.float32)
    env.reset(options={"observation": start})
    start[:] = 1000.0
    assert env.step(ZERO)[0].tolist() == [42.0]


@pytest.mark.parametrize("wrong", [[1.0, 2.0], [math.nan], [math.inf], 3.0, [[1.0]], ["a"], [1e300]], ids=repr)
def test_a_start_that_is_no_state_is_refused(wrong: Any) -> None:
    env = counting(horizon=5)
    with pytest.raises(InputError, match="observation"):
        env.reset(options={"observation": wrong})
    with pytest.raises(gym.error.ResetNeeded):
        env.step(ZERO)


def test_a_refused_reset_leaves_the_episode_as_it_was() -> None:
    env = counting(horizon=2)
    env.reset()
    env.step(ZERO)
    with pytest.raises(InputError):
        env.reset(options={"observation": [math.nan]})
    observation, _, _, truncated, _ = env.step(ZERO)
    assert observation[0] == 2.0
    assert truncated


def test_reset_in_mid_episode_counts_from_zero() -> None:
    env = counting(horizon=2)
    env.reset()
    env.step(ZERO)
    env.reset()
    assert not env.step(ZERO)[3]
    assert env.step(ZERO)[3]


def test_step_before_reset_is_refused() -> None:
    with pytest.raises(gym.error.ResetNeeded):
        counting(horizon=5).step(ZERO)


# ---------------------------------------------------------------- gym.make


def test_the_id_needs_no_import_of_its_own() -> None:
    """Gymnasium has no plugins: the module before the colon is imported and registers."""
    assert isinstance(gym.make(f"mopo_env:{TOY_ID}").unwrapped, PenalizedModelEnv)


def test_an_unknown_option_of_reset_is_refused() -> None:
    """What is ignored is believed to work."""
    with pytest.raises(UnknownNameError, match=r"option of reset 'observaton'.*Did you mean 'observation'"):
        toy().reset(options={"observaton": np.zeros(2)})


def test_options_arrive() -> None:
    env = toy(horizon=4, penalty="none", penalty_coef=3.0, termination="never")
    assert env.horizon == 4
    assert env.penalized_model.penalty_coef == 3.0
    env.reset(seed=0)
    assert env.step(ZERO)[4]["penalty"] == 0.0
    assert toy().horizon == 20
    assert toy().penalized_model.penalty_coef == 1.0


def test_no_time_limit_is_wrapped_around_the_horizon() -> None:
    """Two limits would end episodes twice."""
    env = gym.make(TOY_ID, horizon=3)
    assert env.spec is not None
    assert env.spec.max_episode_steps is None
    env.reset(seed=0)
    assert [env.step(ZERO)[3] for _ in range(3)] == [False, False, True]


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


def test_the_package_offers_what_the_readme_builds() -> None:
    """`from mopo_env import PenalizedModelEnv, PenalizedModel` is how objects, not names, are joined."""
    assert mopo_env.PenalizedModelEnv is PenalizedModelEnv
    assert mopo_env.PenalizedModel is PenalizedModel


@pytest.mark.parametrize(("member_per", "speakers"), [("rollout", 1), ("step", 3)])
def test_a_member_may_speak_for_a_whole_episode(member_per: Any, speakers: int) -> None:
    """Three members pay 1, 2 and 3. One episode hears one of them, ten episodes hear all."""
    model = StubEnsemble(1, 1, mean=lambda s, a: (s, torch.zeros(len(s))), offsets=[1, 2, 3])
    env = PenalizedModelEnv(PenalizedModel(model, dataset(), member_per=member_per), horizon=30)
    env.reset(seed=0)
    heard = []
    for _ in range(10):
        env.reset()
        heard.append({float(env.step(np.zeros(1))[1]) for _ in range(30)})
    assert {len(episode) for episode in heard} == {speakers}
    assert set.union(*heard) == {1.0, 2.0, 3.0}
