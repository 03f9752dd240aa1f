"""Analytic termination rules.

Each is the rule of the Gymnasium environment of the same name (v5; v4 has the same), written for observations instead
of simulator states.
"""

import math
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from mopo_env._utils.references import import_named, is_reference
from mopo_env.errors import ConfigError, UnknownNameError

# In raw units; discrete actions come as integers.
States: TypeAlias = Float[Tensor, "batch observation"]
Actions: TypeAlias = Float[Tensor, "batch action"] | Int64[Tensor, " batch"]
Flags: TypeAlias = Bool[Tensor, " batch"]


@runtime_checkable
class Termination(Protocol):
    """Decides which next states are terminal."""

    def __call__(self, observations: States, actions: Actions, next_observations: States, /) -> Flags:
        """Return one flag for each row; all arguments are in raw units."""
        ...


def never(observations: States, actions: Actions, next_observations: States) -> Flags:
    """No state is terminal, as in HalfCheetah."""
    return torch.zeros(len(next_observations), dtype=torch.bool, device=next_observations.device)


def hopper(observations: States, actions: Actions, next_observations: States) -> Flags:
    """Terminal unless z > 0.7, ``|angle| < 0.2``, and everything after z lies strictly between −100 and 100.

    Both bounds count. A misplaced parenthesis in the paper's code dropped the lower one. The environment clips the
    velocities it shows to ±10, so this rule cannot see a real velocity beyond 100, which ends the episode there.
    """
    height, angle = next_observations[:, 0], next_observations[:, 1]
    bounded = (next_observations[:, 1:].abs() < 100.0).all(dim=1)
    return ~((height > 0.7) & (angle.abs() < 0.2) & bounded)


def walker2d(observations: States, actions: Actions, next_observations: States) -> Flags:
    """Terminal unless 0.8 < z < 2 and ``|angle| < 1``."""
    height, angle = next_observations[:, 0], next_observations[:, 1]
    return ~((height > 0.8) & (height < 2.0) & (angle.abs() < 1.0))


def ant(observations: States, actions: Actions, next_observations: States) -> Flags:
    """Terminal unless every number is finite and 0.2 ≤ z ≤ 1."""
    height = next_observations[:, 0]
    finite = next_observations.isfinite().all(dim=1)
    return ~(finite & (height >= 0.2) & (height <= 1.0))


def cartpole(observations: States, actions: Actions, next_observations: States) -> Flags:
    """Terminal if the cart is beyond ±2.4 or the pole beyond ±12°."""
    position, angle = next_observations[:, 0], next_observations[:, 2]
    return (position.abs() > 2.4) | (angle.abs() > math.radians(12.0))


TERMINATIONS: dict[str, Termination] = {
    "never": never,
    "halfcheetah": never,
    "hopper": hopper,
    "walker2d": walker2d,
    "ant": ant,
    "cartpole": cartpole,
}


def get_termination(termination: Any) -> Termination:
    """Look a rule up by name, or import your own by ``"module:name"``. A callable is returned unchanged.

    Raises:
        UnknownNameError: If no rule has this name.
        ConfigError: If the rule is neither a name nor a callable.
    """
    if isinstance(termination, str):
        if termination == "learned":
            raise ConfigError(
                "termination: 'learned' needs a folder. Load the rule with mopo_env.load_termination(folder), or use "
                "make_penalized_model."
            )
        if is_reference(termination):
            return get_termination(import_named("termination", termination))
        if termination not in TERMINATIONS:
            raise UnknownNameError("termination", termination, [*TERMINATIONS, "learned"])
        return TERMINATIONS[termination]
    if not callable(termination):
        raise ConfigError(f"termination: found {termination!r}, expected a name or a callable.")
    rule: Termination = termination
    return rule
