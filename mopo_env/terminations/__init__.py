"""Termination rules: which next states end an episode. A rule is a callable (s, a, s′) → flags.

Read `rules` first, the rules of the real environments. Then read `learned`, a rule that is learned from data, `config`,
the options of its fit, and `fit`.
"""

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


# The rules need torch; `config`, in this folder, does not.
__getattr__, __dir__ = lazy_names(__name__, {"mopo_env.terminations.rules": __all__})
