"""How far a state and an action are from the nearest recorded ones, whatever a model says of them."""

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from mopo_env._utils.tensors import mean_and_std
from mopo_env.transitions import Transitions

__all__ = ["DistanceToData"]

_ROWS_AT_ONCE = 100


class DistanceToData:
    """The Euclidean distance of (s, a) to its nearest recorded neighbour, columns in standard deviations of the data.

    All columns count alike, whether the system's behaviour depends on them or not. Every recorded row is compared:
    search trees are faster for rows on the data, and many times slower for rows off them.
    """

    def __init__(self, transitions: Transitions, *, device: torch.device | str = "cpu") -> None:
        """Take over the states and actions of a dataset; discrete actions one-hot."""
        pairs = np.concatenate([transitions.observations, transitions.encoded_actions()], axis=1)
        self._mean, self._std = mean_and_std(torch.tensor(pairs, device=device))
        self._recorded = (torch.tensor(pairs, device=device) - self._mean) / self._std
        ends = transitions.episode_ends
        self._episodes = torch.tensor(np.searchsorted(ends, np.arange(len(transitions))), device=device)

    @torch.no_grad()
    def __call__(
        self, observations: Float[Tensor, "batch observation"], actions: Float[Tensor, "batch action"]
    ) -> Float[Tensor, " batch"]:
        """Return the distance of each row, in raw units given; discrete actions one-hot."""
        asked = (torch.cat([observations, actions], dim=1) - self._mean) / self._std
        return torch.cat([torch.cdist(part, self._recorded).amin(dim=1) for part in torch.split(asked, _ROWS_AT_ONCE)])

    @torch.no_grad()
    def of_data(self, num_rows: int = 1000) -> Float32[np.ndarray, " row"]:
        """Return the distances of evenly spaced rows of the data to rows of other episodes: what is usual.

        Neighbours in time are near without saying much. Of a single episode, only the row itself is left out.
        """
        rows = torch.linspace(0, len(self._recorded) - 1, min(num_rows, len(self._recorded))).long()
        alone = bool((self._episodes == self._episodes[0]).all())
        groups = torch.arange(len(self._recorded), device=self._episodes.device) if alone else self._episodes
        found = []
        for part in torch.split(rows.to(groups.device), _ROWS_AT_ONCE):
            distances = torch.cdist(self._recorded[part], self._recorded)
            own = groups[part][:, None] == groups
            found.append(distances.masked_fill(own, torch.inf).amin(dim=1))
        values: np.ndarray = torch.cat(found).cpu().numpy()
        return values
