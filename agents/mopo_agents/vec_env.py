"""`PenalizedModelVecEnv`: b model rollouts as a Stable-Baselines3 vector environment."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn
from torch import Tensor

from mopo_agents.runs.state.generators import generator_state, set_generator_state
from mopo_env._utils.devices import new_generator
from mopo_env.envs.envelope import EXITS
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.envs.rollouts import Rollouts, RolloutStep


class RolloutInfos(Sequence[dict[str, Any]]):
    """The ``info`` dictionary of each rollout, made from the columns of `step` at the first access."""

    def __init__(self, step: RolloutStep[np.ndarray] | RolloutStep[Tensor]) -> None:
        self.step = step

    @cached_property
    def _infos(self) -> list[dict[str, Any]]:
        step = self.step
        columns = (step.model_rewards, step.penalties, step.exits)
        infos: list[dict[str, Any]] = [
            {"reward_model": reward, "penalty": penalty, "exit": EXITS[code]}
            for reward, penalty, code in zip(*(column.tolist() for column in columns), strict=True)
        ]
        final_observations = torch.as_tensor(step.final_observations).cpu().numpy()
        for index in np.flatnonzero(step.dones.tolist()).tolist():
            infos[index]["terminal_observation"] = final_observations[index]
            infos[index]["TimeLimit.truncated"] = bool(step.truncations[index] and not step.terminations[index])
            infos[index]["episode"] = self.episode(index)
        return infos

    def episode(self, index: int) -> dict[str, Any]:
        """Return the ``info["episode"]`` of a rollout that ended."""
        return {"r": float(self.step.returns[index]), "l": int(self.step.lengths[index]), "t": 0.0}

    def __len__(self) -> int:
        """Return the number of rollouts."""
        return len(self.step.rewards)

    def __getitem__(self, index: Any) -> Any:
        """Return one dictionary, or a slice of them."""
        return self._infos[index]


class PenalizedModelVecEnv(VecEnv):
    """The rollouts of `mopo_env.PenalizedModelVectorEnv` as a Stable-Baselines3 vector environment.

    Every ``info`` has ``reward_model``, ``penalty`` and ``exit``. A rollout that ends restarts at once; its
    ``info`` then also has ``terminal_observation``, ``episode`` and ``TimeLimit.truncated``, with which agents
    bootstrap at the horizon.
    """

    def __init__(self, penalized_model: PenalizedModel, *, num_envs: int, horizon: int, seed: int = 0) -> None:
        """Wrap a penalized model.

        Args:
            penalized_model: Model, dataset, penalty and termination rule.
            num_envs: b, the number of parallel rollouts.
            horizon: h, the number of steps after which a rollout is truncated.
            seed: Seed of every draw; the method `seed` replaces it.

        Raises:
            ConfigError: If a number is not a positive integer.
        """
        self.rollouts = Rollouts(penalized_model, num_rollouts=num_envs, horizon=horizon)
        self.render_mode = None
        super().__init__(self.rollouts.num_rollouts, penalized_model.observation_space, penalized_model.action_space)
        self._reseed(seed)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Start a new random stream at the next reset, as Stable-Baselines3 prescribes; None takes a random seed."""
        self._reseed(int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed)
        return [seed] * self.num_envs

    def reset(self) -> VecEnvObs:
        """Start every rollout from a state of the dataset."""
        return self.rollouts.reset(self._generator)

    def step_async(self, actions: np.ndarray) -> None:
        """Store the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step every rollout.

        Raises:
            InputError: If the actions have the wrong shape or are not finite.
        """
        step = self.rollouts.step(self._actions)
        infos = RolloutInfos(step)  # lazy where Stable-Baselines3's types say list
        return step.observations, step.rewards, step.dones, infos  # type: ignore[return-value]

    def get_state(self) -> dict[str, Any]:
        """Return a copy of all that the next steps depend on, as arrays and numbers."""
        rollouts = {name: np.array(tensor.cpu().numpy()) for name, tensor in self.rollouts.get_state().items()}
        return {"rollouts": rollouts, "generator": generator_state(self._generator)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state of `get_state`, without a `reset`."""
        set_generator_state(self._generator, state["generator"])
        tensors = {name: torch.from_numpy(array).clone() for name, array in state["rollouts"].items()}
        self.rollouts.set_state(tensors, self._generator)

    def close(self) -> None:
        """Do nothing; there are no resources to close."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of this object for each index; the rollouts share all attributes."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Raise an error, because the rollouts share their attributes."""
        raise AttributeError(f"{attr_name}: the rollouts share one model. Build a new PenalizedModelVecEnv instead.")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Raise an error, because there are no separate environments."""
        raise AttributeError(f"{method_name}: the rollouts share one model and have no methods of their own.")

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return False for each index."""
        return [False] * len(list(self._get_indices(indices)))

    def _reseed(self, seed: int) -> None:
        self._generator = new_generator(np.random.default_rng(seed), self.rollouts.penalized_model.device)
