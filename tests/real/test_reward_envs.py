"""HalfCheetah and Ant with new rewards: Gymnasium's robots, paid by the functions that relabel data."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_stable_baselines

import mopo_env
from mopo_env.errors import ConfigError
from mopo_env.rewards import RewardFunction, ant_angle, ant_forward, halfcheetah_capped, halfcheetah_jump
from mopo_env.tasks import REWARD_ENV_IDS
from mopo_env.transitions import Episode, Transitions

pytest.importorskip("mujoco")

HALFCHEETAHS = ["mopo/HalfCheetahCapped-v0", "mopo/HalfCheetahJump-v0"]
ANTS = ["mopo/AntForward-v0", "mopo/AntAngle-v0"]
FUNCTIONS: dict[str, RewardFunction] = {
    "mopo/HalfCheetahCapped-v0": halfcheetah_capped,
    "mopo/HalfCheetahJump-v0": halfcheetah_jump,
    "mopo/AntForward-v0": ant_forward,
    "mopo/AntAngle-v0": ant_angle,
}
# Recorded in the first, relabelled with the reward of the second.
PAIRS = [("mopo/HalfCheetahCapped-v0", "mopo/HalfCheetahJump-v0"), ("mopo/AntForward-v0", "mopo/AntAngle-v0")]


def gymnasiums(id_: str) -> gym.Env[Any, Any]:
    """Build the environment of Gymnasium's that differs by its reward only; the wanted one first silences MuJoCo."""
    if id_ in ANTS:
        return gym.make("Ant-v5", include_cfrc_ext_in_observation=False)
    from mopo_env.real.real_env import make_real_env

    return make_real_env("halfcheetah-mixed").unwrapped


def record(id_: str, *, episodes: int, steps: int) -> Transitions:
    """Act at random."""
    env, random = gym.make(id_), np.random.default_rng(0)
    recorded = []
    for seed in range(episodes):
        observations, actions, rewards, terminated = [env.reset(seed=seed)[0]], [], [], False
        while len(actions) < steps and not terminated:
            actions.append(random.uniform(-1, 1, env.action_space.shape).astype(np.float32))
            observation, reward, terminated, _, _ = env.step(actions[-1])
            observations.append(observation)
            rewards.append(reward)
        recorded.append(
            Episode(
                observations=np.array(observations),
                actions=np.array(actions),
                rewards=np.array(rewards),
                terminated=terminated,
            )
        )
    env.close()
    return Transitions.from_episodes(recorded)


@pytest.fixture(scope="module", params=PAIRS, ids=["halfcheetah", "ant"])
def recorded(request: pytest.FixtureRequest) -> tuple[str, str, Transitions]:
    """Data, and the ids of the environments they come from and are relabelled for."""
    behaviour, real = request.param
    return behaviour, real, record(behaviour, episodes=4, steps=60)


def test_recorded_rewards_are_the_functions(
    recorded: tuple[str, str, Transitions],
) -> None:
    """Relabelling with the reward of recording changes no bit: all digits that count are in the stored arrays."""
    behaviour, _, transitions = recorded
    again = mopo_env.relabel(transitions, FUNCTIONS[behaviour])
    np.testing.assert_array_equal(again.rewards, transitions.rewards)


def test_relabelled_rewards_are_what_the_new_environment_pays(
    recorded: tuple[str, str, Transitions],
) -> None:
    """The same seeds and actions again, in the environment with the new reward: equal bit for bit in float32."""
    _, real, transitions = recorded
    relabelled = mopo_env.relabel(transitions, FUNCTIONS[real])
    env, paid = gym.make(real), []
    for seed, episode in enumerate(transitions.episodes()):
        env.reset(seed=seed)
        paid += [env.step(action)[1] for action in episode.actions]
    env.close()
    np.testing.assert_array_equal(relabelled.rewards, np.float32(paid))
    assert np.abs(relabelled.rewards - transitions.rewards).max() > 0.1  # and it is another reward


@pytest.mark.parametrize("id_", REWARD_ENV_IDS)
def test_only_the_reward_differs_from_gymnasiums(id_: str) -> None:
    """Start, motion, end of the episode and the rest of info are Gymnasium's, up to the step on which the ant falls."""
    ours, theirs = gym.make(id_), gymnasiums(id_)
    random = np.random.default_rng(0)
    observation, info = ours.reset(seed=3)
    expected, expected_info = theirs.reset(seed=3)
    np.testing.assert_array_equal(observation, expected)
    assert info == expected_info
    for _ in range(300):
        action = random.uniform(-1, 1, ours.action_space.shape).astype(np.float32)
        step, expected_step = ours.step(action), theirs.step(action)
        np.testing.assert_array_equal(step[0], expected_step[0])
        assert step[1] != expected_step[1]
        assert step[2] == expected_step[2]
        kept = {name: value for name, value in expected_step[4].items() if not name.startswith("reward_")}
        assert step[4] == kept
        if step[2]:
            break
    ours.close()
    theirs.close()


