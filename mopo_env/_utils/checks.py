"""Checks of options, each with a message that names the option."""

from __future__ import annotations

import math
from typing import Any

from mopo_env.errors import ConfigError

__all__ = ["check_integer", "check_number"]


def check_number(
    name: str,
    value: Any,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    above: float = -math.inf,
) -> float:
    """Return a finite number as a float.

    Raises:
        ConfigError: If it is no number, not finite, or outside the range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"{name}: expected a number, found {value!r}.")
    try:
        number = float(value)
    except OverflowError:  # an int of more than 308 digits
        number = math.inf
    if not math.isfinite(number) or not minimum <= value <= maximum or value <= above:
        limits = [f"at least {minimum:g}"] * (minimum > -math.inf)
        limits += [f"above {above:g}"] * (above > -math.inf)
        limits += [f"at most {maximum:g}"] * (maximum < math.inf)
        bounds = f" {' and '.join(limits)}" if limits else ""
        raise ConfigError(f"{name}: expected a finite number{bounds}, found {value!r}.")
    return number


def check_integer(name: str, value: Any, *, minimum: int = 1) -> int:
    """Return an integer.

    Raises:
        ConfigError: If it is no integer, or below the minimum.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ConfigError(f"{name}: expected an integer of at least {minimum}, found {value!r}.")
    return value
