"""A penalty by name is the formula that it is called after, over the members, outputs and units that are asked for.

The formulas themselves are tested in `test_formulas`, what every penalty must keep to in `tests/test_testing.py`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import generator, penalized_model

from mopo_env.errors import ConfigError, UnknownNameError
from mopo_env.models.protocol import GaussianPrediction
from mopo_env.penalties import (
    EnsemblePenalty,
    error_estimator,
    get_penalty,
    learned_variance,
    make_penalty,
    no_penalty,
)


def prediction(mean: Any = None, std: Any = None, elites: Any = None, dtype: torch.dtype = torch.float64) -> Any:
    given_array = np.asarray(std if mean is None else mean)
    mean = np.zeros_like(given_array) if mean is None else mean
    std = np.zeros_like(given_array) if std is None else std
    members, rows, outputs = given_array.shape
    return GaussianPrediction(
        observations=torch.zeros(rows, outputs - 1),
        actions=torch.zeros(rows, 1),
        mean=torch.tensor(np.asarray(mean), dtype=dtype),
        std=torch.tensor(np.asarray(std), dtype=dtype),
        elites=torch.arange(members) if elites is None else torch.tensor(elites),
    )


# ---------------------------------------------------------------- members, outputs, units

# A member that is no elite, a reward, and outputs of very different scale: each option moves the number.
STDS = [[[3.0, 40.0, 0.0]], [[0.0, 0.0, 5.0]], [[600.0, 800.0, 0.0]]]
MEANS = [[[0.0, 0.0, 0.0]], [[0.0, 0.0, 70.0]], [[6000.0, 0.0, 0.0]]]
ELITES, SCALE = [0, 1], torch.tensor([1.0, 10.0, 0.5], dtype=torch.float64)


def three_members() -> Any:
    found = prediction(mean=MEANS, std=STDS, elites=ELITES)
    return dataclasses.replace(found, target_std=SCALE)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("learned-variance", {}, 1000.0),
        ("learned-variance", {"members": "elites"}, math.hypot(3, 40)),
        ("learned-variance", {"members": "elites", "units": "normalised"}, 10.0),  # (3, 4, 0) or (0, 0, 10)
        ("learned-variance", {"members": "elites", "units": "normalised", "reward": False}, 5.0),
        ("learned-variance", {"reward": False}, 1000.0),
        (
            "learned-variance-frobenius",
            {"members": "elites", "units": "normalised", "reward": False},
            math.hypot(9, 16),
        ),
        ("ensemble-disagreement", {}, 4000.0),
        ("ensemble-disagreement", {"members": "elites"}, 0.0),
        ("ensemble-disagreement", {"members": "elites", "reward": True}, 35.0),
        ("ensemble-disagreement", {"members": "elites", "reward": True, "units": "normalised"}, 70.0),
        ("max-pairwise-difference", {}, 6000.0),
        ("max-pairwise-difference", {"members": "elites"}, 0.0),
        ("max-pairwise-difference", {"members": "elites", "reward": True}, 70.0),
        ("max-pairwise-difference", {"members": "elites", "reward": True, "units": "normalised"}, 140.0),
        ("ensemble-std", {"members": "elites", "reward": False}, math.sqrt(4.5 + 800)),
        ("ensemble-std", {"members": "elites"}, math.sqrt(4.5 + 800 + 12.5 + 35**2)),
        ("ensemble-std", {"members": "elites", "units": "normalised"}, math.sqrt(4.5 + 8 + 4 * (12.5 + 35**2))),
        ("ensemble-variance", {"members": "elites", "reward": False}, math.hypot(4.5, 800)),
    ],
)
def test_options_of_a_penalty_by_hand(name: str, options: dict[str, Any], expected: float) -> None:
    """Each ignored option would give another number of the table."""
    assert make_penalty(name, **options)(three_members()).tolist() == pytest.approx([expected])


@pytest.mark.parametrize("name", ["log-likelihood-variance", "leave-one-out-kl"])
def test_densities_have_no_units(name: str) -> None:
    random = np.random.default_rng(0)
    said = prediction(mean=random.normal(size=(3, 4, 3)), std=random.uniform(0.5, 2, (3, 4, 3)))
    said = dataclasses.replace(said, target_std=SCALE)
    raw, normalised = (make_penalty(name, units=units)(said) for units in ("raw", "normalised"))  # type: ignore[arg-type]
    torch.testing.assert_close(raw, normalised)
    assert not torch.allclose(raw, make_penalty(name, reward=False)(said))
    assert not torch.allclose(
        raw, make_penalty(name, members="elites")(dataclasses.replace(said, elites=torch.tensor([0, 2])))
    )


def test_normalised_units_of_a_model_without_a_scale_are_refused() -> None:
    """Raw units in their place would be another penalty under the same name."""
    with pytest.raises(ConfigError, match=r"units: .*does not know the scale.*Choose 'raw'"):
        make_penalty("ensemble-std", units="normalised")(prediction(std=STDS))


def test_without_options_a_name_is_its_sources_penalty() -> None:
    assert make_penalty("learned-variance") is learned_variance
    assert make_penalty("none") is no_penalty


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": "some"}, "members: expected all or elites, found 'some'"),
        ({"members": 5}, "members: expected all or elites, found 5"),
        ({"units": "kg"}, "units: expected raw or normalised, found 'kg'"),
        ({"reward": 1}, "reward: expected True or False, found 1"),
        ({"reward": "yes"}, "reward: expected True or False, found 'yes'"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_penalty("ensemble-std", **options)


def test_options_of_no_penalty_are_refused() -> None:
    """They would be accepted and do nothing."""
    with pytest.raises(ConfigError, match="'none' has no members nor units to choose"):
        make_penalty("none", members="elites", units="raw")


def test_ones_own_formula_gets_the_options_too() -> None:
    own = EnsemblePenalty(formula=lambda mean, std: std.sum(dim=(0, 2)), members="elites", reward=False)
    assert own(three_members()).tolist() == [43.0]


def test_a_penalty_through_json() -> None:
    """`gymnasium.make` takes what JSON can hold; member 1 is no elite, the reward's 9 is left out: √(3² + 4²) = 5."""
    options = json.loads('{"name": "learned-variance", "members": "elites", "reward": false}')
    model = penalized_model(width=2, std=[[3.0, 4.0, 9.0], [30.0, 40.0, 0.0]], elites=[0], penalty=options)
    assert model.step(torch.zeros(1, 2), torch.zeros(1, 1), generator()).penalties.tolist() == [5.0]


