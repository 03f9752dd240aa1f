"""How far a state and an action are from the nearest recorded ones, whatever a model says of them."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from mopo_env._utils.devices import check_device
from mopo_env._utils.options import check_integer
from mopo_env._utils.tensors import mean_and_std
from mopo_env.errors import ConfigError
from mopo_env.models.protocol import Actions, Observations, Prediction
from mopo_env.transitions import Transitions

# Tiles of this many rows stay in the processor's cache: seven times as fast as all recorded rows at once.
_TILE = 1000


class DistanceToData:
    """The Euclidean distance of (s, a) to its nearest recorded neighbour, columns in standard deviations of the data.

    All columns count alike, whether the system's behaviour depends on them or not. Every row that is kept is compared:
    search trees are faster for rows on the data, and many times slower for rows off them. Rounding makes a distance of
    0 up to about a thousandth.
    """

    def __init__(
        self, transitions: Transitions, *, max_rows: int | None = None, device: torch.device | str = "cpu"
    ) -> None:
        """Take over the states and actions of a dataset; discrete actions one-hot.

        Args:
            transitions: D_env.
            max_rows: Keep only so many rows, evenly spaced; distances are then a little too large. None: all rows.
            device: Where distances are computed.

        Raises:
            ConfigError: If `max_rows` is not a positive integer, or the device cannot be used.
        """
        pairs = np.concatenate([transitions.observations, transitions.encoded_actions()], axis=1)
        episodes = np.searchsorted(transitions.episode_ends, np.arange(len(pairs)))
        kept = _evenly_spaced(len(pairs), None if max_rows is None else check_integer("max_rows", max_rows))
        device = check_device(device)
        rows = torch.tensor(pairs, device=device)
        self._mean, self._std = mean_and_std(rows)
        self._all = (rows - self._mean) / self._std
        self._episodes = torch.tensor(episodes if episodes[-1] > 0 else np.arange(len(pairs)), device=device)
        self._kept = torch.tensor(kept, device=device)
        self._recorded = self._all[self._kept]
        self._squares = self._recorded.square().sum(dim=1)

    @torch.no_grad()
    def __call__(self, observations: Observations, actions: Actions) -> Float[Tensor, " batch"]:
        """Return the distance of each row, in raw units given; discrete actions one-hot."""
        asked = (torch.cat([observations, actions], dim=1) - self._mean) / self._std
        return torch.cat([self._nearest(part) for part in torch.split(asked, _TILE)])

    @torch.no_grad()
    def of_data(self, num_rows: int = 1000) -> Float32[np.ndarray, " row"]:
        """Return the distances of evenly spaced rows of the data to rows of other episodes: what is usual.

        Neighbours in time are near without saying much. Of a single episode, only the row itself is left out.
        """
        rows = torch.tensor(_evenly_spaced(len(self._all), num_rows), device=self._all.device)
        found = [self._nearest(self._all[part], self._episodes[part]) for part in torch.split(rows, _TILE)]
        values: np.ndarray = torch.cat(found).cpu().numpy()
        return values

    def _nearest(self, asked: Float[Tensor, "batch column"], episodes: Tensor | None = None) -> Float[Tensor, " batch"]:
        """Return ‖a − b‖ for the nearest kept row b, of another episode than a's if those are given."""
        best = torch.full((len(asked),), torch.inf, device=asked.device)
        parts = (torch.split(tensor, _TILE) for tensor in (self._recorded, self._squares, self._kept))
        for recorded, squares, kept in zip(*parts, strict=True):
            difference = torch.addmm(squares, asked, recorded.T, alpha=-2.0)  # ‖b‖² − 2ab
            if episodes is not None:
                own: Bool[Tensor, "batch tile"] = episodes[:, None] == self._episodes[kept]
                difference = difference.masked_fill(own, torch.inf)
            best = torch.minimum(best, difference.amin(dim=1))
        return (best + asked.square().sum(dim=1)).clamp(min=0.0).sqrt()


class NearestNeighbourPenalty:
    """u(s, a) = the distance of (s, a) to the nearest recorded state and action. It asks no model.

    The simplest estimate of what a model cannot know. It is the same for a good model and a bad one, and it counts
    columns that do not matter.
    """

    def __init__(
        self, transitions: Transitions, *, max_rows: int | None = 20_000, device: torch.device | str = "cpu"
    ) -> None:
        """Measure distances as `DistanceToData` does, whose arguments these are."""
        self._distance = DistanceToData(transitions, max_rows=max_rows, device=device)

    def __call__(self, prediction: Prediction, /) -> Float[Tensor, " batch"]:
        """Return u(s, a), in standard deviations of the data's columns."""
        return self._distance(prediction.observations, prediction.actions)

    def of_data(self, num_rows: int) -> Float32[np.ndarray, " row"]:
        """Return u of evenly spaced rows of the data as if their episodes were not recorded; else it would be 0."""
        return self._distance.of_data(num_rows)


def make_nearest_neighbour_penalty(transitions: Transitions, **options: Any) -> NearestNeighbourPenalty:
    """Build the penalty of a dataset; ``penalty="nearest-neighbour"`` calls this.

    Raises:
        ConfigError: If an option is wrong.
    """
    unknown = sorted(options.keys() - {"max_rows", "device"})
    if unknown:
        raise ConfigError(f"penalty: 'nearest-neighbour' has no {unknown[0]} to choose; leave it out.")
    return NearestNeighbourPenalty(transitions, **options)


def _evenly_spaced(length: int, count: int | None) -> np.ndarray:
    return np.linspace(0, length - 1, length if count is None else min(count, length)).astype(np.int64)
