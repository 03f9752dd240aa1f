"""What MOPO is compared with: agents that learn from the dataset alone, without a model (paper, section 5).

Read `offline.py`, which turns Stable-Baselines3's loop into epochs of updates, then `regularised.py`, of which BEAR and
BRAC are two cases, then one algorithm: `bc.py`, `bear.py`, `brac.py`, `offline_sac.py`.
"""

from __future__ import annotations

from mopo_agents.baselines.bc import BC
from mopo_agents.baselines.bear import BEAR
from mopo_agents.baselines.brac import BRACp, BRACv
from mopo_agents.baselines.offline import DatasetEnv, OfflineAgent
from mopo_agents.baselines.offline_sac import OfflineSAC

__all__ = ["BC", "BEAR", "BRACp", "BRACv", "DatasetEnv", "OfflineAgent", "OfflineSAC"]
