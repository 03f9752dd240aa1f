"""The work between two epochs of training: logs, evaluations, checkpoints and the progress bar."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from mopo_agents.evaluation import Evaluation, evaluate, evaluation_seed
from mopo_agents.policies import save_policy
from mopo_agents.runs.resolve import ResolvedRun
from mopo_agents.runs.results import csv_text
from mopo_agents.vec_env import RolloutInfos
from mopo_env._utils.store import write_file
from mopo_env.envs.envelope import EXITS
from mopo_env.tasks import Task

__all__ = ["EpochCallback", "EvaluationRow", "ModelRow", "policy_metadata"]


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """Means over the b·h model transitions of one epoch.

    Attributes:
        reward: r̃, the reward that the agent gets.
        model_reward: r̂, the model's reward before the penalty. Compare it with the dataset's mean reward.
        penalty: u(s, a).
        terminated: Share of the transitions that end in a terminal state, by the termination rule or the envelope.
        non_finite: Share of the transitions that leave the envelope because the prediction is not finite.
        outside: Share that leaves it because the prediction is outside the data's range.
        uncertain: Share that leaves it because the penalty is too large.
    """

    reward: float
    model_reward: float
    penalty: float
    terminated: float
    non_finite: float = 0.0
    outside: float = 0.0
    uncertain: float = 0.0


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """One line of ``evaluations.csv``.

    Attributes:
        seed: Seed of the start states, different in each evaluation. ``mopo evaluate --seed`` repeats them.
        seconds: Training time so far, without evaluations.
        return_mean: Mean return in the real environment.
        return_std: Its standard deviation over episodes.
        normalised: The mean on D4RL's scale; None if the task has no such scale.
    """

    epoch: int
    updates: int
    seed: int
    seconds: float
    return_mean: float
    return_std: float
    normalised: float | None


class EpochCallback(BaseCallback):
    """Logs, evaluates and saves a run after each epoch, without any effect on the training.

    Evaluations draw no random numbers from the agent's generators, so the run ends with the same weights without them.

    Attributes:
        epoch: Number of finished epochs.
        rows: The evaluations so far.
        model_rows: The means of each epoch's rollouts so far; empty if the agent learns from the dataset alone.
        last_evaluation: The latest evaluation, with every episode.
        seconds: Training time, without evaluations and checkpoints.
    """

    def __init__(self, run: ResolvedRun, folder: Path, *, progress: bool) -> None:
        super().__init__()
        self.epoch = 0
        self.rows: list[EvaluationRow] = []
        self.model_rows: list[ModelRow] = []
        self.last_evaluation: Evaluation | None = None
        self.seconds = 0.0
        self.folder = folder
        self._config, self._task = run.config, run.task
        self._bar = tqdm(total=run.config.epochs, desc=f"train {run.task.label}", unit="epoch", disable=not progress)
        self._evaluate_every = 0 if run.task.real_env_id is None else run.config.evaluate_every
        self._steps: list[list[float]] = []
        self._rollout_seconds: float | None = None  # of the last rollout

    def _on_training_start(self) -> None:
        self._started = time.perf_counter()

    def _on_step(self) -> bool:
        infos = self.locals.get("infos")
        if isinstance(infos, RolloutInfos):  # agents that learn from the dataset alone have none
            step = infos.step
            reasons = [step.exits == code for code in range(1, len(EXITS))]
            columns = (step.rewards, step.model_rewards, step.penalties, step.terminations, *reasons)
            self._steps.append(torch.stack([torch.as_tensor(column).double().mean() for column in columns]).tolist())
        return True

    def _on_rollout_end(self) -> None:
        self._rollout_seconds = time.perf_counter() - self._started

    def _on_rollout_start(self) -> None:
        # An off-policy agent updates after a rollout, so its epoch ends when the next rollout starts.
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
        if self._steps:
            means = (float(np.mean(column)) for column in zip(*self._steps, strict=True))
            row = ModelRow(**dict(zip((column.name for column in fields(ModelRow)), means, strict=True)))
            self.model_rows.append(row)
            record("mopo/reward_mean", row.reward)
            record("mopo/model_reward_mean", row.model_reward)
            record("mopo/penalty_mean", row.penalty)
            record("mopo/terminated_share", row.terminated)
            for reason in ("non_finite", "outside", "uncertain"):
                record(f"mopo/{reason}_share", getattr(row, reason))
        record("time/seconds", self.seconds)
        record("time/rollout_seconds", rollout_seconds)
        record("time/update_seconds", seconds - rollout_seconds)
        self._bar.set_postfix(self._postfix(), refresh=False)
        if self._evaluate_every and (last or self.epoch % self._evaluate_every == 0):
            self._evaluate()
        if self._config.checkpoint_every and self.epoch % self._config.checkpoint_every == 0 and not last:
            checkpoint = self.folder / "checkpoints" / f"epoch-{self.epoch:05d}"
            save_policy(self.model, checkpoint, metadata=policy_metadata(self._task, self.epoch))
        self.logger.dump(self.epoch)
        self._bar.update()
        self._steps.clear()
        self._started = time.perf_counter()

    def _evaluate(self) -> None:
        seed = evaluation_seed(self._config.seed, self.epoch)
        evaluation = evaluate(self.model, self._task, episodes=self._config.evaluation_episodes, seed=seed)
        self.last_evaluation = evaluation
        self.rows.append(
            EvaluationRow(
                epoch=self.epoch,
                updates=int(getattr(self.model, "_n_updates", 0)),
                seed=seed,
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
        write_file(self.folder / "evaluations.csv", csv_text(self.rows).encode())

    def _postfix(self) -> dict[str, str]:
        shown = {}
        if self.model_rows:
            row = self.model_rows[-1]
            shown["model reward"] = f"{row.model_reward:.2f}"
            shown["penalty"] = f"{row.penalty:.2f}"
            shown["terminated"] = f"{row.terminated:.1%}"
            if left := row.non_finite + row.outside + row.uncertain:
                shown["left the data"] = f"{left:.1%}"
        if self.last_evaluation is not None:
            shown["return"] = f"{self.last_evaluation.mean:.0f}"
        return shown


def policy_metadata(task: Task, epoch: int) -> dict[str, Any]:
    """Return what is saved with a policy. The user's own data have a path as their name, so only their label."""
    return {"task": None if task.recipe is None else task.name, "trained_on": task.label, "epoch": epoch}
