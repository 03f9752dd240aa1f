"""`TerminationConfig` refuses what cannot be fitted before anything is."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from mopo_env.errors import ConfigError
from mopo_env.terminations.config import TerminationConfig

NAN = float("nan")
BAD = [
    *[
        (name, value)
        for name in ("num_members", "batch_size", "patience", "max_epochs")
        for value in (0, -1, 1.5, "3", True, None)
    ],
    *[("seed", value) for value in (-1, 2**63, 0.5, True)],
    *[("learning_rate", value) for value in (0.0, -1e-3, NAN, "1", None)],
    *[("sparsity_coef", value) for value in (-0.1, NAN, "1")],
    *[(name, value) for name in ("validation_share", "test_share") for value in (0.0, -0.1, 0.41, NAN, "0.1")],
    *[("hidden_sizes", value) for value in (64, "64", (0,), (64, -1), (64.0,))],
    *[("inputs", value) for value in ("state", "", None, 1)],
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: "):
        TerminationConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("sparsity_coef", 0), ("validation_share", 0.4), ("test_share", 0.01), ("inputs", "transition"), ("seed", 0)],
)
def test_the_ends_of_each_range_are_allowed(name: str, value: Any) -> None:
    assert getattr(TerminationConfig(**{name: value}), name) == value


def test_every_option_is_documented() -> None:
    """The command line shows the docstring's lines as its help."""
    assert TerminationConfig.__doc__ is not None
    for field in fields(TerminationConfig):
        assert f"\n        {field.name}: " in TerminationConfig.__doc__
