"""MuJoCo's robots: what their observations show of the simulator's state, and what a step pays.

An observation of Gymnasium's robots is the positions but for the first one or two, then all velocities. What it leaves
out is where the robot stands, on which nothing but that itself depends. So a state can be read off an observation, and
a reward off a simulated step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from mopo_env.errors import ConfigError
from mopo_env.rewards import RewardFunction, ant_angle, ant_forward, halfcheetah_capped, halfcheetah_jump
from mopo_env.terminations import Termination, hopper, walker2d

__all__ = ["ROBOTS", "Motion", "Robot", "get_robot"]


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Simulated steps, one a row, in raw units and float64.

    Attributes:
        observations: s, shape ``(rows, observation)``.
        actions: a, shape ``(rows, action)``.
        next_observations: s′ as the environment shows it, shape ``(rows, observation)``.
        next_state: s′ before velocities are clipped, in the order of an observation, shape ``(rows, observation)``.
        distance: How far the robot moved along x, in m, shape ``(rows,)``.
        seconds: Duration of a step.
    """

    observations: np.ndarray
    actions: np.ndarray
    next_observations: np.ndarray
    next_state: np.ndarray
    distance: np.ndarray
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Robot:
    """How an environment's observation is made of the simulator's state, and its reward of a step.

    Attributes:
        num_hidden: How many of the first positions the observation leaves out: x, or x and y.
        reward: What steps pay, shape ``(rows,)``.
        velocity_limit: Velocities are shown clipped to plus or minus this; None: as they are. A clipped velocity
            cannot be recovered: the state that is read off the observation is then another than the true one.
        quaternion: The columns of the observation that hold an orientation, of norm 1; None: there are none.
    """

    num_hidden: int
    reward: Callable[[Motion], np.ndarray]
    velocity_limit: float | None = None
    quaternion: slice | None = None


def _running(control_weight: float) -> Callable[[Motion], np.ndarray]:
    """Pay v̄_x − w·‖a‖², v̄_x the mean velocity over the step."""

    def reward(motion: Motion) -> np.ndarray:
        rewards: np.ndarray = motion.distance / motion.seconds - control_weight * np.square(motion.actions).sum(axis=1)
        return rewards

    return reward


def _running_upright(termination: Termination | None) -> Callable[[Motion], np.ndarray]:
    """Pay v̄_x − 0.001·‖a‖² and 1 for being healthy: where the state is not terminal, or always if no rule is given."""
    running = _running(0.001)

    def reward(motion: Motion) -> np.ndarray:
        if termination is None:
            return running(motion) + 1.0
        # The rules are written for observations; the environments judge velocities before they are clipped.
        state = torch.from_numpy(motion.next_state)
        healthy = ~termination(state, torch.from_numpy(motion.actions), state)
        rewards: np.ndarray = running(motion) + healthy.numpy()
        return rewards

    return reward


def _of_transition(function: RewardFunction) -> Callable[[Motion], np.ndarray]:
    """Pay what a function of `mopo_env.rewards` says of the transition."""

    def reward(motion: Motion) -> np.ndarray:
        return function(motion.observations, motion.actions, motion.next_observations)

    return reward


_HALFCHEETAH = Robot(num_hidden=1, reward=_running(0.1))
# Version 4 pays for health on the step of the fall as well.
_PLANAR_V4 = Robot(num_hidden=1, reward=_running_upright(None), velocity_limit=10.0)

ROBOTS: dict[str, Robot] = {
    "HalfCheetah-v4": _HALFCHEETAH,
    "HalfCheetah-v5": _HALFCHEETAH,
    "Hopper-v4": _PLANAR_V4,
    "Hopper-v5": replace(_PLANAR_V4, reward=_running_upright(hopper)),
    "Walker2d-v4": _PLANAR_V4,
    "Walker2d-v5": replace(_PLANAR_V4, reward=_running_upright(walker2d)),
    "mopo/HalfCheetahCapped-v0": replace(_HALFCHEETAH, reward=_of_transition(halfcheetah_capped)),
    "mopo/HalfCheetahJump-v0": replace(_HALFCHEETAH, reward=_of_transition(halfcheetah_jump)),
    # Gymnasium's own Ant is not here: its reward needs contact forces, which are no part of a state.
    "mopo/AntForward-v0": Robot(num_hidden=2, reward=_of_transition(ant_forward), quaternion=slice(1, 5)),
    "mopo/AntAngle-v0": Robot(num_hidden=2, reward=_of_transition(ant_angle), quaternion=slice(1, 5)),
}


def get_robot(env_id: str) -> Robot:
    """Look a robot up by the id of its environment.

    Raises:
        ConfigError: If nothing is known of this environment's state.
    """
    if env_id not in ROBOTS:
        raise ConfigError(
            f"{env_id}: how its state is read off an observation is not known, so it cannot be stepped from one. "
            f"Known: {', '.join(sorted(ROBOTS))}."
        )
    return ROBOTS[env_id]
