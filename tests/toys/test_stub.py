"""`StubEnsemble` says what it is told: tests of everything else rely on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mopo_env.errors import ConfigError
from mopo_env.toys import StubEnsemble


def stay(observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return observations, torch.full((len(observations),), 7.0)


def said(model: StubEnsemble, num_rows: int = 2) -> Any:
    return model.predict(torch.ones(num_rows, 1), torch.zeros(num_rows, 1))


def test_the_stub_says_what_it_is_told() -> None:
    prediction = said(StubEnsemble(1, 1, mean=stay, std=[[3.0, 4.0], [1.0, 2.0]], offsets=[0.0, 10.0], elites=[1]))
    assert prediction.mean.tolist() == [[[1.0, 7.0]] * 2, [[11.0, 17.0]] * 2]
    assert prediction.std.tolist() == [[[3.0, 4.0]] * 2, [[1.0, 2.0]] * 2]
    assert prediction.elites.tolist() == [1]


@pytest.mark.parametrize(
    ("std", "expected"),
    [(0.5, [0.5, 0.5]), ([1.0, 2.0], [1.0, 2.0]), ([[1.0, 2.0]], [1.0, 2.0]), (np.float64(2), [2.0, 2.0])],
    ids=str,
)
def test_every_way_to_give_the_std(std: Any, expected: list[float]) -> None:
    """A number is for every output, a row for every member."""
    prediction = said(StubEnsemble(1, 1, mean=stay, std=std, num_members=3))
    assert prediction.std.tolist() == [[expected] * 2] * 3


def test_the_std_may_depend_on_state_and_action() -> None:
    """So that a test can make one region uncertain."""
    model = StubEnsemble(1, 1, mean=stay, num_members=2, std=lambda s, a: (s + a).expand(2, len(s), 1).repeat(1, 1, 2))
    prediction = model.predict(torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5], [0.0]]))
    assert prediction.std.tolist() == [[[1.5, 1.5], [2.0, 2.0]]] * 2


@pytest.mark.parametrize(
    "options",
    [
        {"std": [[1.0, 1.0]] * 2, "offsets": [0, 1, 2]},
        {"offsets": [0, 1, 2], "num_members": 2},
        {"std": [[1.0, 1.0]] * 2, "num_members": 3},
        {"offsets": [0, 1, 2], "num_members": 1},
    ],
    ids=str,
)
def test_numbers_of_members_that_disagree_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="num_members"):
        StubEnsemble(1, 1, mean=stay, **options)


def test_all_members_are_elites_by_default() -> None:
    assert StubEnsemble(1, 1, mean=stay).elites.tolist() == [0]
    assert StubEnsemble(1, 1, mean=stay, offsets=[1, 2, 3]).elites.tolist() == [0, 1, 2]
