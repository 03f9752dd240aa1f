"""Checks of options, and the options that several rooms share.

Each check returns the value, and refuses what it does not expect by a `ConfigError` that names the option.
"""

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Literal, get_args

from mopo_env.errors import ConfigError


def check_number(
    name: str,
    value: Any,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    above: float = -math.inf,
) -> float:
    """Return a finite number, NumPy's included, as a float."""
    if not _is(Real, value):
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


def check_integer(name: str, value: Any, *, minimum: int = 1, maximum: int | None = None) -> int:
    """Return an integer, NumPy's included, as an int."""
    if not _is(Integral, value) or value < minimum or (maximum is not None and value > maximum):
        limit = "" if maximum is None else f" and at most {maximum}"
        raise ConfigError(f"{name}: expected an integer of at least {minimum}{limit}, found {value!r}.")
    return int(value)


def _is(kind: type, value: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def check_boolean(name: str, value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name}: expected True or False, found {value!r}.")
    return value


def check_text(name: str, value: Any) -> str:
    """Return a value that is a text."""
    if not isinstance(value, str):
        raise ConfigError(f"{name}: expected a text, found {value!r}.")
    return value


def check_tuple(name: str, values: Any, check: Callable[..., Any], **limits: Any) -> tuple[Any, ...]:
    """Check each entry of a tuple or a list, and return the checked entries as a tuple."""
    if not isinstance(values, (tuple, list)):
        raise ConfigError(f"{name}: expected a tuple of numbers, found {values!r}.")
    return tuple(check(name, value, **limits) for value in values)


def check_fields(config: Any, check: Callable[..., Any], /, *names: str, optional: bool = False, **limits: Any) -> None:
    """Check fields of a frozen dataclass, and replace them by the result: plain ints and floats.

    Args:
        config: The dataclass. Its fields are written, so call this in its `__post_init__`.
        check: One of the checks of this module.
        *names: Names of the fields.
        optional: Whether None is allowed.
        **limits: Passed to the check.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None or not optional:
            object.__setattr__(config, name, check(name, value, **limits))


Members = Literal["all", "elites"]
"""Which members of an ensemble a penalty uses."""
Units = Literal["raw", "normalised"]
"""Raw outputs, or outputs divided by the standard deviations of the training targets."""
MemberPer = Literal["step", "rollout"]
"""How often an elite is picked: for every step (TS-1), or once for a rollout (TS-∞)."""
DEFAULT_PENALTY = "ensemble-std"
"""Of the penalties, the one that follows the true error best, on the data and off them (docs/penalties.md)."""
DEFAULT_MARGIN = 0.25
"""How far rollouts of a task or of own data may leave the data's range, as a multiple of it."""
DEFAULT_QUANTILE = 1.0
"""Which quantile of the penalties on the data they may not exceed."""
OnExit = Literal["terminate", "truncate"]
"""How a rollout ends that leaves the envelope: for good, or so that agents bootstrap from its last state."""
DEFAULT_ON_EXIT: OnExit = "truncate"
"""A rare end at the price of an eternity makes critics learn that price and little else (docs/methods.md)."""
PenaltyCoef = float | Literal["conformal"]
"""λ, or how to find it on rows that the model's fit never saw."""
CONFORMAL = "conformal"
CONFORMAL_COVERAGE = 0.9
"""With which probability the conformal λ·u bounds the model's one-step error on the data's distribution."""
CONFORMAL_CONFIDENCE = 0.95
"""How probable it is that the rows of one calibration give a bound of that coverage."""
Precision = Literal["float32", "bfloat16"]
"""Precision between an ensemble's hidden layers in `predict`. Inputs and outputs are always float32."""
Schedule = Literal["cosine", "constant"]
"""How the learning rate of a fit changes: it falls to zero over a given number of epochs, or is constant."""


def check_choice(name: str, value: Any, choices: Any) -> Any:
    """Return a value that is one of the strings of a `Literal`."""
    words = get_args(choices)
    if not isinstance(value, str) or value not in words:
        raise ConfigError(f"{name}: expected {' or '.join(words)}, found {value!r}.")
    return value
