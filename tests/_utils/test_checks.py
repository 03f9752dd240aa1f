"""Checks of options: what passes comes back unchanged, what does not names the option."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mopo_env._utils.options import check_integer, check_number
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


@pytest.mark.parametrize(("value", "minimum"), [(1, 1), (7, 1), (0, 0), (-3, -3)])
def test_integer_comes_back_unchanged(value: int, minimum: int) -> None:
    found = check_integer("horizon", value, minimum=minimum)
    assert found == value
    assert type(found) is int


@pytest.mark.parametrize(
    ("value", "minimum"),
    [(0, 1), (-1, 0), (1.0, 1), (2.5, 1), (True, 0), ("5", 1), (None, 1), (math.nan, 1)],
)
def test_integer_refusals(value: Any, minimum: int) -> None:
    with pytest.raises(ConfigError) as caught:
        check_integer("horizon", value, minimum=minimum)
    for part in ("horizon: ", f"at least {minimum}", repr(value)):
        assert part in str(caught.value)


def test_integer_is_positive_unless_told() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        check_integer("num_members", 0)
