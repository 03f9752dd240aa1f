"""What happens between two epochs of training: logs, evaluations, checkpoints, the progress bar."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from mopo_agents.evaluation import Evaluation, evaluate, evaluation_seed
from mopo_agents.policies import save_policy
from mopo_agents.runs.resolve import ResolvedRun
from mopo_agents.vec_env import RolloutInfos
from mopo_env._utils.store import write_file
from mopo_env.tasks import Task

__all__ = ["EpochCallback", "EvaluationRow", "ModelRow", "policy_metadata"]


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """What an epoch's rollouts in the model were like: means over its b·h transitions.

    Attributes:
        reward: r̃, what the agent was paid.
        model_reward: r̂, what the model paid before the penalty: to be compared with the dataset's mean reward.
        penalty: u(s, a).
        terminated: Share of the transitions that ended in a terminal state, as the termination rule has it.
    """

    reward: float
    model_reward: float
    penalty: float
    terminated: float


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """One line of ``evaluations.csv``.

    Attributes:
        epoch: Epochs done.
        updates: Gradient steps done.
        seed: Of the start states: other ones in each evaluation, and the same for ``mopo evaluate --seed``.
        seconds: Since the start of training, evaluations left out.
        return_mean: Mean return in the real environment.
        return_std: Its standard deviation over episodes.
        normalised: The mean on D4RL's scale, or None for tasks without one.
    """

    epoch: int
    updates: int
    seed: int
    seconds: float
    return_mean: float
    return_std: float
    normalised: float | None


class EpochCallback(BaseCallback):
    """Follows a run epoch by epoch, and touches nothing of it.

    An evaluation draws no random number of the agent's and hands nothing back to it: a run with evaluations ends
    with the same weights as one without.

    Attributes:
        folder: Where the files of the run go.
        epoch: Epochs done.
        rows: The evaluations so far.
        model_rows: The rollouts of each epoch so far; none where the agent learns from the dataset alone.
        last_evaluation: The latest of them, episode by episode.
        seconds: Time spent training, evaluations and checkpoints left out.
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
        self._steps: list[ModelRow] = []
        self._rollout_seconds: float | None = None  # of the last rollout

    def _on_training_start(self) -> None:
        self._started = time.perf_counter()

    def _on_step(self) -> bool:
        infos = self.locals.get("infos")
        if not isinstance(infos, RolloutInfos):  # an agent that learns from the dataset alone takes no steps
            return True
        step = infos.step
        columns = (step.rewards, step.model_rewards, step.penalties, step.terminations)
        means = torch.stack([torch.as_tensor(column).double().mean() for column in columns]).tolist()
        self._steps.append(
            ModelRow(**dict(zip(("reward", "model_reward", "penalty", "terminated"), means, strict=True)))
        )
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
        if self._steps:
            row = _mean_row(self._steps)
            self.model_rows.append(row)
            record("mopo/reward_mean", row.reward)
            record("mopo/model_reward_mean", row.model_reward)
            record("mopo/penalty_mean", row.penalty)
            record("mopo/terminated_share", row.terminated)
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
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, [field.name for field in fields(EvaluationRow)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        write_file(self.folder / "evaluations.csv", table.getvalue().encode())

    def _postfix(self) -> dict[str, str]:
        shown = {}
        if self.model_rows:
            row = self.model_rows[-1]
            shown["model reward"] = f"{row.model_reward:.2f}"
            shown["penalty"] = f"{row.penalty:.2f}"
            shown["terminated"] = f"{row.terminated:.1%}"
        if self.last_evaluation is not None:
            shown["return"] = f"{self.last_evaluation.mean:.0f}"
        return shown


def policy_metadata(task: Task, epoch: int) -> dict[str, Any]:
    """Return what to remember beside a policy; of data of one's own the label, since their name is a path."""
    return {"task": None if task.recipe is None else task.name, "trained_on": task.label, "epoch": epoch}


def _mean_row(rows: Sequence[ModelRow]) -> ModelRow:
    return ModelRow(
        **{field.name: float(np.mean([getattr(row, field.name) for row in rows])) for field in fields(ModelRow)}
    )
