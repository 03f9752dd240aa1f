"""Agents that are pessimistic by themselves: by many critics, or by a penalty that their critics compute.

Both are SAC with another update; `mopo_agents.sb3.fast_sac` has the part that they share.
"""

from mopo_agents.pessimism.mobile import MOBILE
from mopo_agents.pessimism.ravl import RAVL

__all__ = ["MOBILE", "RAVL"]
