"""Save the state of an environment in the middle of an episode, and restore it bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit, TransformAction, TransformObservation, TransformReward
from gymnasium.wrappers.common import OrderEnforcing, PassiveEnvChecker
from stable_baselines3.common.monitor import Monitor

from mopo_env.errors import ConfigError, require_extra

_STATELESS = (OrderEnforcing, PassiveEnvChecker, TransformAction, TransformObservation, TransformReward)
_MONITOR_COLUMNS = {"rewards": np.float64, "episode_returns": np.float64, "episode_lengths": np.int64}


def check_environment(env: gym.Env[Any, Any]) -> None:
    """Refuse an environment whose state this module cannot save.

    It can save MuJoCo's environments and Gymnasium's classic control, with the wrappers that `gymnasium.make` and
    Stable-Baselines3 add.
    """
    for wrapper in _wrappers(env):
        if not isinstance(wrapper, (TimeLimit, Monitor, *_STATELESS)):
            raise ConfigError(f"the state of the wrapper {type(wrapper).__name__} cannot be saved. Leave it out.")
    if not _is_mujoco(env.unwrapped) and not _is_classic_control(env.unwrapped):
        raise ConfigError(
            f"the state of {type(env.unwrapped).__name__} cannot be saved, only that of MuJoCo's environments and of "
            "Gymnasium's classic control. Train without a folder for checkpoints."
        )


def environment_state(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Return an environment's state for `set_environment_state`. The environment must have been reset before."""
    state: dict[str, Any] = {
        "simulator": _simulator_state(env.unwrapped),
        "generator": env.unwrapped.np_random.bit_generator.state,
    }
    for wrapper in _wrappers(env):
        if isinstance(wrapper, TimeLimit):
            state["elapsed_steps"] = wrapper._elapsed_steps
        elif isinstance(wrapper, Monitor):
            columns = {name: np.array(getattr(wrapper, name), dtype) for name, dtype in _MONITOR_COLUMNS.items()}
            state["monitor"] = {**columns, "total_steps": wrapper.total_steps}
    return state


def set_environment_state(env: gym.Env[Any, Any], state: dict[str, Any]) -> None:
    """Restore a state in an environment that was built in the same way and reset once."""
    _set_simulator_state(env.unwrapped, state["simulator"])
    env.unwrapped.np_random.bit_generator.state = state["generator"]
    for wrapper in _wrappers(env):
        if isinstance(wrapper, TimeLimit):
            wrapper._elapsed_steps = state["elapsed_steps"]
        elif isinstance(wrapper, Monitor):
            monitor = state["monitor"]
            for name in _MONITOR_COLUMNS:
                setattr(wrapper, name, monitor[name].tolist())
            wrapper.episode_times = [0.0] * len(wrapper.episode_lengths)  # the true times were of another process
            wrapper.total_steps = monitor["total_steps"]


def _wrappers(env: gym.Env[Any, Any]) -> Iterator[gym.Wrapper[Any, Any, Any, Any]]:
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env


def _is_mujoco(env: Any) -> bool:
    return hasattr(env, "model") and hasattr(env, "data")


def _is_classic_control(env: Any) -> bool:
    return any(ancestor.__module__.startswith("gymnasium.envs.classic_control") for ancestor in type(env).__mro__)


def _simulator_state(env: Any) -> dict[str, Any]:
    if not _is_mujoco(env):
        return {"state": np.asarray(env.state, dtype=np.float64)}
    mujoco = require_extra("mujoco", "mujoco")
    numbers = np.empty(mujoco.mj_stateSize(env.model, mujoco.mjtState.mjSTATE_INTEGRATION))
    mujoco.mj_getState(env.model, env.data, numbers, mujoco.mjtState.mjSTATE_INTEGRATION)
    # The integration state determines all later states, but the positions of the bodies lag behind it by a substep, and
    # Ant computes its velocity from one of them.
    return {"integration": numbers, "body_positions": env.data.xpos.copy()}


def _set_simulator_state(env: Any, state: dict[str, Any]) -> None:
    if not _is_mujoco(env):
        env.state = state["state"]
        return
    mujoco = require_extra("mujoco", "mujoco")
    mujoco.mj_setState(env.model, env.data, state["integration"], mujoco.mjtState.mjSTATE_INTEGRATION)
    env.data.xpos[:] = state["body_positions"]
