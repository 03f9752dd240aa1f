"""`PenalizedModelEnv`: the learned model as a standard Gymnasium environment."""

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
import torch

from mopo_env._utils.arrays import check_actions
from mopo_env._utils.devices import new_generator
from mopo_env._utils.options import check_integer
from mopo_env.envs.envelope import EXITS
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.envs.rollouts import given_starts
from mopo_env.errors import ConfigError
from mopo_env.real.drawing import StateRenderer


class PenalizedModelEnv(gym.Env[np.ndarray, Any]):
    """Starts in a state of the dataset, truncates after h steps, and pays r̃ = r̂ − λ·u(s, a).

    `info` holds ``reward_model`` (r̂), ``penalty`` (u) and ``exit``: why the step left the envelope, one of
    `mopo_env.envs.envelope.EXITS`, or ``""``.

    Attributes:
        penalized_model: The batched core that computes the steps.
        horizon: h.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # Gymnasium declares it this way

    def __init__(self, penalized_model: PenalizedModel, *, horizon: int, renderer: StateRenderer | None = None) -> None:
        """Wrap a penalized model.

        Args:
            penalized_model: Model, dataset, penalty and termination rule.
            horizon: h, the number of steps after which an episode is truncated.
            renderer: What draws the present state of the model; None: `render` is refused.

        Raises:
            ConfigError: If the horizon is not a positive integer.
        """
        self._renderer = renderer
        if renderer is not None:
            self.render_mode = "rgb_array"
            self.metadata = {"render_modes": ["rgb_array"], "render_fps": renderer.fps}
        self.penalized_model = penalized_model
        self.horizon = check_integer("horizon", horizon)
        self.observation_space = penalized_model.observation_space
        self.action_space = penalized_model.action_space
        self._generator: torch.Generator | None = None
        self._length = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start from a state of the dataset.

        Args:
            seed: Decides all following draws; None continues the present random stream.
            options: ``{"observation": array}`` starts from this state instead.

        Raises:
            UnknownNameError: If there is another option.
            InputError: If the given observation has the wrong shape or is not finite.
        """
        start = given_starts(options, *(self.observation_space.shape or ()))
        super().reset(seed=seed)
        if self._generator is None or seed is not None:
            self._generator = new_generator(self.np_random, self.penalized_model.device)
        self._length = 0
        if start is None:
            self._observation = self.penalized_model.reset(1, self._generator)
        else:
            self._observation = torch.from_numpy(start).to(self.penalized_model.device)[None]
        self._members = self.penalized_model.pick_members(1, self._generator)
        if self._renderer is not None:
            self._place = self._renderer.origin
        return self._observation[0].cpu().numpy().copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take one step in the model.

        Raises:
            InputError: If the action has the wrong shape, is not finite, or is not in a discrete action space.
        """
        if self._generator is None:
            raise gym.error.ResetNeeded("call reset() before the first step().")
        action = check_actions("action", action, self.penalized_model.action_space)
        step = self.penalized_model.step(
            self._observation,
            torch.from_numpy(action[None]).to(self.penalized_model.device),
            self._generator,
            self._members,
        )
        if self._renderer is not None:
            states = (one[0].cpu().numpy() for one in (self._observation, step.next_observations))
            self._place = self._renderer.follow(self._place, *states)
        self._observation = step.next_observations
        self._length += 1
        info = {
            "reward_model": step.model_rewards.item(),
            "penalty": step.penalties.item(),
            "exit": EXITS[int(step.exits.item())],
        }
        return (
            self._observation[0].cpu().numpy().copy(),
            step.rewards.item(),
            bool(step.terminations.item()),
            self._length >= self.horizon or bool(step.truncations.item()),
            info,
        )

    def render(self) -> np.ndarray:
        """Draw the present state of the model, shape ``(height, width, 3)``, uint8.

        Raises:
            ConfigError: If the environment was made without ``render_mode="rgb_array"``, or this machine cannot draw.
            InputError: If the model's state is not finite.
        """
        if self._renderer is None:
            raise ConfigError('render: the environment draws nothing. Make it with render_mode="rgb_array".')
        if self._generator is None:
            raise gym.error.ResetNeeded("call reset() before the first render().")
        return self._renderer.draw(self._observation[0].cpu().numpy(), self._place)

    def close(self) -> None:
        """Release what draws."""
        if self._renderer is not None:
            self._renderer.close()
