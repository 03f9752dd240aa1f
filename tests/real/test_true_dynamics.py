"""The oracle is worth as much as its truth: every number is compared with the environment it stands for."""

from __future__ import annotations

import copy
import pickle
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from helpers.transitions import transitions

from mopo_env import PenalizedModel, PenalizedModelEnv, TrueDynamics, load_dataset
from mopo_env.errors import ConfigError, InputError, MissingExtraError
from mopo_env.penalties import PENALTIES
from mopo_env.real import true_dynamics
from mopo_env.real.real_env import make_env_by_id
from mopo_env.real.robots import ROBOTS
from mopo_env.tasks import get_task

mujoco = pytest.importorskip("mujoco")

ROLLED, SET = 400, 600


class Steps(NamedTuple):
    """What an environment did: the first rows while it ran on, the others from states it was set to."""

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray
    terminations: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.rewards)


def simulator(env_id: str) -> Any:
    return make_env_by_id(env_id).unwrapped


def random_action(env: Any, random: np.random.Generator) -> np.ndarray:
    return random.uniform(-1, 1, env.model.nu).astype(np.float32)


def random_state(env: Any, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Somewhere around the initial pose: fallen, flying or in the floor, and fast, but not too fast to be shown."""
    positions = env.init_qpos + random.normal(scale=0.3, size=env.model.nq)
    if env.model.nq != env.model.nv:
        positions[3:7] /= np.linalg.norm(positions[3:7])
    return positions, np.clip(random.normal(scale=3.0, size=env.model.nv), -9.9, 9.9)


def record(env_id: str) -> Steps:
    env, random = simulator(env_id), np.random.default_rng(0)
    env.reset(seed=0)
    rows: list[tuple[Any, ...]] = []
    while len(rows) < ROLLED + SET:
        if len(rows) >= ROLLED:
            env.set_state(*random_state(env, random))
        observation, action = env._get_obs(), random_action(env, random)
        next_observation, reward, terminated, _, _ = env.step(action)
        rows.append((observation, action, reward, next_observation, terminated))
        if terminated:
            env.reset()
    env.close()
    return Steps(*(np.array(column) for column in zip(*rows, strict=True)))


@pytest.fixture(scope="module")
def steps_of() -> Any:
    """Record each environment once."""
    known: dict[str, Steps] = {}
    return lambda env_id: known.setdefault(env_id, record(env_id)) if env_id not in known else known[env_id]


def clipped(env_id: str, observations: np.ndarray) -> np.ndarray:
    """Flag the rows whose velocities are not the true ones."""
    limit = ROBOTS[env_id].velocity_limit
    if limit is None:
        return np.zeros(len(observations), dtype=bool)
    return (np.abs(observations[:, -(observations.shape[1] + 1) // 2 :]) >= limit).any(axis=1)


# ---------------------------------------------------------------- against the environments


@pytest.mark.parametrize("env_id", ROBOTS)
def test_steps_as_the_environment_does(env_id: str, steps_of: Any) -> None:
    """1,000 states each, 400 of them in episodes that ran on with all the past a simulator has.

    Float64 observations: what is left is rounding and the solver's warm start, 1e-8 where it was largest; float32 would
    round these observations by 2e-6.
    """
    steps, dynamics = steps_of(env_id), TrueDynamics(env_id)
    found = dynamics.step(steps.observations, steps.actions)
    exact = ~clipped(env_id, steps.observations)
    assert exact[:ROLLED].mean() > 0.1
    assert exact[ROLLED:].all()
    assert found.next_observations[exact] == pytest.approx(steps.next_observations[exact], rel=0, abs=1e-7)
    # Gymnasium computes costs in float32.
    assert found.rewards[exact] == pytest.approx(steps.rewards[exact], rel=0, abs=1e-6)
    assert steps.rewards.std() > 0.1
    if ROBOTS[env_id].num_hidden == 2 or ROBOTS[env_id].velocity_limit is not None:
        assert 0.02 < steps.terminations[ROLLED:].mean() < 0.95, "both sides of being healthy must be paid"


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Walker2d-v5"])
def test_clipped_velocities_are_lost(env_id: str) -> None:
    """A known limit, and not an error that tests should miss: two states look alike, T answers for the slower one."""
    env, dynamics = simulator(env_id), TrueDynamics(env_id)
    positions, velocities = env.init_qpos.copy(), np.zeros(env.model.nv)
    action = np.zeros(env.model.nu)
    answers = []
    for speed in (10.0, 15.0):
        velocities[-1] = speed
        env.set_state(positions, velocities)
        shown = env._get_obs()
        assert shown[-1] == 10.0
        truth = env.step(action)[0]
        answers.append(np.abs(dynamics.step(shown[None], action[None]).next_observations[0] - truth).max())
    env.close()
    assert answers[0] < 1e-7
    assert answers[1] > 1e-3


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Walker2d-v5"])
def test_next_velocities_are_clipped_as_they_are_shown(env_id: str, steps_of: Any) -> None:
    steps = steps_of(env_id)
    found = TrueDynamics(env_id).step(steps.observations, 0 * steps.actions).next_observations
    assert np.abs(found[:, -6:]).max() == 10.0


@pytest.mark.parametrize(("env_id", "expected"), [("Hopper-v5", [1.0, 0.0]), ("Hopper-v4", [1.0, 1.0])])
def test_health_is_judged_by_velocities_as_they_are(env_id: str, expected: list[float]) -> None:
    """Hopper-v5 pays nothing beyond 100 m/s, which no observation shows but a model may predict."""
    env = simulator(env_id)
    positions, velocities = env.init_qpos.copy(), np.zeros(env.model.nv)
    positions[1] = 3.0  # in the air, where nothing slows it down
    for speed, paid in zip((50.0, 150.0), expected, strict=True):
        velocities[1] = speed
        env.set_state(positions, velocities)
        assert env.step(np.zeros(3))[1] == pytest.approx(paid)
        state = np.concatenate([positions[1:], velocities])[None]
        assert TrueDynamics(env_id).step(state, np.zeros((1, 3))).rewards == pytest.approx([paid])
    env.close()


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "mopo/AntAngle-v0"])
def test_where_the_robot_stands_does_not_matter(env_id: str) -> None:
    """Hence x and y can be set to 0. Without this no state could be read off an observation."""
    env, random = simulator(env_id), np.random.default_rng(0)
    hidden = ROBOTS[env_id].num_hidden
    for _ in range(50):
        (positions, velocities), action, seen = random_state(env, random), random_action(env, random), []
        for place in (0.0, 57.3):
            positions[:hidden] = place
            env.set_state(positions, velocities)
            observation, reward, *_ = env.step(action)
            seen.append([*observation, reward])
        assert seen[0] == pytest.approx(seen[1], rel=0, abs=1e-8)
    env.close()


@pytest.mark.parametrize(
    ("task", "lost"),
    [
        ("halfcheetah-mixed", (0.0, 0.0)),
        ("halfcheetah-jump", (0.0, 0.0)),
        ("hopper-mixed", (0.03, 0.1)),
        ("walker2d-mixed", (0.3, 0.5)),
    ],
)
def test_recorded_data_are_true(task: str, lost: tuple[float, float]) -> None:
    """The bundled datasets end to end: float32 observations, stored without any of the simulator's past.

    The share of rows whose velocities were clipped is what docs/oracle.md says; T answers there, but not for them.
    """
    if task == "hopper-mixed" and int(version("mujoco").split(".")[0]) < 4:
        pytest.skip("the data were collected with MuJoCo 4, and before it Hopper's steps were others")
    data, env_id = load_dataset(task), str(get_task(task).real_env_id)
    rows = np.random.default_rng(0).permutation(len(data))[:2000]
    observations = data.observations[rows]
    found = TrueDynamics(env_id).step(observations, data.actions[rows])
    exact = ~clipped(env_id, observations)
    assert lost[0] <= 1 - exact.mean() <= lost[1]
    assert np.isfinite(found.rewards).all()
    errors = np.linalg.norm(found.next_observations - data.next_observations[rows], axis=1)
    assert np.median(errors[exact]) < 2e-6
    assert np.quantile(errors[exact], 0.99) < 1e-4
    assert errors[exact].max() < 1e-1  # where rounding decides about a contact
    assert np.quantile(np.abs(found.rewards - data.rewards[rows])[exact], 0.99) < 1e-5
    assert exact.all() or np.median(errors[~exact]) > 1e-2


# ---------------------------------------------------------------- a perfect model


@pytest.mark.parametrize(
    ("env_id", "termination", "strength", "tolerance"),
    [
        ("HalfCheetah-v5", "never", 0.1, 1e-5),
        ("Hopper-v5", "hopper", 0.1, 1e-4),
        ("Hopper-v5", "hopper", 1.0, 1e-4),
        ("mopo/AntAngle-v0", "ant", 0.1, 1e-3),
    ],
)
def test_a_perfect_model_is_the_real_environment(
    env_id: str, termination: str, strength: float, tolerance: float
) -> None:
    """50 steps, or until it falls: states, rewards, ends and the return, though the model world is float32.

    Full torques throw HalfCheetah into contacts that part the two worlds after 10 steps or more, by rounding alone.
    """
    real, model = make_env_by_id(env_id), TrueDynamics(env_id)
    for seed in range(3):
        observation, _ = real.reset(seed=seed)
        start = transitions(observations=[observation] * 2, widths=(model.observation_dim, model.action_dim))
        env = PenalizedModelEnv(PenalizedModel(model, start, termination=termination), horizon=50)
        env.reset(seed=seed)
        random, returns, terminated, truncated = np.random.default_rng(seed), np.zeros(2), False, False
        while not (terminated or truncated):
            action = strength * random_action(real.unwrapped, random)
            expected, real_reward, real_end, _, _ = real.step(action)
            found, reward, terminated, truncated, info = env.step(action)
            assert found == pytest.approx(expected, rel=0, abs=tolerance)
            assert terminated == real_end
            assert info["penalty"] == 0.0
            returns += [real_reward, float(reward)]
        assert returns[0] == pytest.approx(returns[1], abs=tolerance)
        assert abs(returns[0]) > 0.01
    real.close()


def test_the_truth_has_no_penalty(steps_of: Any) -> None:
    """One member, no spread: u = 0 for all but the two that compare densities, which certainty has none of."""
    steps = steps_of("Hopper-v5")
    observations, actions = (torch.from_numpy(array).float() for array in (steps.observations, steps.actions))
    prediction = TrueDynamics("Hopper-v5").predict(observations, actions)
    for name in PENALTIES.keys() - {"log-likelihood-variance", "leave-one-out-kl"}:
        assert not PENALTIES[name](prediction).any()
    next_observations, rewards = prediction.sample(torch.Generator().manual_seed(0))
    assert (next_observations.dtype, rewards.dtype) == (torch.float32, torch.float32)
    assert torch.equal(torch.cat([next_observations, rewards[:, None]], dim=1), prediction.mean[0])


# ---------------------------------------------------------------- states that are none


def hand_steps(env_id: str, observations: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Step one by one; return what MuJoCo arrives at, and whether it warned."""
    env = simulator(env_id)
    hidden, data = ROBOTS[env_id].num_hidden, mujoco.MjData(env.model)
    ends, warned = [], []
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    for observation, action in zip(observations, actions, strict=True):
        mujoco.mj_resetData(env.model, data)
        state = np.concatenate([np.zeros(hidden), observation])
        data.qpos[:], data.qvel[:], data.ctrl[:] = state[: env.model.nq], state[env.model.nq :], action
        mujoco.mj_step(env.model, data, nstep=env.frame_skip)
        ends.append(np.concatenate([data.qpos, data.qvel])[hidden:])
        warned.append(any(warning.number for warning in data.warning))
    mujoco.set_mju_user_warning(before)
    env.close()
    return np.array(ends), np.array(warned)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize(("env_id", "scale"), [("HalfCheetah-v5", 100.0), ("mopo/AntAngle-v0", 25.0)])
def test_unstable_motion_has_no_truth(
    env_id: str, scale: float, num_threads: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """MuJoCo silently goes on from the initial pose, a state as plausible as false; and it would write a log."""
    dynamics, random = TrueDynamics(env_id, num_threads=num_threads), np.random.default_rng(0)
    observations = random.normal(scale=scale, size=(200, dynamics.observation_dim))
    actions = random.uniform(-1, 1, (200, dynamics.action_dim))
    if ROBOTS[env_id].quaternion is not None:
        columns = observations[:, ROBOTS[env_id].quaternion]
        columns /= np.linalg.norm(columns, axis=1, keepdims=True)
    ends, warned = hand_steps(env_id, observations, actions)
    lost = warned | (np.abs(ends) > 1e10).any(axis=1)
    assert 0.1 < lost.mean() < 0.9
    found = dynamics.step(observations, actions)
    assert np.isnan(found.next_observations).all(axis=1).tolist() == lost.tolist()
    assert np.isnan(found.rewards).tolist() == lost.tolist()
    assert found.next_observations[~lost] == pytest.approx(ends[~lost], rel=1e-6, abs=1e-6)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1e12])
