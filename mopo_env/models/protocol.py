"""The interface of a dynamics model: T̂ in the paper."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

# In raw units; discrete actions are one-hot.
Observations: TypeAlias = Float[Tensor, "batch observation"]
Actions: TypeAlias = Float[Tensor, "batch action"]
Draws: TypeAlias = tuple[Observations, Float[Tensor, " batch"]]
"""Next observations and rewards."""


@runtime_checkable
class Prediction(Protocol):
    """The distribution that a model predicts for a batch of states and actions.

    A penalty receives the whole object. So a model can add anything that its penalty needs.
    """

    @property
    def observations(self) -> Tensor:
        """The states s of the batch, raw units."""
        ...

    @property
    def actions(self) -> Tensor:
        """The actions a of the batch; discrete actions are one-hot."""
        ...

    def sample(self, generator: torch.Generator) -> Draws:
        """Draw next observations and rewards, in raw units."""
        ...


@runtime_checkable
class DynamicsModel(Protocol):
    """Predicts next observations and rewards. `GaussianEnsemble` is one; any object with these attributes works."""

    @property
    def observation_dim(self) -> int:
        """Width of an observation."""
        ...

    @property
    def action_dim(self) -> int:
        """Width of an action; for discrete actions, their number."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        ...

    def predict(self, observations: Observations, actions: Actions) -> Prediction:
        """Return the distribution of the next observations and rewards, all in raw units."""
        ...


@dataclass(frozen=True, kw_only=True)
class GaussianPrediction:
    """The diagonal Gaussians of an ensemble's members, in raw units.

    The last axis holds the next observation and then the reward.

    Attributes:
        observations: The states s.
        actions: The actions a.
        mean: μᵢ(s, a) of every member.
        std: The square roots of the diagonal of Σᵢ(s, a), of every member.
        elites: The members from which next states are drawn.
        target_std: Standard deviations of the changes and rewards over the training data; None if not known.
    """

    observations: Observations
    actions: Actions
    mean: Float[Tensor, "member batch output"]
    std: Float[Tensor, "member batch output"]
    elites: Int64[Tensor, " elite"]
    target_std: Float[Tensor, " output"] | None = None

    def sample(self, generator: torch.Generator) -> Draws:
        """Pick an elite for each row, then draw from its Gaussian (paper, Algorithm 2, line 8)."""
        return self.sample_from(pick_members(self.elites, self.mean.shape[1], generator), generator)

    def sample_from(self, members: Int64[Tensor, " batch"], generator: torch.Generator | None) -> Draws:
        """Draw each row from the Gaussian of the given member. Without a generator, return the mean of that member."""
        row = torch.arange(self.mean.shape[1], device=self.mean.device)
        outcome = self.mean[members, row]
        if generator is not None:
            noise = torch.randn(outcome.shape, generator=generator, device=outcome.device)
            outcome = torch.addcmul(outcome, self.std[members, row], noise)
        return outcome[:, :-1], outcome[:, -1]


def pick_members(elites: Int64[Tensor, " elite"], num_rows: int, generator: torch.Generator) -> Int64[Tensor, " row"]:
    """Draw one of the elites for each row with equal probability."""
    picked: Tensor = elites[torch.randint(len(elites), (num_rows,), generator=generator, device=elites.device)]
    return picked
