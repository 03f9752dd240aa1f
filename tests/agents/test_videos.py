"""A video shows the real episode and what the model believes of it; both begin with the same picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from helpers.drawing import needs_drawing
from PIL import Image

from mopo_agents.evaluation import evaluate
from mopo_agents.videos import CAPTION, check_video, video_frames, write_video
from mopo_env import make_penalized_model
from mopo_env.errors import ConfigError, SpaceMismatchError, StoreError
from mopo_env.tasks import Task, get_task

HOPPER = get_task("hopper-mixed")


class Standing:
    """A policy that pushes nothing."""

    def predict(self, observation: Any, *_: Any, **__: Any) -> tuple[np.ndarray, Any]:
        return np.zeros((*observation.shape[:-1], 3), dtype=np.float32), None


def frames(**options: Any) -> list[np.ndarray]:
    model = make_penalized_model("hopper-mixed", **options)
    return list(video_frames(Standing(), HOPPER, model, seconds=0.24, size=96))


@needs_drawing
def test_model_and_reality_begin_alike() -> None:
    """Hopper takes 125 steps in a second, of which every fifth is drawn: after 0.24 s, 30 steps and 7 pictures."""
    found = frames()
    assert len(found) == 7
    assert {(frame.shape, frame.dtype) for frame in found} == {((96, 192, 3), np.dtype(np.uint8))}
    real, believed = np.split(np.array(found), 2, axis=2)
    np.testing.assert_array_equal(real[0, CAPTION:], believed[0, CAPTION:])
    assert (real[-1, CAPTION:] != believed[-1, CAPTION:]).any(), "the model is not the simulator"
    assert all(side[:, CAPTION:].std() > 20 for side in (real, believed)), "not blank"


@needs_drawing
def test_a_rollout_that_leaves_the_data_is_framed_and_begins_anew() -> None:
    """With an envelope that nothing fits into, each step of the model leaves it; the next begins in the real state."""
    found = frames(envelope_quantile=0.0)
    red = [bool((frame[-1, 96:] == (200, 30, 30)).all()) for frame in found]
    assert red == [False] + [True] * 6
    assert not any((frame[-1, :96] == (200, 30, 30)).all() for frame in found), "the real robot still stands"


@needs_drawing
def test_it_is_the_first_episode_of_the_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A video of another episode would explain nothing."""
    starts = []
    reset = gym.wrappers.TransformObservation.reset

    def seen(self: Any, **options: Any) -> Any:
        observation, info = reset(self, **options)
        starts.append(observation)
        return observation, info

    monkeypatch.setattr(gym.wrappers.TransformObservation, "reset", seen)
    evaluate(Standing(), HOPPER, episodes=1, seed=3)
    next(video_frames(Standing(), HOPPER, size=32, seed=3))
    np.testing.assert_array_equal(starts[0], starts[-1])


@needs_drawing
def test_a_model_of_another_robot_is_refused() -> None:
    model = make_penalized_model("halfcheetah-mixed")
    with pytest.raises(SpaceMismatchError, match=r"found \(17,\) in the model, but Hopper-v5 has \(11,\)"):
        next(video_frames(Standing(), HOPPER, model, size=32))


def test_a_model_that_cannot_be_drawn_is_refused() -> None:
    model = make_penalized_model("halfcheetah-mixed")
    with pytest.raises(ConfigError, match="CartPole-v1: the states of its model cannot be drawn"):
        next(video_frames(Standing(), get_task("cartpole-mixed"), model))
    with pytest.raises(ConfigError, match="there is no real environment"):
        next(video_frames(Standing(), Task(name="pump")))


@pytest.fixture
def squares() -> list[np.ndarray]:
    return [np.full((33, 65, 3), value, dtype=np.uint8) for value in (10, 120, 250)]


def test_a_gif_holds_the_frames(squares: list[np.ndarray], tmp_path: Path) -> None:
    with Image.open(write_video(iter(squares), tmp_path / "a.gif")) as image:
        assert (image.n_frames, image.size, image.info["duration"]) == (3, (65, 33), 40)  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its reader leaves its pipes open
def test_an_mp4_holds_the_frames(squares: list[np.ndarray], tmp_path: Path) -> None:
    """Sizes are made even, because players refuse others."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    reader = ffmpeg.read_frames(str(write_video(iter(squares), tmp_path / "a.mp4")))
    assert next(reader)["size"] == (64, 32)
    shades = [np.frombuffer(frame, np.uint8).mean() for frame in reader]
    np.testing.assert_allclose(shades, [10, 120, 250], atol=5)


def test_a_video_that_fails_leaves_no_file(squares: list[np.ndarray], tmp_path: Path) -> None:
    def broken() -> Any:
        yield squares[0]
        raise ConfigError("no more")

    with pytest.raises(ConfigError, match="no more"):
        write_video(broken(), tmp_path / "a.gif")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        write_video(squares, tmp_path / "file" / "a.gif")
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".gif"]


def test_other_formats_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected a video that ends in .mp4 or .gif, found '.avi'"):
        check_video(Path("a.avi"))
