"""Which next states end an episode. A rule is any callable ``(observations, actions, next_observations) → flags``.

Read `rules` first: rules copied from the real environments. Then `learned`, a rule learned from data; `config`, the
options of its fit; and `fit`, which learns it.
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
