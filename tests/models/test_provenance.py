"""A model beside data that it was not fitted to is refused, and the message says what differs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from helpers.models import fitted_ensemble
from helpers.transitions import transitions

from mopo_env.datasets.files import save_transitions
from mopo_env.datasets.relabel import relabel
from mopo_env.envs.make import make_penalized_model
from mopo_env.errors import SpaceMismatchError
from mopo_env.models.ensemble import save_ensemble
from mopo_env.models.provenance import check_provenance, provenance
from mopo_env.transitions import Transitions

DATA = transitions(50)
NAMED = replace(DATA, metadata={"columns": {"observations": ["room", "wall"]}})


def paid_nothing(observations: np.ndarray, actions: np.ndarray, following: np.ndarray) -> np.ndarray:
    return np.zeros(len(observations))


def within(high: float) -> Box:
    return Box(-high, high, (DATA.observation_dim,))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (relabel(DATA, paid_nothing), "the transitions are the same, but the rewards differ"),
        (replace(DATA, observations=DATA.observations + 1), "its rows differ"),
        (replace(DATA, observation_space=within(100.0)), r"observation_space: .* bounds \[None"),
    ],
)
def test_other_data_are_refused(data: Transitions, words: str) -> None:
    """A relabelled dataset beside the old model trained an agent on the old reward, without a word."""
    check_provenance(provenance(DATA), DATA, "ensemble")
    with pytest.raises(SpaceMismatchError, match=words):
        check_provenance(provenance(DATA), data, "ensemble")


def test_a_column_of_another_name_is_named() -> None:
    """Two logs of one width, whose columns stand in another order."""
    swapped = replace(
        NAMED, observations=DATA.observations + 1, metadata={"columns": {"observations": ["wall", "room"]}}
    )
    with pytest.raises(SpaceMismatchError, match="column 0 of its observations was 'room', and is 'wall' here"):
        check_provenance(provenance(NAMED), swapped, "ensemble")


def test_spaces_are_compared_as_numbers() -> None:
    """As text they depended on NumPy's print options, and bounds beyond the printed digits were equal."""
    data = replace(DATA, observation_space=within(100.0))
    record = json.loads(json.dumps(provenance(data)))
    with np.printoptions(precision=2, threshold=1):
        check_provenance(record, data, "ensemble")
    with pytest.raises(SpaceMismatchError, match="observation_space"):
        check_provenance(record, replace(DATA, observation_space=within(100.00001)), "ensemble")
    counted = [
        transitions(50, widths=(2, 1), actions=np.zeros(50, dtype=np.int64), action_space=Discrete(n)) for n in (2, 3)
    ]
    with pytest.raises(SpaceMismatchError, match=r"action_space: .*Discrete\(3\).*'n': 2"):
        check_provenance(provenance(counted[0]), counted[1], "ensemble")


def test_other_data_may_be_allowed(tmp_path: Path) -> None:
    """One model for a growing log is common. Other spaces stay refused."""
    save_transitions(relabel(DATA, paid_nothing), tmp_path)
    save_ensemble(fitted_ensemble(DATA), tmp_path)
    options: dict[str, Any] = {"dataset": tmp_path, "termination": "never"}
    with pytest.raises(SpaceMismatchError, match=r"the rewards differ.*--allow-other-data"):
        make_penalized_model(**options)
    assert make_penalized_model(**options, allow_other_data=True).transitions.rewards.max() == 0.0
    other = replace(DATA, observation_space=within(100.0))
    with pytest.raises(SpaceMismatchError, match="observation_space"):
        check_provenance(provenance(DATA), other, "ensemble", allow_other_data=True)


def test_a_model_that_does_not_say_is_refused() -> None:
    with pytest.raises(SpaceMismatchError, match="it does not say to which"):
        check_provenance({}, DATA, "ensemble")