def test_rows_without_a_state_leave_the_others_alone(value: float, steps_of: Any) -> None:
    steps, dynamics = steps_of("Hopper-v5"), TrueDynamics("Hopper-v5")
    observations, actions = steps.observations[:6].copy(), steps.actions[:6].astype(np.float64)
    expected = dynamics.step(observations, actions)
    observations[1, 3] = value
    rows = [0, 2, 3, 4, 5]
    if not np.isfinite(value):
        actions[4, 1] = value
        rows.remove(4)
    found = dynamics.step(observations, actions)
    assert np.flatnonzero(np.isfinite(found.rewards)).tolist() == rows
    assert np.flatnonzero(~np.isnan(found.next_observations).all(axis=1)).tolist() == rows
    np.testing.assert_array_equal(found.next_observations[rows], expected.next_observations[rows])
    np.testing.assert_array_equal(found.rewards[rows], expected.rewards[rows])


def test_orientations_of_any_length_are_turned_into_orientations(steps_of: Any) -> None:
    """A model predicts four numbers and knows nothing of their norm; with norm 0 they point nowhere."""
    steps, dynamics = steps_of("mopo/AntAngle-v0"), TrueDynamics("mopo/AntAngle-v0")
    observations = steps.observations[:40].copy()
    expected = dynamics.step(observations, steps.actions[:40])
    observations[:, 1:5] *= np.geomspace(1e-3, 1e3, 40)[:, None]
    observations[7, 1:5] = 0.0
    given = observations.copy()
    found = dynamics.step(observations, steps.actions[:40])
    assert np.flatnonzero(np.isnan(found.rewards)).tolist() == [7]
    others = np.arange(40) != 7
    assert found.next_observations[others] == pytest.approx(expected.next_observations[others], rel=0, abs=1e-7)
    assert np.linalg.norm(found.next_observations[others, 1:5], axis=1) == pytest.approx(np.ones(39))
    np.testing.assert_array_equal(observations, given)  # the caller's array is the caller's


