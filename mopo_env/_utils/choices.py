"""The words an option can be, where it is one of a few."""

from __future__ import annotations

from typing import Any, Literal, get_args

from mopo_env.errors import ConfigError

__all__ = ["MemberPer", "Members", "Precision", "Schedule", "Units", "check_choice"]

Members = Literal["all", "elites"]
"""Which members of an ensemble a penalty asks."""
Units = Literal["raw", "normalised"]
"""Whether outputs are as they are, or divided by the standard deviations of the training targets."""
MemberPer = Literal["step", "rollout"]
"""How long one elite speaks for a rollout: a step (TS-1), or all of it (TS-∞)."""

Precision = Literal["float32", "bfloat16"]
"""Of the numbers between an ensemble's hidden layers when it predicts; inputs and answers are float32 either way."""
Schedule = Literal["cosine", "constant"]
"""How the learning rate of a fit changes: it falls to zero over a number of epochs set beforehand, or stays."""


def check_choice(name: str, value: Any, choices: Any) -> Any:
    """Return a word that is one of a `Literal`'s.

    Raises:
        ConfigError: If it is none of them.
    """
    words = get_args(choices)
    if not isinstance(value, str) or value not in words:
        raise ConfigError(f"{name}: expected {' or '.join(words)}, found {value!r}.")
    return value
