"""Which next states end an episode. A rule is any callable ``(observations, actions, next_observations) → flags``.

Read `rules` first: rules copied from the real environments. Then `learned`, a rule learned from data; `config`, the
options of its fit; and `fit`, which learns it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mopo_env.terminations.rules import (
        TERMINATIONS,
        Termination,
        ant,
        cartpole,
        get_termination,
        hopper,
        never,
        walker2d,
    )

__all__ = ["TERMINATIONS", "Termination", "ant", "cartpole", "get_termination", "hopper", "never", "walker2d"]


def __getattr__(name: str) -> Any:
    """Import a rule on its first use: the rules need torch, the options of a fit do not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("mopo_env.terminations.rules"), name)
