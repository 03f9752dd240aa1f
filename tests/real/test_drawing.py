"""Pictures of states: those that the environment itself draws, wherever the robot stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from helpers.drawing import needs_drawing

from mopo_env.errors import ConfigError, InputError
from mopo_env.real.real_env import drawing_without_screen, make_env_by_id
from mopo_env.real.robots import ROBOTS

drawing = pytest.importorskip("mopo_env.real.drawing")
pytestmark = needs_drawing


@pytest.fixture(scope="module")
def hopper() -> Iterator[drawing.StateRenderer]:
    with closing(drawing.StateRenderer("Hopper-v5", width=96, height=96)) as renderer:
        yield renderer


@pytest.mark.parametrize("env_id", ["Hopper-v5", "mopo/AntAngle-v0"])
def test_a_state_is_drawn_as_the_environment_draws_it(env_id: str, tmp_path: Path) -> None:
    """From the observation alone, and where the robot stands. MuJoCo leaves no log, and nothing warns."""
    options = {"render_mode": "rgb_array", "width": 96, "height": 96, "camera_id": 0}
    renderer = drawing.StateRenderer(env_id, width=96, height=96)
    with make_env_by_id(env_id, **options) as env, closing(renderer):
        observation, _ = env.reset(seed=0)
        place = env.unwrapped.data.qpos[: ROBOTS[env_id].num_hidden].copy()  # type: ignore[attr-defined]
        with drawing_without_screen():
            real = np.asarray(env.render(), dtype=int)
        drawn = renderer.draw(observation, place)
    assert (drawn.shape, drawn.dtype) == ((96, 96, 3), np.uint8)
    assert drawn.std() > 20, "not blank"
    assert (np.abs(drawn - real) > 8).mean() < 0.001, "rounding to float32 may move an edge"
    assert not list(tmp_path.glob("*LOG*"))


def test_the_camera_follows(hopper: drawing.StateRenderer) -> None:
    """Ten metres on, the robot is still in the middle: brown there, where the floor is grey."""
    observation = np.r_[1.25, np.zeros(10)]
    for x in (0.0, 10.0):
        middle = hopper.draw(observation, np.array([x]))[:, 40:56].astype(int)
        assert (middle[..., 0] - middle[..., 2] > 30).sum() > 50


def test_where_it_stands_is_integrated(hopper: drawing.StateRenderer) -> None:
    """At 1 m/s before and 3 m/s after, a step of 8 ms moves 16 mm."""
    before, after = np.zeros(11), np.zeros(11)
    before[5], after[5] = 1.0, 3.0
    np.testing.assert_allclose(hopper.follow(np.array([7.0]), before, after), [7.016])


@pytest.mark.parametrize("observation", [np.zeros(12), np.full(11, np.nan)])
def test_what_is_no_state_is_refused(hopper: drawing.StateRenderer, observation: np.ndarray) -> None:
    with pytest.raises(InputError, match="observation: expected 11 finite numbers, as Hopper-v5 has them"):
        hopper.draw(observation)


def test_a_robot_of_unknown_state_is_refused() -> None:
    with pytest.raises(ConfigError, match="Swimmer-v5"):
        drawing.StateRenderer("Swimmer-v5")
