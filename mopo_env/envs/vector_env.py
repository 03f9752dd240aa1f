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
from mopo_env.envs.rollouts import Rollouts, RolloutStep, given_starts, refuse_rendering
from mopo_env.errors import ConfigError, InputError


class PenalizedModelVectorEnv(gym.vector.VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """`num_envs` copies of `PenalizedModelEnv` that share one batched model.

    What happens when a copy ends is Gymnasium's `AutoresetMode`:

    * ``SAME_STEP``, the default: it restarts within the same step. ``infos["final_obs"]`` holds its last observation,
      and ``infos["final_info"]`` its last infos.
    * ``NEXT_STEP``: its last observation is returned, and the next step restarts it, whatever the action, without
      reward.
    * ``DISABLED``: it waits for ``reset(options={"reset_mask": ended})``.

    ``reward_model``, ``penalty`` and ``exit`` are arrays in `infos`. Masks such as ``_penalty`` mark the copies.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # Gymnasium declares it this way

    def __init__(
        self,
        penalized_model: PenalizedModel,
        *,
        num_envs: int,
        horizon: int,
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
    ) -> None:
        """Wrap a penalized model.

        Args:
            penalized_model: Model, dataset, penalty and termination rule.
            num_envs: b, the number of parallel rollouts.
            horizon: h, the number of steps after which a rollout is truncated.
            autoreset_mode: When a copy that ended restarts: ``"SameStep"``, ``"NextStep"`` or ``"Disabled"``.
            render_mode: None; Gymnasium passes it.

        Raises:
            ConfigError: If a number is not a positive integer, or there is no such mode.
        """
        refuse_rendering(render_mode)
        try:
            self.autoreset_mode = AutoresetMode(autoreset_mode)
        except ValueError as error:
            known = ", ".join(mode.value for mode in AutoresetMode)
            raise ConfigError(f"autoreset_mode: expected one of {known}, found {autoreset_mode!r}.") from error
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.rollouts = Rollouts(penalized_model, num_rollouts=num_envs, horizon=horizon)
        self.num_envs = self.rollouts.num_rollouts
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
            options: ``{"observation": array}`` starts from these states instead, one for each rollout. With the mode
                ``DISABLED``, ``{"reset_mask": array}`` resets only the marked copies.

        Raises:
            UnknownNameError: If there is another option.
            InputError: If the given observations or the mask have the wrong shape or type.
        """
        if self.autoreset_mode is AutoresetMode.DISABLED and options is not None and "reset_mask" in options:
            return self._reset_some(seed, options), {}
        starts = given_starts(options, *(self.observation_space.shape or ()))
        super().reset(seed=seed)
        if self._generator is None or seed is not None:
            self._generator = new_generator(self.np_random, self.rollouts.penalized_model.device)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        return self.rollouts.reset(self._generator, starts), {}

    def _reset_some(self, seed: int | None, options: dict[str, Any]) -> np.ndarray:
        if self._generator is None:
            raise gym.error.ResetNeeded("call reset() without a mask first.")
        mask, others = options["reset_mask"], [name for name in options if name != "reset_mask"]
        if seed is not None or others:
            what = " and ".join([*others, *(["seed"] if seed is not None else [])])
            raise InputError(f"reset_mask: found {what} beside it. Reset all copies to seed them or to choose states.")
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise InputError(f"reset_mask: expected a boolean array of shape ({self.num_envs},), found {mask!r}.")
        self._ended &= ~mask
        return self.rollouts.restart(mask)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every rollout.

        Raises:
            InputError: If the actions have the wrong shape, are not finite, or are not in a discrete action space.
        """
        if self._generator is None:
            raise gym.error.ResetNeeded("call reset() before the first step().")
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            return self._step_without_restart(actions)
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

    def _step_without_restart(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Return last observations where copies end. The rollouts have restarted them, and wait to show it."""
        held = self._ended
        if self.autoreset_mode is AutoresetMode.DISABLED and held.any():
            ended = np.flatnonzero(held).tolist()
            raise gym.error.ResetNeeded(f'copies {ended} have ended: call reset(options={{"reset_mask": mask}}) first.')
        step = self.rollouts.step(actions, held)
        self._ended = step.dones
        observations = np.where(step.dones[:, None], step.final_observations, step.observations)
        return observations, step.rewards, step.terminations, step.truncations, _infos(step, ~held)


def _infos(step: RolloutStep[np.ndarray], rows: np.ndarray) -> dict[str, Any]:
    """Return the infos of some rows in Gymnasium's form: an array with zeros or None elsewhere, and a mask."""
    exits: Any = np.where(rows, np.array(EXITS, dtype=object)[step.exits], None)
    numbers = {"reward_model": step.model_rewards, "penalty": step.penalties}
    columns = {"exit": exits, **{name: np.where(rows, values, np.float32(0)) for name, values in numbers.items()}}
    return columns | {f"_{name}": rows.copy() for name in columns}
