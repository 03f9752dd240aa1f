"""The environment draws the model's present state, where a state says how the robot stands, and says no elsewhere."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from helpers.drawing import needs_drawing
from helpers.transitions import transitions

import mopo_env  # noqa: F401  # registers the ids
from mopo_env.datasets.files import save_transitions
from mopo_env.errors import ConfigError

TASK = "MOPO-halfcheetah-mixed"


@needs_drawing
def test_frames_of_the_model() -> None:
    """They have ink, move with the model, and change none of its random numbers; a state always looks alike."""
    drawn, plain = gym.make(TASK, render_mode="rgb_array"), gym.make(TASK)
    assert drawn.render_mode == "rgb_array"
    assert drawn.metadata["render_fps"] == 20
    with drawn:
        frames, states = [], []
        for env in (drawn, plain):
            states.append([env.reset(seed=0)[0]])
            env.action_space.seed(0)
            for _ in range(3):
                if env is drawn:
                    frames.append(env.render())
                states[-1].append(env.step(env.action_space.sample())[0])
        drawn.reset(options={"observation": states[0][0]})
        np.testing.assert_array_equal(drawn.render(), frames[0])  # type: ignore[arg-type]
    assert [(frame.shape, frame.dtype) for frame in frames] == [((480, 480, 3), np.uint8)] * 3  # type: ignore[union-attr]
    assert all(np.std(frame) > 20 for frame in frames)
    assert not np.array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(*states)


@needs_drawing
def test_gymnasium_records_a_video(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    env = gym.wrappers.RecordVideo(gym.make(TASK, render_mode="rgb_array", horizon=2), str(tmp_path / "videos"))
    env.reset(seed=0)
    for _ in range(2):
        env.step(env.action_space.sample())
    env.close()
    (video,) = (tmp_path / "videos").glob("*.mp4")
    assert video.stat().st_size > 1000
    assert {path.name for path in tmp_path.iterdir()} <= {"videos", "mopo", "minari", "cache"}, "no log of MuJoCo"


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    save_transitions(transitions(), tmp_path / "pump")
    with pytest.raises(ConfigError, match="the states of pump cannot be drawn, because how they relate"):
        gym.make(TASK, task=str(tmp_path / "pump"), render_mode="rgb_array")
    with pytest.raises(ConfigError, match="render_mode: expected None or 'rgb_array', found 'human'"):
        gym.make(TASK, render_mode="human")
    with pytest.raises(ConfigError, match="render_mode: found 'rgb_array', but nothing can be drawn here"):
        gym.make("MOPO-linear-gaussian", render_mode="rgb_array")
    with gym.make("MOPO-linear-gaussian") as env:
        env.reset(seed=0)
        with pytest.raises(ConfigError, match='Make it with render_mode="rgb_array"'):
            env.unwrapped.render()
