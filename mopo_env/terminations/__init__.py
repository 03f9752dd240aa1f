"""Which next states end an episode: rules copied from the real environments (`rules`), or learned from data.

A rule is any callable ``(observations, actions, next_observations) → flags``. `fit` learns one from the runs that
ended, `learned` applies it, and `config` holds the options of that fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mopo_env._utils.lazy import lazy_names

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


# The rules need torch, the options of a fit do not.
__getattr__, __dir__ = lazy_names(__name__, {"mopo_env.terminations.rules": __all__})