@pytest.mark.parametrize("id_", REWARD_ENV_IDS)
def test_the_columns_are_those_of_the_simulator(id_: str) -> None:
    """A wrong column would still be a plausible reward: here each number of the simulator is another."""
    env = gym.make(id_)
    env.reset(seed=0)
    simulator: Any = env.unwrapped
    positions, velocities = simulator.data.qpos.copy(), np.linspace(-1.0, 1.0, simulator.model.nv)
    positions[:3] = (0.3, 0.11, 0.07) if id_ in HALFCHEETAHS else (0.3, 0.11, 0.7)
    simulator.set_state(positions, velocities)
    action = np.full(env.action_space.shape, 0.5, np.float32)
    reward = simulator.step(action)[1]
    x_velocity, y_velocity = (float(value) for value in simulator.data.qvel[:2])
    expected = {
        "mopo/HalfCheetahCapped-v0": min(x_velocity, 3) - 0.15,
        "mopo/HalfCheetahJump-v0": min(x_velocity, 3) - 0.15 + 15 * float(simulator.data.qpos[1]),
        "mopo/AntForward-v0": x_velocity - 1.0,
        "mopo/AntAngle-v0": x_velocity * np.sqrt(3) / 2 + y_velocity / 2 - 1.0,
    }[id_]
    env.close()
    assert reward == pytest.approx(expected, abs=1e-5)  # the function rounds to float32


@pytest.mark.parametrize("id_", HALFCHEETAHS)
def test_the_initial_height_is_the_model_files(id_: str) -> None:
    """15·(z − init z) measures from 0 because the simulator's own initial pose has z = 0."""
    env = gym.make(id_)
    simulator: Any = env.unwrapped
    assert simulator.init_qpos[1] == 0.0
    env.close()


@pytest.mark.parametrize(("id_", "width"), [*[(id_, 17) for id_ in HALFCHEETAHS], *[(id_, 27) for id_ in ANTS]])
def test_ids_and_widths(id_: str, width: int) -> None:
    env = gym.make(id_)
    assert env.spec is not None
    assert (env.spec.id, env.spec.max_episode_steps) == (id_, 1_000)
    assert env.observation_space.shape == (width,)
    assert gym.spaces.Box(-1.0, 1.0, env.action_space.shape, np.float32) == env.action_space
    env.close()
    assert set(REWARD_ENV_IDS) == {*HALFCHEETAHS, *ANTS} == {name for name in gym.registry if name.startswith("mopo/")}


@pytest.mark.parametrize("id_", REWARD_ENV_IDS)
def test_both_checkers_are_content(id_: str) -> None:
    """They are plain Gymnasium environments for everybody, with infinite bounds like all of MuJoCo's."""
    env = gym.make(id_)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*A Box observation space m(in|ax)imum value is")
        check_gymnasium(env.unwrapped, skip_render_check=True)
        check_stable_baselines(env)
    env.close()


@pytest.mark.parametrize("id_", REWARD_ENV_IDS)
def test_specs_and_environments_can_be_copied(id_: str) -> None:
    """Worker processes get pickles, Minari stores JSON; neither may forget the options or the width of the ant."""
    env = gym.make(id_, reset_noise_scale=0.0)
    copies = [
        gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json())),  # type: ignore[union-attr]
        pickle.loads(pickle.dumps(env.unwrapped)),  # noqa: S301  # our own
    ]
    for copy in copies:
        positions = [other.reset(seed=seed)[0] for seed, other in enumerate((env, copy))]
        half = 8 if id_ in HALFCHEETAHS else 13  # velocities have a noise of their own kind
        np.testing.assert_array_equal(positions[0][:half], positions[1][:half])
        copy.close()
    env.close()


@pytest.mark.parametrize("option", ["ctrl_cost_weight", "healthy_reward", "include_cfrc_ext_in_observation"])
def test_options_without_effect_are_refused(option: str) -> None:
    """An experiment on the control cost must not be one without."""
    with pytest.raises(ConfigError, match=rf"^{option}: cannot be set.*AntAngle"):
        gym.make("mopo/AntAngle-v0", **{option: 0})


def test_nothing_is_printed_and_no_log_is_left(tmp_path: Path) -> None:
    """Also by plain `gymnasium.make`, where MuJoCo would warn of HalfCheetah's model file."""
    script = (
        "import gymnasium, mopo_env\n"
        f"for id_ in {REWARD_ENV_IDS!r}:\n"
        "    env = gymnasium.make(id_)\n"
        "    env.reset(seed=0)\n"
        "    env.step(env.action_space.sample())\n"
        "    env.close()\n"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
