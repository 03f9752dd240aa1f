"""The rewards of the paper's out-of-distribution tasks (Appendix C.1), as functions of a transition.

The paper's r(s, a) contains the velocity of the robot. Gymnasium's own rewards use the mean velocity over a control
step, which a stored observation does not hold. The functions here use the velocity in the *next* observation, at the
end of the step. It stands in every stored transition, and the environments of `mopo_env.real.reward_envs` call these
functions too. So relabelled data and real environment agree exactly.

The two velocities differ by 0.41 m/s on average on the bundled HalfCheetah data. The difference nearly cancels in a sum
(0.5 % of the distance). Under a cap it does not: the reward is 0.08 lower per step, or 81 lower in an episode of 1,000
steps (`benchmarks/penalty.py` prints these). Keep this in mind when you compare returns with the paper's.

Every function takes s, a and s′ as ``(rows, width)`` arrays in raw units and returns one float64 for each row. The
widths are 17, 6 and 17 for HalfCheetah, whose s′ holds z in m (column 0) and v_x in m/s (column 8). They are 27, 8 and
27 for Ant, with v_x and v_y in columns 13 and 14. Other shapes raise an `InputError`. Inputs are rounded to float32
first, the type of datasets. Otherwise the last digits would differ between environment and dataset.
"""

import math
from typing import Protocol

import numpy as np

from mopo_env._utils.arrays import check_rows

_HALFCHEETAH_WIDTHS = (17, 6)
_HEIGHT, _VELOCITY = 0, 8  # z and v_x
_MAX_VELOCITY = 3.0
_INITIAL_HEIGHT = 0.0
_JUMP_WEIGHT = 15.0
_HALFCHEETAH_CONTROL_WEIGHT = 0.1

_ANT_WIDTHS = (27, 8)
_ANT_VELOCITY = slice(13, 15)  # v_x and v_y
_ANT_CONTROL_WEIGHT = 0.5
_ANGLE = math.pi / 6


class RewardFunction(Protocol):
    """Computes the rewards of transitions."""

    def __call__(self, observations: np.ndarray, actions: np.ndarray, next_observations: np.ndarray, /) -> np.ndarray:
        """Return one number a row. Arguments have shape ``(rows, width)``, discrete actions ``(rows,)``; raw units."""
        ...


def halfcheetah_capped(observations: np.ndarray, actions: np.ndarray, next_observations: np.ndarray) -> np.ndarray:
    """Run; velocity counts up to 3 m/s: min(v_x, 3) − 0.1·‖a‖².

    The paper prints max{v_x, 3} and says "we set the maximum velocity to be 3" (section 5.2). To limit the velocity,
    the formula needs a min. The data of ``halfcheetah-jump`` were recorded under this reward.
    """
    actions, next_observations = _prepared(observations, actions, next_observations, _HALFCHEETAH_WIDTHS)
    velocity = np.minimum(next_observations[:, _VELOCITY], _MAX_VELOCITY)
    rewards: np.ndarray = velocity - _HALFCHEETAH_CONTROL_WEIGHT * np.square(actions).sum(axis=1)
    return rewards


def halfcheetah_jump(observations: np.ndarray, actions: np.ndarray, next_observations: np.ndarray) -> np.ndarray:
    """Run and jump: min(v_x, 3) − 0.1·‖a‖² + 15·(z − initial z).

    z is the height in the next observation, in m above the pose in the model file. The initial z is the height of that
    pose, 0. The height at the start of the episode is within 0.1 of it, but is no part of a transition.
    """
    running = halfcheetah_capped(observations, actions, next_observations)
    height = next_observations[:, _HEIGHT].astype(np.float32).astype(np.float64)
    return running + _JUMP_WEIGHT * (height - _INITIAL_HEIGHT)


def ant_forward(observations: np.ndarray, actions: np.ndarray, next_observations: np.ndarray) -> np.ndarray:
    """Run along x: v_x − 0.5·‖a‖².

    The control cost is Gymnasium's for Ant. As in the paper's formula, staying alive and contacts do not change the
    reward. The data of ``ant-angle`` were recorded under this reward.
    """
    return _ant(observations, actions, next_observations, angle=0.0)


def ant_angle(observations: np.ndarray, actions: np.ndarray, next_observations: np.ndarray) -> np.ndarray:
    """Run at 30° to x: v_x·cos(π/6) + v_y·sin(π/6) − 0.5·‖a‖²."""
    return _ant(observations, actions, next_observations, angle=_ANGLE)


def _ant(observations: np.ndarray, actions: np.ndarray, next_observations: np.ndarray, *, angle: float) -> np.ndarray:
    actions, next_observations = _prepared(observations, actions, next_observations, _ANT_WIDTHS)
    x_velocity, y_velocity = next_observations[:, _ANT_VELOCITY].T
    forward = x_velocity * math.cos(angle) + y_velocity * math.sin(angle)
    rewards: np.ndarray = forward - _ANT_CONTROL_WEIGHT * np.square(actions).sum(axis=1)
    return rewards


def _prepared(
    observations: np.ndarray, actions: np.ndarray, next_observations: np.ndarray, widths: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Check shapes, and return actions and next observations as float64 with the precision of float32."""
    state, action = widths
    check_rows(
        {
            "observations": (observations, state),
            "next_observations": (next_observations, state),
            "actions": (actions, action),
        },
        "Is this the reward of another robot?",
    )
    actions, next_observations = (
        np.asarray(array).astype(np.float32).astype(np.float64) for array in (actions, next_observations)
    )
    return actions, next_observations
