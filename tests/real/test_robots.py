"""The table of robots: what it pays and shows is compared with the environments in `test_true_dynamics`."""

from __future__ import annotations

import gymnasium as gym
import pytest

from mopo_env.errors import ConfigError
from mopo_env.real.robots import ROBOTS, get_robot
from mopo_env.tasks import TASKS


def test_every_robot_of_a_task_is_known() -> None:
    """Else `--penalty oracle` would be missing where a task is added; what needs no MuJoCo has no robot."""
    for task in TASKS.values():
        for env_id in (task.real_env_id, task.behaviour_env_id):
            assert (env_id in ROBOTS) == ("mujoco" in str(gym.spec(env_id).entry_point) or env_id.startswith("mopo/"))


def test_a_known_robot_is_found() -> None:
    assert get_robot("Hopper-v5") is ROBOTS["Hopper-v5"]


@pytest.mark.parametrize("env_id", ["Ant-v5", "CartPole-v1", "hopper-v5"])
def test_what_is_not_known_is_refused(env_id: str) -> None:
    """Ant-v5 among them: its reward needs contact forces, and 105 numbers are no state."""
    with pytest.raises(
        ConfigError, match=rf"^{env_id}: cannot be stepped from an observation.*HalfCheetah-v4, HalfCheetah-v5"
    ):
        get_robot(env_id)
