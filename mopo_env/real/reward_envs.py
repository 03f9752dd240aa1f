"""HalfCheetah and Ant with the rewards of the paper's out-of-distribution tasks (Appendix C.1).

They differ from Gymnasium's HalfCheetah-v5 and Ant-v5 only in the reward, which a function of `mopo_env.rewards`
computes from the transition. `import mopo_env` registers them, as ``mopo/HalfCheetahJump-v0`` and so on, with a time
limit of 1,000 steps.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from mopo_env.errors import ConfigError
from mopo_env.real.real_env import quiet_mujoco
from mopo_env.rewards import RewardFunction, ant_angle, ant_forward, halfcheetah_capped, halfcheetah_jump

# Options of Gymnasium's environments for the reward and the observation, which are fixed here.
_FIXED = frozenset(
    {
        "contact_cost_weight",
        "ctrl_cost_weight",
        "exclude_current_positions_from_observation",
        "forward_reward_weight",
        "healthy_reward",
        "include_cfrc_ext_in_observation",
    }
)


class RewardFromTransition(MujocoEnv, EzPickle):
    """A mixin that replaces the reward of a Gymnasium environment. It must stand first among the base classes.

    Attributes:
        reward_function: Computes the rewards of transitions.
    """

    reward_function: ClassVar[RewardFunction]
    _settings: ClassVar[dict[str, Any]] = {}
    _get_obs: Callable[[], NDArray[np.float64]]  # of Gymnasium's environment

    def __init__(self, **options: Any) -> None:
        """Build the environment with options of Gymnasium's, such as ``render_mode`` or ``reset_noise_scale``.

        Raises:
            ConfigError: If an option is one for the reward or the observation.
        """
        fixed = sorted(_FIXED & options.keys())
        if fixed:
            raise ConfigError(
                f"{fixed[0]}: cannot be set, since {type(self).__name__} fixes reward and observation. "
                "Register a subclass of your own with another reward_function."
            )
        with quiet_mujoco(mujoco):
            super().__init__(**self._settings, **options)
        EzPickle.__init__(self, **options)  # the parent's would pass every option back by position

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, np.float64]]:
        """Step the simulator, and compute the reward from the transition.

        The ``info`` is Gymnasium's without the parts of the replaced reward. Its ``x_velocity`` is the mean over the
        step, while the reward uses the velocity at the end of the step.

        Raises:
            ValueError: If the action has the wrong shape.
        """
        before = self._get_obs()
        after, _, terminated, truncated, info = super().step(action)
        rewards = self.reward_function(before[None], np.asarray(action)[None], after[None])
        info = {name: value for name, value in info.items() if not name.startswith("reward_")}
        return after, rewards[0], terminated, truncated, info


class HalfCheetahCapped(RewardFromTransition, HalfCheetahEnv):
    """HalfCheetah whose reward counts velocity up to 3 m/s. The data of ``halfcheetah-jump`` are recorded in it."""

    reward_function = staticmethod(halfcheetah_capped)


class HalfCheetahJump(RewardFromTransition, HalfCheetahEnv):
    """HalfCheetah with a reward for running and for height."""

    reward_function = staticmethod(halfcheetah_jump)


class AntForward(RewardFromTransition, AntEnv):
    """Ant with a reward for running along x. The data of ``ant-angle`` are recorded in it.

    The observation is Ant-v5's without contact forces, 27 numbers. As in Ant-v5, an episode ends if a number is not
    finite or the height leaves 0.2 to 1. As in the paper, staying alive and contacts do not change the reward.
    """

    reward_function = staticmethod(ant_forward)
    _settings: ClassVar[dict[str, Any]] = {"include_cfrc_ext_in_observation": False}


class AntAngle(RewardFromTransition, AntEnv):
    """Ant with a reward for running at 30° to x. Observation and end of an episode are those of `AntForward`."""

    reward_function = staticmethod(ant_angle)
    _settings: ClassVar[dict[str, Any]] = {"include_cfrc_ext_in_observation": False}
