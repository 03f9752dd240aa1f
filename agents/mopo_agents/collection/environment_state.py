"""All that decides how an environment goes on in mid-episode: kept as arrays and numbers, and put back bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit, TransformAction, TransformObservation, TransformReward
from gymnasium.wrappers.common import OrderEnforcing, PassiveEnvChecker
from stable_baselines3.common.monitor import Monitor

from mopo_env.errors import ConfigError, require_extra

__all__ = ["check_environment", "environment_state", "set_environment_state"]

_STATELESS = (OrderEnforcing, PassiveEnvChecker, TransformAction, TransformObservation, TransformReward)


def check_environment(env: gym.Env[Any, Any]) -> None:
    """Refuse an environment of which it is not known here what it remembers.

    Known are MuJoCo's environments and Gymnasium's classic control, in the wrappers that `gymnasium.make` and
    Stable-Baselines3 put around them.

    Raises:
        ConfigError: If the environment, or a wrapper of it, is another.
    """
    for wrapper in _wrappers(env):
        if not isinstance(wrapper, (TimeLimit, Monitor, *_STATELESS)):
            raise ConfigError(f"the state of the wrapper {type(wrapper).__name__} cannot be kept; leave it out.")
    if not _is_mujoco(env.unwrapped) and not _is_classic_control(env.unwrapped):
        raise ConfigError(
            f"the state of {type(env.unwrapped).__name__} cannot be kept: only MuJoCo's environments and Gymnasium's "
            "classic control are known here. Train without a folder for checkpoints."
        )


def environment_state(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Return what `set_environment_state` needs to go on from here, in an environment that was reset before."""
    state: dict[str, Any] = {
        "simulator": _simulator_state(env.unwrapped),
        "generator": env.unwrapped.np_random.bit_generator.state,
    }
    for wrapper in _wrappers(env):
        if isinstance(wrapper, TimeLimit):
            state["elapsed_steps"] = wrapper._elapsed_steps
        elif isinstance(wrapper, Monitor):
            state["monitor"] = {
                "rewards": np.array(wrapper.rewards, dtype=np.float64),
                "episode_returns": np.array(wrapper.episode_returns, dtype=np.float64),
                "episode_lengths": np.array(wrapper.episode_lengths, dtype=np.int64),
                "total_steps": wrapper.total_steps,
            }
    return state


def set_environment_state(env: gym.Env[Any, Any], state: dict[str, Any]) -> None:
    """Put an environment, built in the same way and reset once, where another was when its state was taken."""
    _set_simulator_state(env.unwrapped, state["simulator"])
    env.unwrapped.np_random.bit_generator.state = state["generator"]
    for wrapper in _wrappers(env):
        if isinstance(wrapper, TimeLimit):
            wrapper._elapsed_steps = state["elapsed_steps"]
        elif isinstance(wrapper, Monitor):
            monitor = state["monitor"]
            wrapper.rewards = monitor["rewards"].tolist()
            wrapper.episode_returns = monitor["episode_returns"].tolist()
            wrapper.episode_lengths = monitor["episode_lengths"].tolist()
            wrapper.episode_times = [0.0] * len(wrapper.episode_lengths)  # of another process's clock
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
    # The integration state decides all later states. Positions of bodies are computed from it, but they lag by a
    # substep, and Ant measures its velocity from one of them.
    return {"integration": numbers, "body_positions": env.data.xpos.copy()}


def _set_simulator_state(env: Any, state: dict[str, Any]) -> None:
    if not _is_mujoco(env):
        env.state = state["state"]
        return
    mujoco = require_extra("mujoco", "mujoco")
    mujoco.mj_setState(env.model, env.data, state["integration"], mujoco.mjtState.mjSTATE_INTEGRATION)
    env.data.xpos[:] = state["body_positions"]
