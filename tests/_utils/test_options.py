"""Checks of options: what passes comes back as a plain number, what does not names the option."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mopo_env._utils.options import check_boolean, check_fields, check_integer, check_number
from mopo_env.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "limits"),
    [
        (0, {}),
        (-2.5, {}),
        (0.0, {"minimum": 0.0}),
        (1, {"maximum": 1.0}),
        (1e-9, {"above": 0.0}),
        (0.5, {"above": 0.0, "maximum": 1.0}),
        (np.float32(0.5), {}),
        (np.float32(0.1), {"maximum": 0.1}),
        (np.float64(2.0), {}),
        (np.int64(3), {"maximum": 3}),
    ],
)
def test_number_comes_back_as_a_float(value: float, limits: dict[str, float]) -> None:
    """`minimum` and `maximum` admit their own value, `above` does not."""
    found = check_number("lr", value, **limits)
    assert found == value
    assert type(found) is float


@pytest.mark.parametrize(
    ("value", "limits", "parts"),
    [
        (math.nan, {}, ["finite number, found nan"]),
        (math.inf, {}, ["finite number, found inf"]),
        (-math.inf, {}, ["finite", "-inf"]),
        (10**400, {}, ["finite"]),
        ("1e-3", {}, ["a number", "'1e-3'"]),
        (True, {}, ["a number", "True"]),
        (None, {}, ["a number", "None"]),
        ([1.0], {}, ["a number", "[1.0]"]),
        (1j, {}, ["a number", "1j"]),
        (np.True_, {}, ["a number", "True"]),
        (np.float32("nan"), {}, ["finite number", "nan"]),
        (np.array(1.0), {}, ["a number", "array"]),
        (-0.1, {"minimum": 0.0}, ["at least 0", "-0.1"]),
        (1.1, {"maximum": 1.0}, ["at most 1", "1.1"]),
        (0.0, {"above": 0.0}, ["above 0", "0.0"]),
        (2.0, {"above": 0.0, "maximum": 1.0}, ["above 0 and at most 1", "2.0"]),
        (math.nan, {"minimum": 0.0, "maximum": 1.0}, ["at least 0 and at most 1", "nan"]),
    ],
)
def test_number_refusals(value: Any, limits: dict[str, float], parts: list[str]) -> None:
    """`True` would pass as 1, a string from a config file as a number, and NaN passes every comparison."""
    with pytest.raises(ConfigError) as caught:
        check_number("penalty_coef", value, **limits)
    for part in ("penalty_coef: ", *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(("value", "minimum"), [(1, 1), (7, 1), (0, 0), (-3, -3), (np.int64(5), 1), (np.uint8(5), 1)])
def test_integer_comes_back_as_an_int(value: int, minimum: int) -> None:
    """NumPy's, too: a sweep over `np.arange` hands them over."""
    found = check_integer("horizon", value, minimum=minimum)
    assert found == value
    assert type(found) is int


@pytest.mark.parametrize(
    ("value", "minimum"),
    [
        (0, 1),
        (-1, 0),
        (1.0, 1),
        (2.5, 1),
        (True, 0),
        ("5", 1),
        (None, 1),
        (math.nan, 1),
        (np.float64(5.0), 1),
        (np.True_, 0),
    ],
)
def test_integer_refusals(value: Any, minimum: int) -> None:
    with pytest.raises(ConfigError) as caught:
        check_integer("horizon", value, minimum=minimum)
    for part in ("horizon: ", f"at least {minimum}", repr(value)):
        assert part in str(caught.value)


def test_integer_is_positive_unless_told() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        check_integer("num_members", 0)


def test_fields_of_a_frozen_dataclass_become_plain_numbers() -> None:
    """A configuration is written to JSON, compared and hashed: two that mean the same must be the same."""

    @dataclass(frozen=True)
    class Config:
        epochs: int
        rate: float = 1.0

        def __post_init__(self) -> None:
            check_fields(self, check_integer, "epochs", minimum=2)
            check_fields(self, check_number, "rate", above=0.0)

    config = Config(np.int64(3), np.float32(0.5))
    assert (type(config.epochs), type(config.rate)) == (int, float)
    with pytest.raises(ConfigError, match="epochs: expected an integer of at least 2"):
        Config(1)


@pytest.mark.parametrize("wrong", [0, 1, None, "yes", np.True_])
def test_only_true_and_false_are_booleans(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="deterministic: expected True or False"):
        check_boolean("deterministic", wrong)
