"""Distances to the data by hand, and as a penalty."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from helpers.models import still_data
from helpers.transitions import transitions

from mopo_env.datasets.files import save_transitions
from mopo_env.datasets.locate import resolve_task
from mopo_env.envs.envelope import UNCERTAIN
from mopo_env.envs.make import resolve_penalty
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, UnknownNameError
from mopo_env.penalties import get_penalty
from mopo_env.penalties.nearest import DistanceToData, NearestNeighbourPenalty
from mopo_env.toys import StubEnsemble


def asked_of(observations: torch.Tensor, actions: torch.Tensor) -> Any:
    """Return what this penalty looks at of a prediction, of any model."""
    return SimpleNamespace(observations=observations, actions=actions)


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


def test_a_pair_by_hand() -> None:
    """States −10 and 10, actions −1 and 1: (10, 0) is one deviation of the action away, whatever the model predicts."""
    data = still_data([-10.0, 10.0], actions=[[-1.0], [1.0]])
    penalty = NearestNeighbourPenalty(data)
    asked = torch.tensor([[-10.0], [10.0], [40.0]]), torch.tensor([[-1.0], [0.0], [5.0]])
    assert penalty(asked_of(*asked)).tolist() == pytest.approx([0.0, 1.0, 5.0], abs=1e-3)


def test_the_order_of_the_rows_does_not_matter() -> None:
    """3,000 rows are three tiles; the last rows of each are as near as the first. Against all pairs in float64."""
    random = np.random.default_rng(0)
    states, actions, order = random.normal(size=(3000, 3)), random.uniform(-1, 1, (3000, 2)), random.permutation(3000)
    recorded = (
        transitions(observations=states[rows], actions=actions[rows], widths=(3, 2)) for rows in (slice(None), order)
    )
    penalties = [NearestNeighbourPenalty(data, max_rows=None) for data in recorded]
    asked = (2 * random.normal(size=(1500, 3)), random.uniform(-2, 2, (1500, 2)))
    found = [penalty(asked_of(*(torch.tensor(part).float() for part in asked))).numpy() for penalty in penalties]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    data = np.concatenate([states, actions], axis=1)
    pairs = torch.cdist(*(torch.tensor(rows / data.std(axis=0)) for rows in (np.concatenate(asked, axis=1), data)))
    np.testing.assert_allclose(found[0], pairs.amin(dim=1).numpy(), rtol=1e-4, atol=1e-4)
    own = asked_of(torch.tensor(states).float(), torch.tensor(actions).float())
    assert float(penalties[1](own).max()) < 5e-3


def test_a_subset_of_the_rows_is_never_nearer() -> None:
    """`max_rows` rows are kept, evenly spaced, in units of all rows."""
    data = still_data(np.arange(9.0))
    penalty, std = NearestNeighbourPenalty(data, max_rows=3), float(data.observations.std())
    found = penalty(asked_of(torch.tensor(data.observations), torch.zeros(9, 1))) * std
    assert found.tolist() == pytest.approx([0, 1, 2, 1, 0, 1, 2, 1, 0], abs=1e-3)
    with pytest.raises(ConfigError, match=r"^max_rows: "):
        NearestNeighbourPenalty(data, max_rows=0)


def test_the_envelope_is_learned_from_other_episodes() -> None:
    """u is 0 on the data: with that as the largest usual u, every step would leave the envelope."""
    data = still_data([0.0, 0.0, 1.0, 1.0, 4.0, 4.0], truncations=[False, True] * 3)
    std = float(data.observations.std())
    model = StubEnsemble(1, 1, mean=lambda states, actions: (states + 1.0, torch.zeros(len(states))))
    penalized = PenalizedModel(
        model, data, penalty=NearestNeighbourPenalty(data), mean_penalty=1.0, envelope_quantile=1.0
    )
    assert penalized.envelope.penalty_limit * std == pytest.approx(3.0, abs=1e-3)
    assert penalized.penalty_coef == pytest.approx(6 * std / 10)
    states, generator = torch.tensor([[0.0], [2.5], [7.5]]), torch.Generator().manual_seed(0)
    taken = penalized.step(states, torch.zeros(3, 1), generator)
    assert (taken.exits == UNCERTAIN).tolist() == [False, False, True]


def test_the_name_needs_a_dataset(tmp_path: Path) -> None:
    """By name, with its option; without a dataset, with options that it lacks, and misspelt."""
    data = still_data(np.arange(50.0))
    save_transitions(data, tmp_path)
    task, asked = resolve_task(tmp_path), asked_of(torch.tensor([[0.0], [1.0]]), torch.zeros(2, 1))
    for options, expected in (({}, [0.0, 1.0]), ({"max_rows": 1}, [0.0, 1.0]), ({"max_rows": 2}, [0.0, 1.0])):
        penalty: Any = resolve_penalty({"name": "nearest-neighbour", **options}, task, tmp_path)
        assert isinstance(penalty, NearestNeighbourPenalty)
        found = penalty(asked) * float(data.observations.std())
        assert found.tolist() == pytest.approx(expected if options else [0.0, 0.0], abs=1e-2)
    with pytest.raises(ConfigError, match=r"^penalty: 'nearest-neighbour' needs the recorded rows"):
        get_penalty("nearest-neighbour")
    with pytest.raises(ConfigError, match=r"^penalty: 'nearest-neighbour' has no members to choose"):
        resolve_penalty({"name": "nearest-neighbour", "members": "all"}, task, tmp_path)
    with pytest.raises(ConfigError, match=r"^device: "):
        resolve_penalty("nearest-neighbour", task, tmp_path, device="cuda:99")
    with pytest.raises(UnknownNameError, match="Did you mean 'nearest-neighbour'"):
        get_penalty("nearest-neighbor")
