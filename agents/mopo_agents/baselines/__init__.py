"""Agents that learn from the dataset alone, without a model; MOPO is compared with them (paper, section 5).

Read `offline.py` first: it runs epochs of updates in Stable-Baselines3's loop. BEAR and BRAC share `regularised.py`.
Then read one algorithm: `OfflineSAC` in `offline.py`, `BC` in `cloning.py`, `bear.py` or `brac.py`.
"""

from __future__ import annotations

from mopo_agents.baselines.bear import BEAR
from mopo_agents.baselines.brac import BRACp, BRACv
from mopo_agents.baselines.cloning import BC
from mopo_agents.baselines.offline import DatasetEnv, OfflineAgent, OfflineSAC

__all__ = ["BC", "BEAR", "BRACp", "BRACv", "DatasetEnv", "OfflineAgent", "OfflineSAC"]
