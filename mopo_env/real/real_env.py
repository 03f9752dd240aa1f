"""Build the real environments, in which data are collected and policies are evaluated."""

import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import gymnasium as gym
import numpy as np

from mopo_env._utils.spaces import as_float32_box, finite_box
from mopo_env.errors import ConfigError, MopoError, require_extra
from mopo_env.tasks import Task, get_task

# The modules of the environments that need MuJoCo.
_MUJOCO_MODULES = ("gymnasium.envs.mujoco", "mopo_env.real.reward_envs")


def make_real_env(task: str | Task, **kwargs: Any) -> gym.Env[Any, Any]:
    """Build the environment behind a task, with float32 observations like those of the model.

    Args:
        task: A task's name or id, or the task itself.
        **kwargs: Passed to `gymnasium.make`, such as ``render_mode``.

    Raises:
        UnknownNameError: If there is no such task.
        ConfigError: If the task has no real environment, or Gymnasium cannot make it.
        DatasetError: If its observations are not vectors.
        MissingExtraError: If MuJoCo is needed and not installed.
    """
    return make_env_by_id((task if isinstance(task, Task) else get_task(task)).real_env_id, **kwargs)


def make_behaviour_env(task: str, **kwargs: Any) -> gym.Env[Any, Any]:
    """Build the environment in which a task's data are recorded; `kwargs` are passed to `gymnasium.make`.

    If the task relabels its data, this environment has another reward than the real one. Otherwise they are the same.

    Raises:
        UnknownNameError: If there is no such task.
        MissingExtraError: If MuJoCo is needed and not installed.
    """
    return make_env_by_id(get_task(task).behaviour_env_id, **kwargs)


def make_env_by_id(env_id: str | None, **kwargs: Any) -> gym.Env[Any, Any]:
    """Build a Gymnasium environment with float32 observations, without the warnings of MuJoCo's compiler.

    Raises:
        ConfigError: If the id is None, or Gymnasium cannot make the environment.
        DatasetError: If its observations are not vectors.
        MissingExtraError: If MuJoCo is needed and not installed.
    """
    if env_id is None:
        raise ConfigError("there is no real environment: name one of Gymnasium's as real_env, or --real-env.")
    try:
        module, _, name = env_id.rpartition(":")
        if module:  # as `gymnasium.make` does; the module registers its environments
            importlib.import_module(module)
        needs_mujoco = str(gym.spec(name).entry_point).startswith(_MUJOCO_MODULES)
        quiet = quiet_mujoco(require_extra("mujoco", "mujoco")) if needs_mujoco else nullcontext()
        with quiet, warnings.catch_warnings():
            # Gymnasium warns of old versions, but a user who names one has data from it.
            warnings.simplefilter("ignore", DeprecationWarning)
            env = gym.make(env_id, **kwargs)
    except MopoError:
        raise
    except (gym.error.Error, ImportError) as error:
        raise ConfigError(f"real_env: Gymnasium cannot make the environment {env_id!r}: {error}") from error
    space = finite_box(as_float32_box(env.observation_space, f"the observations of {env_id}"))
    return gym.wrappers.TransformObservation(env, lambda observation: observation.astype(np.float32), space)


@contextmanager
def quiet_mujoco(mujoco: Any) -> Iterator[None]:
    """Keep warnings of MuJoCo's compiler, which a user cannot act on, off the terminal and out of MUJOCO_LOG.TXT."""
    previous = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(previous)


@contextmanager
def drawing_without_screen() -> Iterator[None]:
    """Choose EGL where there is no screen and the user has chosen nothing. Gymnasium would try GLFW, which fails."""
    has_screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if sys.platform != "linux" or has_screen or "MUJOCO_GL" in os.environ:
        yield
        return
    os.environ["MUJOCO_GL"] = "egl"
    try:
        yield
    finally:
        del os.environ["MUJOCO_GL"]
