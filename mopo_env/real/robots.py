"""MuJoCo's robots: how an observation relates to the simulator's state, and the reward of a step.

An observation of Gymnasium's robots holds all positions except the first one or two, then all velocities. The missing
positions say where the robot stands, and the dynamics do not depend on them. So an observation determines the state.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from mopo_env.errors import ConfigError
from mopo_env.rewards import RewardFunction, ant_angle, ant_forward, halfcheetah_capped, halfcheetah_jump
from mopo_env.terminations import Termination, hopper, walker2d


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Simulated steps, one in each row, in raw units and float64.

    Attributes:
        observations: s, shape ``(rows, observation)``.
        actions: a, shape ``(rows, action)``.
        next_observations: s′ as the environment returns it, shape ``(rows, observation)``.
        next_state: s′ before velocities are clipped, in the order of an observation, shape ``(rows, observation)``.
        distance: Distance that the robot moved along x, in m, shape ``(rows,)``.
        seconds: Duration of a step, in s.
    """

    observations: np.ndarray
    actions: np.ndarray
    next_observations: np.ndarray
    next_state: np.ndarray
    distance: np.ndarray
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Robot:
    """How an environment computes its observation from the simulator's state, and its reward from a step.

    Attributes:
        num_hidden: Number of first positions that the observation leaves out: x, or x and y.
        reward: Computes the rewards of steps, shape ``(rows,)``.
        velocity_limit: The environment clips the velocities it shows to plus or minus this; None: it does not. From a
            clipped velocity, the true state cannot be recovered.
        quaternion: The columns of the observation that hold an orientation, of norm 1; None if there are none.
    """

    num_hidden: int
    reward: Callable[[Motion], np.ndarray]
    velocity_limit: float | None = None
    quaternion: slice | None = None


def _running(control_weight: float) -> Callable[[Motion], np.ndarray]:
    """Return the reward v̄_x − w·‖a‖², v̄_x the mean velocity over the step."""

    def reward(motion: Motion) -> np.ndarray:
        rewards: np.ndarray = motion.distance / motion.seconds - control_weight * np.square(motion.actions).sum(axis=1)
        return rewards

    return reward


def _running_upright(termination: Termination | None) -> Callable[[Motion], np.ndarray]:
    """Return the reward v̄_x − 0.001·‖a‖² + 1. With a termination rule, terminal states do not get the 1."""
    running = _running(0.001)

    def reward(motion: Motion) -> np.ndarray:
        if termination is None:
            return running(motion) + 1.0
        # The environments apply the rule before they clip velocities.
        state = torch.from_numpy(motion.next_state)
        healthy = ~termination(state, torch.from_numpy(motion.actions), state)
        rewards: np.ndarray = running(motion) + healthy.numpy()
        return rewards

    return reward


def _of_transition(function: RewardFunction) -> Callable[[Motion], np.ndarray]:
    """Return the reward that a function of `mopo_env.rewards` computes."""

    def reward(motion: Motion) -> np.ndarray:
        return function(motion.observations, motion.actions, motion.next_observations)

    return reward


_HALFCHEETAH = Robot(num_hidden=1, reward=_running(0.1))
# Version 4 adds the 1 in the step of the fall, too.
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
    # Gymnasium's own Ant is missing: its reward needs contact forces, which are not part of the state.
    "mopo/AntForward-v0": Robot(num_hidden=2, reward=_of_transition(ant_forward), quaternion=slice(1, 5)),
    "mopo/AntAngle-v0": Robot(num_hidden=2, reward=_of_transition(ant_angle), quaternion=slice(1, 5)),
}


def get_robot(env_id: str) -> Robot:
    """Look a robot up by the id of its environment.

    Raises:
        ConfigError: If `ROBOTS` does not hold this environment.
    """
    if env_id not in ROBOTS:
        raise ConfigError(
            f"{env_id}: cannot be stepped from an observation, since the relation to its state is not known. "
            f"Known: {', '.join(sorted(ROBOTS))}."
        )
    return ROBOTS[env_id]
