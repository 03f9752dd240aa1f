"""`FunctionModel`: a dynamics model from any function (s, a) → mean and standard deviation (paper, Algorithm 1)."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from mopo_env._utils.devices import check_device
from mopo_env._utils.options import check_integer
from mopo_env.errors import ConfigError
from mopo_env.models.protocol import Actions, GaussianPrediction, Observations

Outcome: TypeAlias = tuple[Tensor | np.ndarray, Tensor | np.ndarray] | Distribution


class FunctionModel:
    """T̂ as a function that you learned elsewhere or know.

    For example, each tree of a random forest is a member without noise, and ``penalty="ensemble-disagreement"``
    measures how far the trees differ::

        def trees(observations, actions):
            inputs = torch.cat([observations, actions], dim=1).numpy()
            mean = np.stack([tree.predict(inputs) for tree in forest.estimators_])
            return mean, np.zeros_like(mean)

        model = FunctionModel(trees, observation_dim=3, action_dim=1, num_members=len(forest.estimators_))

    Attributes:
        observation_dim: Width of an observation.
        action_dim: Width of an action.
        num_members: N; 1 if the function returns no member axis.
        device: Where the function computes.
        elites: All members.
    """

    def __init__(
        self,
        function: Callable[[Tensor, Tensor], Outcome],
        *,
        observation_dim: int,
        action_dim: int,
        num_members: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        """Adapt a function. The other arguments are described at the class.

        The function maps observations, shape ``(batch, observation)``, and actions, ``(batch, action)``, both in raw
        units, to one of these, as tensors or as NumPy arrays:

        * mean and standard deviation of the next observation and, in the last column, of the reward, each of shape
          ``(batch, observation + 1)``, or ``(member, batch, observation + 1)``;
        * a `torch.distributions.Normal` of such a shape;
        * if nothing is random, next observations, ``(batch, observation)``, and rewards, ``(batch,)``.

        Raises:
            ConfigError: If a number is not a positive integer, or the device cannot be used.
        """
        self.observation_dim = check_integer("observation_dim", observation_dim)
        self.action_dim = check_integer("action_dim", action_dim)
        self.num_members = check_integer("num_members", num_members)
        self.device = check_device(device)
        self.elites = torch.arange(self.num_members, device=self.device)
        self._function = function

    def predict(self, observations: Observations, actions: Actions) -> GaussianPrediction:
        """Call the function, and return its answer as the Gaussians of an ensemble.

        Raises:
            ConfigError: If it returns other types or shapes than those described in `__init__`.
        """
        first, second = self._pair(self._function(observations, actions))
        rows = len(observations)
        if second.ndim == 1 or first.shape[1:] == (self.observation_dim,):  # nothing is random
            self._check_shape("next observations", first, rows, self.observation_dim)
            self._check_shape("rewards", second, rows)
            mean = torch.cat([first, second[:, None]], dim=1)[None]
            std = torch.zeros_like(mean)
        else:
            mean, std = (part[None] if part.ndim == 2 else part for part in (first, second))
            for name, part in (("mean", mean), ("std", std)):
                self._check_shape(name, part, self.num_members, rows, self.observation_dim + 1)
        return GaussianPrediction(observations=observations, actions=actions, mean=mean, std=std, elites=self.elites)

    def _pair(self, outcome: Any) -> tuple[Tensor, Tensor]:
        normal = outcome.base_dist if isinstance(outcome, Independent) else outcome
        pair = (normal.mean, normal.stddev) if isinstance(normal, Normal) else outcome
        if not isinstance(pair, tuple) or [isinstance(part, Tensor | np.ndarray) for part in pair] != [True, True]:
            raise ConfigError(
                "function: expected mean and standard deviation, or next observations and rewards, as two arrays; "
                f"found {type(outcome).__name__}."
            )
        # Copy NumPy arrays, since PyTorch warns about read-only ones.
        arrays = (part if isinstance(part, Tensor) else np.array(part) for part in pair)
        first, second = (torch.as_tensor(array, dtype=torch.float32, device=self.device) for array in arrays)
        return first, second

    def _check_shape(self, name: str, values: Tensor, *expected: int) -> None:
        if values.shape != expected:
            raise ConfigError(f"function: {name}: found shape {tuple(values.shape)}, expected {expected}.")