# ---------------------------------------------------------------- batches


def test_answers_do_not_depend_on_threads_chunks_or_order(steps_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit: the solver starts every row afresh, and not from the row before."""
    steps = steps_of("Walker2d-v5")
    expected = TrueDynamics("Walker2d-v5").step(steps.observations, steps.actions)
    order = np.random.default_rng(0).permutation(steps.rows)
    monkeypatch.setattr(true_dynamics, "_ROWS_PER_CHUNK", 97)
    threaded = TrueDynamics("Walker2d-v5", num_threads=3)
    for _ in range(2):
        found = threaded.step(steps.observations[order], steps.actions[order])
        np.testing.assert_array_equal(found.next_observations, expected.next_observations[order])
        np.testing.assert_array_equal(found.rewards, expected.rewards[order])


def test_an_empty_batch_and_a_batch_of_one(steps_of: Any) -> None:
    steps, dynamics = steps_of("Hopper-v5"), TrueDynamics("Hopper-v5", num_threads=2)
    found = dynamics.step(np.empty((0, 11)), np.empty((0, 3)))
    assert (found.next_observations.shape, found.rewards.shape) == ((0, 11), (0,))
    single = dynamics.step(steps.observations[:1], steps.actions[:1])
    assert single.next_observations[0] == pytest.approx(steps.next_observations[0], abs=1e-7)


@pytest.mark.parametrize("copied", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy])  # noqa: S301  # ours
def test_copies_answer_alike(copied: Any, steps_of: Any) -> None:
    """Worker processes get pickles, and threads have none."""
    steps, dynamics = steps_of("Hopper-v5"), TrueDynamics("Hopper-v5", num_threads=2)
    twin = copied(dynamics)
    assert (twin.env_id, twin.num_threads) == ("Hopper-v5", 2)
    found, expected = (each.step(steps.observations, steps.actions) for each in (twin, dynamics))
    np.testing.assert_array_equal(found.next_observations, expected.next_observations)


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        ((5, 17), (5, 3), r"^observations: found shape \(5, 17\), expected \(5, 11\), .* of Hopper-v5"),
        ((5, 11), (4, 3), r"^observations: found shape \(5, 11\), expected \(4, 11\)"),
        ((5, 11), (5, 6), r"^actions: found shape \(5, 6\), expected \(5, 3\)"),
        ((11,), (3,), r"^observations: found shape \(11,\)"),
        ((0, 11), (), r"^actions: found shape \(\), expected \(0, 3\)"),
    ],
)
def test_wrong_shapes_are_refused(observations: tuple[int, ...], actions: tuple[int, ...], message: str) -> None:
    """Rows of another robot would be read as some state or other."""
    with pytest.raises(InputError, match=message):
        TrueDynamics("Hopper-v5").step(np.zeros(observations), np.zeros(actions))


# ---------------------------------------------------------------- options


def test_a_robot_that_is_not_known() -> None:
    with pytest.raises(
        ConfigError, match=r"^CartPole-v1: cannot be stepped from an observation.*Known: Half.*Hopper-v5"
    ):
        TrueDynamics("CartPole-v1")


@pytest.mark.parametrize("num_threads", [0, -1, 1.0, True, None])
def test_wrong_numbers_of_threads_are_refused(num_threads: Any) -> None:
    with pytest.raises(ConfigError, match=r"^num_threads: "):
        TrueDynamics("Hopper-v5", num_threads=num_threads)


def test_without_mujoco_the_message_has_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(MissingExtraError, match=r'pip install "mopo-env\[mujoco\]"'):
        TrueDynamics("Hopper-v5")
