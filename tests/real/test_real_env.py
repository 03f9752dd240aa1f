"""The real environments: float32 like the model's, and silent."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from mopo_env.errors import ConfigError, MissingExtraError, UnknownNameError
from mopo_env.real.real_env import make_behaviour_env, make_real_env
from mopo_env.tasks import TASKS, Task, get_task

# One task for each robot, its widths of observation and action, and the bound of its actions.
ROBOTS = [("halfcheetah-mixed", 17, 6), ("hopper-random", 11, 3), ("walker2d-med-expert", 17, 6), ("ant-angle", 27, 8)]

needs_mujoco = pytest.mark.skipif(importlib.util.find_spec("mujoco") is None, reason="MuJoCo is not installed")


@needs_mujoco
@pytest.mark.parametrize(("task", "observation_dim", "action_dim"), ROBOTS)
def test_spaces_and_values(task: str, observation_dim: int, action_dim: int) -> None:
    """A float64 observation space would double every replay buffer and differ from the model's."""
    env = make_real_env(task)
    assert env.spec is not None
    assert env.spec.id == get_task(task).real_env_id
    largest = np.finfo(np.float32).max
    assert env.observation_space == gym.spaces.Box(-largest, largest, (observation_dim,), np.float32)
    assert env.action_space == gym.spaces.Box(-1.0, 1.0, (action_dim,), np.float32)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert observation.dtype == np.float32
    observation, reward, terminated, truncated, _ = env.step(np.full(action_dim, 0.5, np.float32))
    assert env.observation_space.contains(observation)
    assert observation.dtype == np.float32
    assert np.isfinite(reward)
    assert not terminated
    assert not truncated
    env.close()


@needs_mujoco
def test_only_the_type_of_observations_changes() -> None:
    """Returns in it must be those of the plain Gymnasium environment."""
    env, plain = make_real_env("hopper-mixed"), gym.make("Hopper-v5")
    (ours, _), (theirs, _) = env.reset(seed=3), plain.reset(seed=3)
    np.testing.assert_array_equal(ours, theirs.astype(np.float32))
    random = np.random.default_rng(0)
    for _ in range(20):
        action = random.uniform(-1, 1, 3).astype(np.float32)
        ours, theirs = env.step(action), plain.step(action)
        np.testing.assert_array_equal(ours[0], theirs[0].astype(np.float32))
        assert ours[1:4] == theirs[1:4]
        if ours[2]:
            break
    env.close()
    plain.close()


@needs_mujoco
def test_options_reach_gymnasium() -> None:
    env = make_real_env("MOPO-halfcheetah-random", max_episode_steps=2)
    env.reset(seed=0)
    action = np.zeros(6, np.float32)
    assert [env.step(action)[3] for _ in range(2)] == [False, True]
    env.close()


@needs_mujoco
@pytest.mark.parametrize("task", TASKS)
def test_data_are_recorded_in_an_environment_of_the_same_spaces(task: str) -> None:
    """Where rewards are relabelled it is another environment, and the data must still be the real one's."""
    with make_behaviour_env(task) as behaviour, make_real_env(task) as real:
        assert behaviour.spec is not None
        assert real.spec is not None
        assert (behaviour.spec.id, real.spec.id) == (get_task(task).behaviour_env_id, get_task(task).real_env_id)
        assert (behaviour.observation_space, behaviour.action_space) == (real.observation_space, real.action_space)


@needs_mujoco
def test_nothing_is_printed_and_no_log_is_left(tmp_path: Path) -> None:
    """MuJoCo warns of HalfCheetah's model file on the terminal and in MUJOCO_LOG.TXT where one happens to stand."""
    script = (
        "import numpy as np\n"
        "from mopo_env.real.real_env import make_behaviour_env, make_real_env\n"
        "for task in ('halfcheetah-mixed', 'hopper-mixed', 'walker2d-mixed', 'halfcheetah-jump', 'ant-angle'):\n"
        "    env = make_real_env(task)\n"
        "    env.reset(seed=0)\n"
        "    env.step(env.action_space.sample())\n"
        "    env.close()\n"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@needs_mujoco
def test_warnings_of_others_are_theirs_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler is global to the process: it must be put back, also when making the environment fails."""
    mujoco = importlib.import_module("mujoco")
    before = mujoco.get_mju_user_warning()

    def handler(message: str) -> None:
        pass

    mujoco.set_mju_user_warning(handler)
    try:
        make_real_env("halfcheetah-mixed").close()
        assert mujoco.get_mju_user_warning() is handler
        with pytest.raises(TypeError):
            make_real_env("halfcheetah-mixed", no_such_option=1)
        assert mujoco.get_mju_user_warning() is handler
    finally:
        mujoco.set_mju_user_warning(before)


def test_missing_mujoco(monkeypatch: pytest.MonkeyPatch) -> None:
    """The offline part works without MuJoCo, so its absence shows here first."""
    real_import = importlib.import_module

    def without_mujoco(name: str, package: str | None = None) -> Any:
        if name.split(".")[0] == "mujoco":
            raise ModuleNotFoundError("No module named 'mujoco'", name="mujoco")
        return real_import(name, package)

    monkeypatch.setattr(importlib, "import_module", without_mujoco)
    with pytest.raises(MissingExtraError) as caught:
        make_real_env("halfcheetah-mixed")
    for part in ("'mujoco'", "No module named", 'pip install "mopo-env[mujoco]"'):
        assert part in str(caught.value)
    observation, _ = make_real_env("cartpole-mixed").reset(seed=0)  # which has no part in it
    assert (observation.dtype, observation.shape) == (np.float32, (4,))


def test_unknown_task() -> None:
    """Before MuJoCo is asked for: a typo must not be answered with an installation."""
    with pytest.raises(UnknownNameError, match="halfcheetah-mixed"):
        make_real_env("halfcheeta-mixed")


def test_an_environment_of_gymnasiums_needs_no_mujoco(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data of one's own may be of a pendulum; what is asked for is only what that environment needs."""
    monkeypatch.setitem(sys.modules, "mujoco", None)
    env = make_real_env(Task(name="mine", real_env_id="Pendulum-v1"))
    assert env.observation_space.dtype == np.float32
    assert env.reset(seed=0)[0].dtype == np.float32
    env.close()


@pytest.mark.parametrize("env_id", ["NoSuchEnv-v0", "Pendulum-v99", "no_such_module:Env-v0", "not an id"])
def test_an_environment_that_gymnasium_cannot_make(env_id: str) -> None:
    """Gymnasium has an exception for each of these; ours says which option it came from."""
    with pytest.raises(ConfigError, match=rf"^real_env: Gymnasium cannot make the environment '{env_id}'"):
        make_real_env(Task(name="mine", real_env_id=env_id))


def test_no_environment_is_said_to_be_none() -> None:
    with pytest.raises(ConfigError, match="--real-env"):
        make_real_env(Task(name="mine"))
