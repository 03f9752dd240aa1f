"""`TerminationConfig` refuses bad options before anything is fitted. Ranges are tested where they are checked."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from mopo_env.errors import ConfigError
from mopo_env.terminations.config import TerminationConfig

BAD: dict[str, list[Any]] = {
    "inputs": ["state", None],
    "num_members": [0, 1.5],
    "hidden_sizes": [64, (64, -1)],
    "learning_rate": [0.0, "1"],
    "batch_size": [0, True],
    "validation_share": [0.0, 0.41],
    "test_share": [0.0, 0.41],
    "patience": [0, None],
    "max_epochs": [0, "3"],
    "seed": [-1, 2**63],
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_is_refused_by_name(name: str) -> None:
    for value in BAD[name]:
        with pytest.raises(ConfigError, match=rf"^{name}: "):
            TerminationConfig(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("validation_share", 0.4), ("test_share", 0.01), ("seed", 0)])
def test_the_ends_of_each_range_are_allowed(name: str, value: Any) -> None:
    assert getattr(TerminationConfig(**{name: value}), name) == value


def test_every_option_is_documented_and_checked() -> None:
    """The command line shows the docstring's lines as its help."""
    assert {field.name for field in fields(TerminationConfig)} == set(BAD)
    for name in BAD:
        assert f"\n        {name}: " in str(TerminationConfig.__doc__)
