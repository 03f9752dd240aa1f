"""`StubEnsemble`: an ensemble with given predictions."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from mopo_env.errors import ConfigError
from mopo_env.models.protocol import GaussianPrediction

MeanFunction: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
StdFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]


class StubEnsemble:
    """A dynamics model with given means and standard deviations.

    Use it to check by hand how a penalty changes the reward::

        model = StubEnsemble(1, 1, mean=lambda s, a: (s, torch.zeros(len(s))), std=[[3.0, 4.0], [1.0, 1.0]])
        # two members; the larger norm is 5, so with λ = 2 every step pays −10 plus noise

    The attributes `observation_dim`, `action_dim`, `num_members` and `elites` are those of a `GaussianEnsemble`.
    """

    device = torch.device("cpu")

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        *,
        mean: MeanFunction,
        std: ArrayLike | StdFunction = 0.0,
        offsets: ArrayLike = (0.0,),
        num_members: int | None = None,
        elites: Sequence[int] | None = None,
    ) -> None:
        """Set the predictions.

        Args:
            observation_dim: Width of an observation.
            action_dim: Width of an action.
            mean: Maps observations and actions to the mean next observations, shape ``(batch, observation)``, and
                mean rewards, shape ``(batch,)``.
            std: Standard deviations: one number, an array of shape ``(member, output)`` whose last column is the
                reward's, or a function of observations and actions that returns ``(member, batch, output)``.
            offsets: One number for each member, added to all its outputs, so that a draw shows its member.
            num_members: N; default: the number of members in `std` or `offsets`.
            elites: Default: all members.

        Raises:
            ConfigError: If the numbers of members disagree.
        """
        self.observation_dim, self.action_dim = observation_dim, action_dim
        self._mean = mean
        offset_rows = np.atleast_1d(np.asarray(offsets, dtype=np.float32))
        sizes = {len(offset_rows)} - {1}
        self._std: Any = std
        if not callable(std):
            rows = np.asarray(std, dtype=np.float32)
            sizes |= {len(rows)} - {1} if rows.ndim == 2 else set()
            columns = torch.from_numpy(np.broadcast_to(rows, (*rows.shape[:-1], observation_dim + 1)).copy())
            self._std = columns.reshape(-1, 1, observation_dim + 1)
        sizes |= set() if num_members is None else {num_members}
        if len(sizes) > 1:
            raise ConfigError(f"num_members: std, offsets and num_members disagree: {sorted(sizes)}.")
        self.num_members = max(sizes, default=1)
        self._offsets = torch.from_numpy(np.broadcast_to(offset_rows, (self.num_members,)).copy())
        self.elites = torch.tensor(list(range(self.num_members)) if elites is None else list(elites))

    def predict(
        self, observations: Float[Tensor, "batch observation"], actions: Float[Tensor, "batch action"]
    ) -> GaussianPrediction:
        """Return the given means and standard deviations, in raw units."""
        next_observations, rewards = self._mean(observations, actions)
        mean = torch.cat([next_observations, rewards[:, None]], dim=1) + self._offsets[:, None, None]
        std: Tensor = self._std if isinstance(self._std, Tensor) else self._std(observations, actions)
        return GaussianPrediction(
            observations=observations,
            actions=actions,
            mean=mean,
            std=std.to(mean.dtype).expand(mean.shape),
            elites=self.elites,
        )
