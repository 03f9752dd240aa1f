"""The work between two training steps of a behaviour policy: returns, checkpoints and the end of the training."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from mopo_agents.collection.checkpoint import Checkpoint
from mopo_env._utils.progress import Bar

THRESHOLD_EPISODES = 10


class TrainingFinished(Exception):
    """Ends `learn` between two steps. A callback that returns False instead would lose the row of its last step."""


class BehaviourCallback(BaseCallback):
    """Reads the returns, saves checkpoints and ends the run between two steps. It does not change the agent."""

    model: OffPolicyAlgorithm

    def __init__(
        self,
        env: Monitor,
        *,
        threshold: float | None,
        at_threshold: Callable[[OffPolicyAlgorithm], None] | None,
        threshold_step: int | None,
        checkpoint: Checkpoint | None,
        checkpoint_seconds: float,
        interrupted: Callable[[], bool],
        bar: Bar,
    ) -> None:
        super().__init__()
        self.threshold_step, self.bar = threshold_step, bar
        self._env, self._threshold, self._at_threshold = env, threshold, at_threshold
        self._checkpoint, self._checkpoint_seconds, self._interrupted = checkpoint, checkpoint_seconds, interrupted
        self._episodes = len(env.episode_returns)
        self._saved_at = time.monotonic()

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended at the threshold."""
        return self.threshold_step is not None and self._at_threshold is None

    def _on_step(self) -> bool:
        self.bar.update()
        return True

    def _on_rollout_start(self) -> None:
        # Off-policy agents update after a rollout, so the last step is complete when the next rollout starts.
        self._check_threshold()
        if self.is_finished:
            self._save()
            raise TrainingFinished
        if self._interrupted():
            self._save()
            raise KeyboardInterrupt
        if self.num_timesteps and time.monotonic() - self._saved_at >= self._checkpoint_seconds:
            self._save()

    def _on_training_end(self) -> None:
        self._check_threshold()
        self._save()

    def _check_threshold(self) -> None:
        returns = self._env.episode_returns
        if len(returns) == self._episodes:
            return
        self._episodes = len(returns)
        mean = float(np.mean(returns[-THRESHOLD_EPISODES:]))
        self.bar.set_postfix({"return": f"{mean:.0f}"}, refresh=False)
        enough = len(returns) >= THRESHOLD_EPISODES and self._threshold is not None and mean >= self._threshold
        if enough and self.threshold_step is None:
            self.threshold_step = self.model.num_timesteps
            if self._at_threshold is not None:
                self._at_threshold(self.model)

    def _save(self) -> None:
        if self._checkpoint is not None:
            self._checkpoint.save(self.model, self._env, {"threshold_step": self.threshold_step})
        self._saved_at = time.monotonic()
