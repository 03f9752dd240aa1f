"""`PenalizedModelVectorEnv`: many model rollouts in one batch, as a Gymnasium vector environment."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from mopo_env._utils.devices import new_generator
from mopo_env.envs.envelope import EXITS
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.envs.rollouts import Rollouts, RolloutStep, given_starts

__all__ = ["PenalizedModelVectorEnv"]


class PenalizedModelVectorEnv(gym.vector.VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """`num_envs` copies of `PenalizedModelEnv` that share one batched model.

    A copy that ends restarts within the same step (`AutoresetMode.SAME_STEP`), and ``infos["final_obs"]`` holds its
    last observation. ``reward_model``, ``penalty`` and ``exit`` are arrays. Those of the copies that continue are
    in `infos`, those of the copies that ended in ``infos["final_info"]``. Masks such as ``_penalty`` mark the copies.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # Gymnasium declares it this way
        "render_modes": [],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self, penalized_model: PenalizedModel, *, num_envs: int, horizon: int, render_mode: str | None = None
    ) -> None:
        """Wrap a penalized model.

        Args:
            penalized_model: Model, dataset, penalty and termination rule.
            num_envs: b, the number of parallel rollouts.
            horizon: h, the number of steps after which a rollout is truncated.
            render_mode: Ignored; Gymnasium passes it.

        Raises:
            ConfigError: If a number is not a positive integer.
        """
        self.rollouts = Rollouts(penalized_model, num_rollouts=num_envs, horizon=horizon)
        self.num_envs = self.rollouts.num_rollouts
        self.render_mode = render_mode
        self.single_observation_space = penalized_model.observation_space
        self.single_action_space = penalized_model.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._generator: torch.Generator | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start every rollout from a state of the dataset.

        Args:
            seed: Decides all following draws; None continues the present random stream.
            options: ``{"observation": array}`` starts from these states instead, one for each rollout.

        Raises:
            UnknownNameError: If there is another option.
            InputError: If the given observations have the wrong shape or are not finite.
        """
        starts = given_starts(options, *(self.observation_space.shape or ()))
        super().reset(seed=seed)
        if self._generator is None or seed is not None:
            self._generator = new_generator(self.np_random, self.rollouts.penalized_model.device)
        return self.rollouts.reset(self._generator, starts), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every rollout.

        Raises:
            InputError: If the actions have the wrong shape, are not finite, or are not in a discrete action space.
        """
        if self._generator is None:
            raise gym.error.ResetNeeded("call reset() before the first step().")
        step = self.rollouts.step(actions)
        infos = _infos(step, ~step.dones)
        if step.dones.any():
            # Gymnasium's convention: an object array, with None where the episode continues.
            final_observations = np.full(self.num_envs, None, dtype=object)
            for index in np.flatnonzero(step.dones):
                final_observations[index] = step.final_observations[index]
            infos["final_obs"], infos["final_info"] = final_observations, _infos(step, step.dones)
            infos["_final_obs"], infos["_final_info"] = step.dones, step.dones.copy()
        return step.observations, step.rewards, step.terminations, step.truncations, infos


def _infos(step: RolloutStep[np.ndarray], rows: np.ndarray) -> dict[str, Any]:
    """Return the infos of some rows in Gymnasium's form: an array with zeros or None elsewhere, and a mask."""
    exits: Any = np.where(rows, np.array(EXITS, dtype=object)[step.exits], None)
    numbers = {"reward_model": step.model_rewards, "penalty": step.penalties}
    columns = {"exit": exits, **{name: np.where(rows, values, np.float32(0)) for name, values in numbers.items()}}
    return columns | {f"_{name}": rows.copy() for name in columns}
