"""Distances to the data by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from helpers.models import still_data
from helpers.transitions import transitions

from mopo_env.penalties.nearest import DistanceToData


def test_distances_are_in_standard_deviations_of_columns() -> None:
    """States −10 and 10 have mean 0 and deviation 10, actions −1 and 1 deviation 1: units do not matter."""
    data = still_data([-10.0, 10.0], actions=[[-1.0], [1.0]])
    found = DistanceToData(data)(torch.tensor([[10.0], [20.0], [0.0]]), torch.tensor([[1.0], [1.0], [0.0]]))
    assert found.tolist() == pytest.approx([0.0, 1.0, 2**0.5])


def test_the_usual_distance_leaves_out_the_own_episode() -> None:
    """Two episodes at 0 and 1, one at 4; mean distances within an episode are 0."""
    data = still_data([0.0, 0.0, 1.0, 1.0, 4.0, 4.0], truncations=[False, True] * 3)
    std = float(data.observations.std())
    assert DistanceToData(data).of_data() * std == pytest.approx([1, 1, 1, 1, 3, 3])
    alone = still_data([0.0, 1.0, 3.0], truncations=[False, False, True])
    assert DistanceToData(alone).of_data() * float(alone.observations.std()) == pytest.approx([1, 1, 2])


def test_discrete_actions_and_many_rows() -> None:
    """A recorded row is at distance 0, also beyond the first batch; another action is not."""
    numbers = np.arange(250) % 2
    data = transitions(250, actions=numbers, action_space=Discrete(2))
    distance, states = DistanceToData(data), torch.tensor(data.observations)
    assert distance(states, torch.tensor(data.encoded_actions())).numpy() == pytest.approx(np.zeros(250), abs=1e-2)
    assert float(distance(states[:1], torch.tensor([[0.0, 1.0]]))) > 0.1
