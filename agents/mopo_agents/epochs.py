"""What happens between two epochs of training: logs, evaluations, checkpoints, the progress bar."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from mopo_agents.config import TrainConfig
from mopo_agents.evaluation import Evaluation, evaluate
from mopo_agents.policy_files import save_policy
from mopo_env.store import write_file

__all__ = ["EpochCallback", "EvaluationRow"]


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """One line of ``evaluations.csv``.

    Attributes:
        epoch: Epochs done.
        updates: Gradient steps done.
        seconds: Since the start of training, evaluations left out.
        return_mean: Mean return in the real environment.
        return_std: Its standard deviation over episodes.
        normalised: The mean on D4RL's scale, or None for tasks without one.
    """

    epoch: int
    updates: int
    seconds: float
    return_mean: float
    return_std: float
    normalised: float | None


class EpochCallback(BaseCallback):
    """Follows a run epoch by epoch, and touches nothing of it.

    An evaluation draws no random number of the agent's and hands nothing back to it: a run with evaluations ends
    with the same weights as one without.

    Attributes:
        epoch: Epochs done.
        rows: The evaluations so far.
        last_evaluation: The latest of them, episode by episode.
        seconds: Time spent training, evaluations and checkpoints left out.
    """

    def __init__(self, config: TrainConfig, task: str, folder: Path, *, progress: bool) -> None:
        super().__init__()
        self.epoch = 0
        self.rows: list[EvaluationRow] = []
        self.last_evaluation: Evaluation | None = None
        self.seconds = 0.0
        self._config, self._task, self._folder = config, task, folder
        self._bar = tqdm(total=config.epochs, desc=f"train {task}", unit="epoch", disable=not progress)
        self._rollout_seconds: float | None = None  # None: the epoch has no rollout yet
        self._penalties: list[float] = []
        self._rewards: list[float] = []

    def _on_training_start(self) -> None:
        self._started = time.perf_counter()

    def _on_step(self) -> bool:
        if "infos" not in self.locals:  # an offline agent takes no steps in an environment
            return True
        self._rewards.append(float(np.mean(self.locals["rewards"])))
        self._penalties.append(float(np.mean([info["penalty"] for info in self.locals["infos"]])))
        return True

    def _on_rollout_end(self) -> None:
        self._rollout_seconds = time.perf_counter() - self._started

    def _on_rollout_start(self) -> None:
        # An off-policy agent updates after its rollout ends, so an epoch is over when the next rollout starts.
        if self._rollout_seconds is not None:
            self._finish_epoch(self._rollout_seconds, last=False)

    def _on_training_end(self) -> None:
        if self._rollout_seconds is not None:
            self._finish_epoch(self._rollout_seconds, last=True)
        self._bar.close()

    def _finish_epoch(self, rollout_seconds: float, *, last: bool) -> None:
        seconds = time.perf_counter() - self._started
        self.seconds += seconds
        self.epoch += 1
        record = self.logger.record
        record("mopo/epoch", self.epoch)
        if self._rewards:
            record("mopo/reward_mean", np.mean(self._rewards))
            record("mopo/penalty_mean", np.mean(self._penalties))
        record("time/seconds", self.seconds)
        record("time/rollout_seconds", rollout_seconds)
        record("time/update_seconds", seconds - rollout_seconds)
        self._bar.set_postfix(self._postfix(), refresh=False)
        if self._config.evaluate_every and (last or self.epoch % self._config.evaluate_every == 0):
            self._evaluate()
        if self._config.checkpoint_every and self.epoch % self._config.checkpoint_every == 0 and not last:
            checkpoint = self._folder / "checkpoints" / f"epoch-{self.epoch:05d}"
            save_policy(self.model, checkpoint, metadata={"task": self._task, "epoch": self.epoch})
        self.logger.dump(self.epoch)
        self._bar.update()
        self._rewards.clear()
        self._penalties.clear()
        self._rollout_seconds = None
        self._started = time.perf_counter()

    def _evaluate(self) -> None:
        evaluation = evaluate(self.model, self._task, episodes=self._config.evaluation_episodes, seed=self._config.seed)
        self.last_evaluation = evaluation
        self.rows.append(
            EvaluationRow(
                epoch=self.epoch,
                updates=int(getattr(self.model, "_n_updates", 0)),
                seconds=self.seconds,
                return_mean=evaluation.mean,
                return_std=evaluation.std,
                normalised=evaluation.normalised,
            )
        )
        self.logger.record("evaluation/return_mean", evaluation.mean)
        if evaluation.normalised is not None:
            self.logger.record("evaluation/normalised", evaluation.normalised)
        self._bar.set_postfix(self._postfix(), refresh=False)
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, [field.name for field in fields(EvaluationRow)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        write_file(self._folder / "evaluations.csv", table.getvalue().encode())

    def _postfix(self) -> dict[str, str]:
        shown = {}
        if self._rewards:
            shown = {"reward": f"{np.mean(self._rewards):.2f}", "penalty": f"{np.mean(self._penalties):.2f}"}
        if self.last_evaluation is not None:
            shown["return"] = f"{self.last_evaluation.mean:.0f}"
        return shown
