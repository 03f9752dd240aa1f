"""What draws the states of a model, where they say how a robot stands."""

from typing import Protocol

import numpy as np

from mopo_env.errors import ConfigError, require_extra
from mopo_env.real.robots import ROBOTS
from mopo_env.tasks import Task

__all__ = ["Renderer", "make_renderer"]


class Renderer(Protocol):
    """What draws states, such as `mopo_env.real.drawing.StateRenderer`.

    Attributes:
        fps: Pictures in a second.
        origin: Where an episode starts, if observations do not say it.
    """

    fps: int
    origin: np.ndarray

    def draw(self, observation: np.ndarray, place: np.ndarray | None = None) -> np.ndarray:
        """Return a picture, shape ``(height, width, 3)``, uint8."""
        ...

    def follow(self, place: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return where the next state is."""
        ...

    def close(self) -> None:
        """Release the window."""
        ...


def make_renderer(task: Task, render_mode: str | None) -> Renderer | None:
    """Return what draws the states of a task; None without a render mode.

    Raises:
        ConfigError: If there is no such render mode, or the states of the task cannot be drawn.
        MissingExtraError: If MuJoCo is not installed.
    """
    if render_mode is None:
        return None
    if render_mode != "rgb_array":
        raise ConfigError(f"render_mode: expected None or 'rgb_array', found {render_mode!r}.")
    if task.real_env_id not in ROBOTS:
        raise ConfigError(
            f"render_mode: the states of {task.label} cannot be drawn, because how they relate to a simulator is not "
            f"known. Leave it out. These can be drawn: {', '.join(sorted(ROBOTS))}."
        )
    require_extra("mujoco", "mujoco")
    from mopo_env.real.drawing import StateRenderer

    return StateRenderer(task.real_env_id)
