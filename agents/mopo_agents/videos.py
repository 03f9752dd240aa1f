"""Videos of a policy in the real environment, and beside it what a model believes of the same actions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from mopo_agents._utils.outputs import write_output
from mopo_agents.evaluation import Policy, check_spaces, episode_seed
from mopo_env._utils.devices import new_generator
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, SpaceMismatchError, require_extra
from mopo_env.real.drawing import StateRenderer
from mopo_env.real.real_env import drawing_without_screen, make_real_env
from mopo_env.real.robots import ROBOTS
from mopo_env.tasks import Task

FPS = 25
"""Pictures in a second. Environments with more steps in a second are drawn at some of them."""
CAPTION = 22
"""Height of the line of text at the top of a picture, in pixels."""

_RED = (200, 30, 30)


def video_frames(
    policy: Policy,
    task: Task,
    penalized_model: PenalizedModel | None = None,
    *,
    seconds: float = 10.0,
    seed: int = 0,
    size: int = 320,
) -> Iterator[np.ndarray]:
    """Yield pictures of one episode in the real environment: the first of `evaluate` with the same seed.

    With a model, its rollout from the same state with the same actions stands on the right. Where it leaves the data,
    or its rule ends the episode, it has a red frame, and starts again in the real state. Both sides begin equal.

    Args:
        policy: Anything with Stable-Baselines3's `predict`; its deterministic actions count.
        task: A task with a real environment.
        penalized_model: The model, on the CPU. Only for `mopo_env.real.robots.ROBOTS`, whose states can be drawn.
        seconds: The longest length, in the time of the environment.
        seed: Of the start state, and of the model's draws.
        size: Width and height of a side, in pixels. Environments that are no robots choose their own.

    Raises:
        ConfigError: If there is no real environment, or it or the model cannot be drawn.
        SpaceMismatchError: If policy, model and environment have different widths.
        MissingExtraError: If MuJoCo is needed and not installed.
    """
    if task.real_env_id in ROBOTS:
        with make_real_env(task) as env, closing(StateRenderer(task.real_env_id, width=size, height=size)) as renderer:
            believed = None
            if penalized_model is not None:
                if penalized_model.observation_space.shape != (renderer.observation_dim,):
                    raise SpaceMismatchError(
                        f"observation_space: found {penalized_model.observation_space.shape} in the model, but "
                        f"{task.real_env_id} has ({renderer.observation_dim},)."
                    )
                believed = _Believed(penalized_model, renderer, seed)
            yield from _episode(policy, task, env, renderer, believed, seconds=seconds, seed=seed)
    elif penalized_model is not None:
        raise ConfigError(f"{task.real_env_id}: the states of its model cannot be drawn. Leave the model out.")
    else:
        with make_real_env(task, render_mode="rgb_array") as env:
            yield from _episode(policy, task, env, None, None, seconds=seconds, seed=seed)


def check_video(path: Path) -> None:
    """Refuse a video that cannot be written, before anything is drawn.

    Raises:
        ConfigError: If the ending names no format.
        MissingExtraError: If MP4 is wanted and imageio-ffmpeg is not installed.
    """
    if path.suffix not in (".mp4", ".gif"):
        raise ConfigError(f"{path}: expected a video that ends in .mp4 or .gif, found {path.suffix!r}.")
    if path.suffix == ".mp4":
        require_extra("imageio_ffmpeg", "video")


def write_video(frames: Iterable[np.ndarray], path: Path) -> Path:
    """Write pictures into a file, one at a time; if one fails, there is no file.

    Raises:
        StoreError: If the file cannot be written, and as in `check_video`.
    """
    check_video(path)
    stream = iter(frames)
    first = next(stream)
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / f"video{path.suffix}"
        (_write_mp4 if path.suffix == ".mp4" else _write_gif)(chain([first], stream), str(drawn), first.shape)
        write_output(path, drawn.read_bytes())
    return path


class _Believed:
    """The rollout of a model that starts in a real state and gets the real actions."""

    def __init__(self, model: PenalizedModel, renderer: StateRenderer, seed: int) -> None:
        self._model, self._renderer = model, renderer
        self._generator = new_generator(np.random.default_rng(seed), model.device)
        self._ended, self._steps = True, 0

    def picture(self, observation: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Draw the believed state: before the first step, the real one."""
        if self._steps:
            observation, place = self._observation, self._place
        text = f"model, same actions: step {self._steps}"
        return _captioned(self._renderer.draw(observation, place), text, framed=self._ended and self._steps > 0)

    def step(self, observation: np.ndarray, place: np.ndarray, action: np.ndarray) -> None:
        """Take a step from the believed state; from the real one, if the rollout has ended or not begun."""
        if self._ended:
            self._observation, self._place, self._steps = observation, place, 0
            self._members = self._model.pick_members(1, self._generator)
        state, actions = torch.tensor(self._observation)[None], torch.as_tensor(action)[None]
        step = self._model.step(state, actions, self._generator, self._members)
        after = step.next_observations[0].numpy()
        self._place = self._renderer.follow(self._place, self._observation, after)
        self._observation, self._steps = after, self._steps + 1
        self._ended = bool((step.terminations | step.truncations).item())


