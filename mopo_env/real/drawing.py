"""Pictures of a robot's states, drawn by MuJoCo from observations: those of a model as well as recorded ones."""

from typing import Any, cast

import numpy as np

from mopo_env.errors import ConfigError, InputError, require_extra
from mopo_env.real.real_env import drawing_without_screen, make_env_by_id, quiet_mujoco
from mopo_env.real.robots import ROBOTS, get_robot
from mopo_env.tasks import Task


class StateRenderer:
    """Draws observations of a robot as its environment draws its states.

    After a step of Euler's method, as HalfCheetah and Ant use it, the environments draw what was true a substep before.
    This draws the state itself.

    An observation leaves out where the robot stands: x, or x and y. `follow` integrates these from the velocities.
    Hopper's and Walker2d's observed velocities are clipped to ±10; this changes where they stand, and not their pose.

    Attributes:
        env_id: The environment, a key of `mopo_env.real.robots.ROBOTS`.
        fps: Steps of the environment in a second.
        origin: Where an episode starts, since observations do not say it.
        observation_dim: Width of an observation.
    """

    def __init__(self, env_id: str, *, width: int = 480, height: int = 480) -> None:
        """Build the simulator that draws.

        Args:
            env_id: The environment.
            width: Width of a picture in pixels.
            height: Height of a picture in pixels.

        Raises:
            ConfigError: If the state cannot be recovered from an observation of this environment.
            MissingExtraError: If MuJoCo is not installed.
        """
        self.env_id, self._robot = env_id, get_robot(env_id)
        self._mujoco = require_extra("mujoco", "mujoco")
        # Camera 0 of every robot follows it. Gymnasium 1.4's default does not, and loses it after a second.
        self._env = make_env_by_id(env_id, render_mode="rgb_array", width=width, height=height, camera_id=0)
        self._simulator = cast(Any, self._env.unwrapped)
        model = self._simulator.model
        self._seconds = float(self._simulator.dt)
        self.fps = round(1.0 / self._seconds)
        self.observation_dim = model.nq + model.nv - self._robot.num_hidden
        self._num_shown = model.nq - self._robot.num_hidden
        self.origin = np.zeros(self._robot.num_hidden)

    def draw(self, observation: np.ndarray, place: np.ndarray | None = None) -> np.ndarray:
        """Return a picture, shape ``(height, width, 3)``, uint8.

        Args:
            observation: One observation in raw units.
            place: Where the robot stands, x or x and y; None: at the origin.

        Raises:
            InputError: If the observation has another width, or is not finite.
            ConfigError: If MuJoCo finds no way to draw on this machine.
        """
        state = np.asarray(observation, dtype=np.float64)
        if state.shape != (self.observation_dim,) or not np.isfinite(state).all():
            raise InputError(
                f"observation: expected {self.observation_dim} finite numbers, as {self.env_id} has them, found "
                f"{observation!r}."
            )
        state = np.append(self.origin if place is None else place, state)
        positions, velocities = np.split(state, [len(self.origin) + self._num_shown])
        if self._robot.quaternion is not None:
            quaternion = positions[len(self.origin) :][self._robot.quaternion]
            quaternion /= max(float(np.linalg.norm(quaternion)), 1e-12)
        try:
            with quiet_mujoco(self._mujoco), drawing_without_screen():
                self._simulator.set_state(positions, velocities)
                picture: np.ndarray = self._simulator.render()
        except (RuntimeError, ImportError, AttributeError, self._mujoco.FatalError) as error:
            raise ConfigError(
                f"MuJoCo cannot draw on this machine: {error}. Set the environment variable MUJOCO_GL to egl, osmesa "
                "or glfw, whichever is installed."
            ) from error
        return picture

    def follow(self, place: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return where the robot stands after a step, from its mean velocity before and after."""
        first = self._num_shown
        velocities = [np.asarray(one, dtype=np.float64)[first : first + len(place)] for one in (before, after)]
        moved: np.ndarray = place + self._seconds * np.mean(velocities, axis=0)
        return moved

    def close(self) -> None:
        """Release the window and its memory."""
        self._env.close()


def make_renderer(task: Task, render_mode: str | None) -> StateRenderer | None:
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
    return StateRenderer(task.real_env_id)
