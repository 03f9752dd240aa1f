"""The real environments: where data are collected and policies are evaluated, never where they are trained."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import gymnasium as gym
import numpy as np

from mopo_env._utils.spaces import as_float32_box, finite_box
from mopo_env.errors import ConfigError, MopoError, require_extra
from mopo_env.tasks import Task, get_task

__all__ = ["make_behaviour_env", "make_env_by_id", "make_real_env", "quiet_mujoco"]


# Where environments of Gymnasium and of this project are made that need MuJoCo.
_MUJOCO_MODULES = ("gymnasium.envs.mujoco", "mopo_env.real.reward_envs")


def make_real_env(task: str | Task, **kwargs: Any) -> gym.Env[Any, Any]:
    """Build the environment behind a task, with float32 observations like those of the model.

    Args:
        task: A task's name or id, or the task itself.
        **kwargs: Passed to `gymnasium.make`, such as ``render_mode``.

    Raises:
        UnknownNameError: If there is no such task.
        ConfigError: If the task has no real environment, or Gymnasium cannot make it.
        DatasetError: If its observations are no vectors.
        MissingExtraError: If MuJoCo is needed and not installed.
    """
    return make_env_by_id((task if isinstance(task, Task) else get_task(task)).real_env_id, **kwargs)


def make_behaviour_env(task: str, **kwargs: Any) -> gym.Env[Any, Any]:
    """Build the environment in which a task's data are recorded.

    It differs from the real environment by its reward, and only where a task's data are relabelled.

    Args:
        task: A task's name or id.
        **kwargs: Passed to `gymnasium.make`, such as ``render_mode``.

    Raises:
        UnknownNameError: If there is no such task.
        MissingExtraError: If MuJoCo is needed and not installed.
    """
    return make_env_by_id(get_task(task).behaviour_env_id, **kwargs)


def make_env_by_id(env_id: str | None, **kwargs: Any) -> gym.Env[Any, Any]:
    """Build an environment of Gymnasium with float32 observations, without the warnings of MuJoCo's compiler.

    Args:
        env_id: Gymnasium's id; None is refused.
        **kwargs: Passed to `gymnasium.make`.

    Raises:
        ConfigError: If there is no id, or Gymnasium cannot make the environment.
        DatasetError: If its observations are no vectors.
        MissingExtraError: If MuJoCo is needed and not installed.
    """
    if env_id is None:
        raise ConfigError("there is no real environment: name one of Gymnasium's as real_env, or --real-env.")
    try:
        quiet = quiet_mujoco(require_extra("mujoco", "mujoco")) if _needs_mujoco(env_id) else nullcontext()
        with quiet, warnings.catch_warnings():
            # That a version is out of date: whoever asks for it has data from it.
            warnings.simplefilter("ignore", DeprecationWarning)
            env = gym.make(env_id, **kwargs)
    except MopoError:
        raise
    except (gym.error.Error, ImportError) as error:
        raise ConfigError(f"real_env: Gymnasium cannot make the environment {env_id!r}: {error}") from error
    space = finite_box(as_float32_box(env.observation_space, f"the observations of {env_id}"))
    return gym.wrappers.TransformObservation(env, lambda observation: observation.astype(np.float32), space)


def _needs_mujoco(env_id: str) -> bool:
    return str(gym.spec(env_id).entry_point).startswith(_MUJOCO_MODULES)


@contextmanager
def quiet_mujoco(mujoco: Any) -> Iterator[None]:
    """Keep the warnings of MuJoCo's compiler away from the terminal and from MUJOCO_LOG.TXT in the current folder.

    HalfCheetah's model file uses an attribute that MuJoCo 4 calls deprecated; a user can do nothing about it.
    """
    previous = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(previous)
