"""Any function (s, a) → distribution as a dynamics model, for Algorithm 1 in general."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from mopo_env._utils.options import check_integer
from mopo_env.errors import ConfigError

__all__ = ["FunctionModel", "FunctionPrediction", "Outcome"]

Outcome: TypeAlias = Distribution | tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class FunctionPrediction:
    """What a `FunctionModel` says of a batch.

    Attributes:
        observations: The states s, raw units.
        actions: The actions a.
        outcome: What the function returned; a penalty may look at it.
    """

    observations: Float[Tensor, "batch observation"]
    actions: Float[Tensor, "batch action"]
    outcome: Outcome

    def sample(self, generator: torch.Generator) -> tuple[Float[Tensor, "batch observation"], Float[Tensor, " batch"]]:
        """Draw next observations and rewards, or return those that are certain.

        Raises:
            ConfigError: If they are not of the shapes of the batch.
        """
        if isinstance(self.outcome, Distribution):
            drawn = _draw(self.outcome, generator)
            self._check_shape("the distribution's sample", drawn, len(self.observations), self._dim + 1)
            return drawn[:, :-1], drawn[:, -1]
        next_observations, rewards = self.outcome
        self._check_shape("next observations", next_observations, len(self.observations), self._dim)
        self._check_shape("rewards", rewards, len(self.observations))
        return next_observations, rewards

    @property
    def _dim(self) -> int:
        return self.observations.shape[1]

    def _check_shape(self, name: str, values: Tensor, *expected: int) -> None:
        if values.shape != expected:
            raise ConfigError(f"function: {name}: found shape {tuple(values.shape)}, expected {expected}.")


class FunctionModel:
    """T̂ given as a function, learned by whatever means or simply known.

    Attributes:
        observation_dim: Width of an observation.
        action_dim: Width of an action.
        device: Where the function computes.
    """

    def __init__(
        self,
        function: Callable[[Tensor, Tensor], Outcome],
        *,
        observation_dim: int,
        action_dim: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """Adapt a function.

        Args:
            function: Maps observations, shape ``(batch, observation)``, and actions, ``(batch, action)``, both in raw
                units, to a `torch.distributions.Distribution` over ``(batch, observation + 1)``, the next observation
                and then the reward; or, if nothing is random, to next observations and rewards, ``(batch,)``.
            observation_dim: Width of an observation.
            action_dim: Width of an action.
            device: Where the function computes.

        Raises:
            ConfigError: If a width is not a positive integer.
        """
        self.observation_dim = check_integer("observation_dim", observation_dim)
        self.action_dim = check_integer("action_dim", action_dim)
        self.device = torch.device(device)
        self._function = function

    def predict(
        self, observations: Float[Tensor, "batch observation"], actions: Float[Tensor, "batch action"]
    ) -> FunctionPrediction:
        """Ask the function.

        Raises:
            ConfigError: If it returns neither a distribution nor a pair of tensors.
        """
        outcome = self._function(observations, actions)
        is_pair = isinstance(outcome, tuple) and [isinstance(part, Tensor) for part in outcome] == [True, True]
        if not (is_pair or isinstance(outcome, Distribution)):
            raise ConfigError(
                "function: expected a torch.distributions.Distribution, or next observations and rewards as two "
                f"tensors; found {type(outcome).__name__}."
            )
        return FunctionPrediction(observations=observations, actions=actions, outcome=outcome)


def _draw(distribution: Distribution, generator: torch.Generator) -> Tensor:
    """Draw with one's own generator, although torch's distributions know only the global one.

    That one is lent the state of ours for the draw, and then put back as it was.
    """
    device = generator.device
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        if on_gpu:
            torch.cuda.set_rng_state(generator.get_state(), device)
        else:
            torch.set_rng_state(generator.get_state())
        drawn = distribution.sample()
        generator.set_state(torch.cuda.get_rng_state(device) if on_gpu else torch.get_rng_state())
    return drawn