def _episode(
    policy: Policy,
    task: Task,
    env: gym.Env[Any, Any],
    renderer: StateRenderer | None,
    believed: _Believed | None,
    *,
    seconds: float,
    seed: int,
) -> Iterator[np.ndarray]:
    check_spaces(policy, env, task)
    fps = env.metadata.get("render_fps", FPS) if renderer is None else renderer.fps
    every = max(1, round(fps / FPS))
    observation, _ = env.reset(seed=episode_seed(seed))
    simulator: Any = env.unwrapped
    step, total, ended = 0, 0.0, False
    while True:
        # Where the robot stands is no part of the observation.
        place = np.zeros(0) if renderer is None else simulator.data.qpos[: len(renderer.origin)].copy()
        if step % every == 0 or ended:
            with drawing_without_screen():
                drawn: Any = env.render() if renderer is None else renderer.draw(observation, place)
            picture = _captioned(drawn, f"real: step {step}, return {total:.0f}", framed=ended)
            yield (
                picture if believed is None else np.concatenate([picture, believed.picture(observation, place)], axis=1)
            )
        if ended or step >= seconds * fps:
            return
        action, _ = policy.predict(observation, deterministic=True)
        if believed is not None:
            believed.step(observation, place, action)
        observation, reward, terminated, truncated, _ = env.step(action)
        step, total, ended = step + 1, total + float(reward), terminated or truncated


def _captioned(picture: np.ndarray, text: str, *, framed: bool) -> np.ndarray:
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, image.width, CAPTION - 1), fill="white")
    draw.text((8, 3), text, fill="black", font=ImageFont.load_default(13))
    if framed:
        draw.rectangle((0, 0, image.width - 1, image.height - 1), outline=_RED, width=4)
    return np.asarray(image)


def _write_mp4(frames: Iterable[np.ndarray], name: str, shape: tuple[int, ...]) -> None:
    ffmpeg: Any = require_extra("imageio_ffmpeg", "video")
    # Players expect even sizes, and no more than that.
    height, width = (length - length % 2 for length in shape[:2])
    writer = ffmpeg.write_frames(name, (width, height), fps=FPS, macro_block_size=2)
    writer.send(None)
    try:
        for frame in frames:
            writer.send(np.ascontiguousarray(frame[:height, :width]))
    finally:
        writer.close()


def _write_gif(frames: Iterable[np.ndarray], name: str, shape: tuple[int, ...]) -> None:
    images = (Image.fromarray(frame).quantize(128) for frame in frames)
    next(images).save(name, save_all=True, append_images=images, duration=1000 // FPS, loop=0)
