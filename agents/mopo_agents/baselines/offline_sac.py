"""Offline SAC: soft actor-critic on a fixed dataset, with nothing that keeps its actions near the data."""

from __future__ import annotations

from stable_baselines3 import SAC

from mopo_agents.baselines.offline import OfflineAgent

__all__ = ["OfflineSAC"]


class OfflineSAC(OfflineAgent, SAC):
    """Stable-Baselines3's SAC, its hyperparameters and all, whose batches come from a fixed dataset.

    The critic is asked for values of actions that are not in the data and believes what it extrapolates; nothing
    corrects it (Kumar et al. 2019, section 4). It is what the paper calls "SAC" in its tables.
    """

    def _train_epoch(self, gradient_steps: int, batch_size: int) -> None:
        SAC.train(self, gradient_steps, batch_size)