def test_an_error_estimator_sees_states_and_actions() -> None:
    """Algorithm 1 of the paper takes any u(s, a)."""
    u = error_estimator(lambda observations, actions: observations[:, 0].abs() + 10 * actions[:, 0])
    said = dataclasses.replace(
        prediction(std=np.zeros((1, 2, 2))),
        observations=torch.tensor([[-3.0], [2.0]]),
        actions=torch.tensor([[1.0], [0.5]]),
    )
    assert u(said).tolist() == [13.0, 7.0]


# ---------------------------------------------------------------- names


def test_a_misspelt_name_suggests_the_right_one() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown penalty 'learnt-variance'.*Did you mean 'learned-variance'"):
        get_penalty("learnt-variance")


def test_a_callable_is_returned_as_it_is() -> None:
    def mine(said: Any) -> torch.Tensor:
        return torch.zeros(1)

    assert get_penalty(mine) is mine


@pytest.mark.parametrize(
    "wrong", [None, 3, ["none"], {}, {"members": "all"}, {"name": "ensemble-std", "member": "all"}]
)
def test_what_names_no_penalty_is_refused(wrong: Any) -> None:
    """Neither a name, nor a mapping with one, nor a function."""
    with pytest.raises(ConfigError, match="penalty"):
        get_penalty(wrong)
