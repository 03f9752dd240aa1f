"""The work between two epochs of training: logs, evaluations, checkpoints, saved states and the progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from mopo_agents._utils.csv_tables import csv_text
from mopo_agents.evaluation import Evaluation, Policy, evaluate, evaluation_seed
from mopo_agents.policies import SavedPolicy, copy_policy
from mopo_agents.runs.logs import ProgressTable
from mopo_agents.runs.policy_files import checkpoint_folder, policy_metadata, remove_checkpoints_after
from mopo_agents.runs.resolve import ResolvedRun
from mopo_agents.runs.rows import EvaluationRow, ModelRow
from mopo_agents.runs.run_state import RunState
from mopo_agents.runs.watch import Watch, non_finite_quantity
from mopo_agents.vec_env import RolloutInfos
from mopo_env._utils.progress import progress_bar
from mopo_env._utils.store import write_file
from mopo_env.envs.envelope import EXITS
from mopo_env.errors import DivergenceError


class Watcher(CallbackList):
    """Calls the user's callback, and trains on whatever it returns: the number of epochs is the run's."""

    def __init__(self, callback: BaseCallback) -> None:
        """Keep the callback."""
        super().__init__([callback])

    def _on_step(self) -> bool:
        super()._on_step()
        return True


class EpochCallback(BaseCallback):
    """Logs, evaluates and saves a run after each epoch, without any effect on the training.

    Evaluations draw no random numbers from the agent's generators, so the run ends with the same weights without them.

    Attributes:
        policy: A copy of the policy after the finished epochs, in which everything is finite.
        rows: The evaluations so far.
        model_rows: The means of each epoch's rollouts so far; empty if the agent learns from the dataset alone.
        last_evaluation: The latest evaluation of this process, with every episode.
        resumed: A record of each resume of the run: after which epoch, and what was different on that machine.
        seconds: Training time, without evaluations and saving.
        table: The content of ``progress.csv``.
    """

    policy: SavedPolicy

    def __init__(
        self,
        run: ResolvedRun,
        folder: Path,
        *,
        state: RunState | None,
        interrupted: Callable[[], bool],
        progress: bool,
    ) -> None:
        """Set up a run, saved in `state` (None: nowhere), that stops after an epoch in which it is `interrupted`."""
        super().__init__()
        self.epoch = self.updates = 0
        self.rows: list[EvaluationRow] = []
        self.watch = Watch(run.config)
        self.model_rows: list[ModelRow] = []
        self.last_evaluation: Evaluation | None = None
        self.resumed: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.folder = folder
        self.table = ProgressTable(folder / "progress.csv")
        self._run, self._state, self._interrupted = run, state, interrupted
        self._bar = progress_bar(total=run.config.epochs, desc=f"train {run.task.label}", unit="epoch", show=progress)
        self._evaluate_every = 0 if run.task.real_env_id is None else run.config.evaluate_every
        self._steps: list[list[float]] = []
        self._rollout_seconds: float | None = None  # of the last rollout
        self._saved_at = time.monotonic()

    def restore(self, agent: Any) -> None:
        """Continue from the saved state, or from the start if there is none. Later files of the run are removed."""
        found = None if self._state is None else self._state.restore(agent)
        notes, differences = ({}, []) if found is None else found
        self.epoch, self.seconds = notes.get("epoch", 0), notes.get("seconds", 0.0)
        self.rows = [EvaluationRow(**row) for row in notes.get("evaluations", [])]
        self.model_rows = [ModelRow(**row) for row in notes.get("model_rows", [])]
        self.watch.restore(notes)
        self.resumed = [*notes.get("resumed", []), {"after_epoch": self.epoch, "differences": differences}]
        self.table = ProgressTable(self.folder / "progress.csv", notes.get("progress", ""))
        remove_checkpoints_after(self.folder, self.epoch)
        self._write_rows()
        self._bar.initial = self._bar.n = self.epoch  # else its rate would count epochs of before

    def _on_training_start(self) -> None:
        self._keep_policy()
        self.watch.begin(self.model)
        self._started = time.perf_counter()

    def _on_step(self) -> bool:
        infos = self.locals.get("infos")
        if isinstance(infos, RolloutInfos):  # agents that learn from the dataset alone have none
            step = infos.step
            reasons = [step.exits == code for code in range(1, len(EXITS))]
            columns = (step.rewards, step.model_rewards, step.penalties, step.terminations, *reasons)
            self._steps.append(torch.stack([torch.as_tensor(column).double().mean() for column in columns]).tolist())
        return not self.watch.stopped

    def _on_rollout_end(self) -> None:
        self._rollout_seconds = time.perf_counter() - self._started

    def _on_rollout_start(self) -> None:
        # An off-policy agent updates after a rollout, so its epoch ends when the next rollout starts.
        if self._rollout_seconds is None:
            return
        self._finish_epoch(self._rollout_seconds, last=False)
        config = self._run.config
        due = config.save_every is not None and time.monotonic() - self._saved_at >= 60.0 * config.save_every
        if due or self._interrupted():
            self._save()
        if self._interrupted():
            raise KeyboardInterrupt
        self._started = time.perf_counter()

    def _on_training_end(self) -> None:
        if self._rollout_seconds is not None and not self.watch.stopped:
            self._finish_epoch(self._rollout_seconds, last=True)

    def close(self) -> None:
        """Close the progress bar."""
        self._bar.close()

    def _finish_epoch(self, rollout_seconds: float, *, last: bool) -> None:
        seconds = time.perf_counter() - self._started
        quantity = non_finite_quantity(self.model)
        record = self.logger.record
        record("mopo/epoch", self.epoch + 1)
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
        self.seconds += seconds
        record("time/seconds", self.seconds)
        record("time/rollout_seconds", rollout_seconds)
        record("time/update_seconds", seconds - rollout_seconds)
        if quantity is not None:
            self.logger.dump(self.epoch + 1)
            raise DivergenceError(quantity)
        self.epoch += 1
        self._keep_policy()
        self._bar.set_postfix(self._postfix(), refresh=False)
        is_best = self.watch.look(self.model, self.epoch, last=last)
        self._write_rows()
        last = last or self.watch.stopped
        if self._evaluate_every and (last or self.epoch % self._evaluate_every == 0):
            is_best |= self.evaluate(self.model)
            self.logger.record("evaluation/return_mean", self.rows[-1].return_mean)
            if self.rows[-1].normalised is not None:
                self.logger.record("evaluation/normalised", self.rows[-1].normalised)
        every = self._run.config.checkpoint_every
        if every and (is_best or self.epoch % every == 0) and not last:
            folder = checkpoint_folder(self.folder, self.epoch)
            self.policy.write(folder, policy_metadata(self._run.task, self.epoch))
        self.logger.dump(self.epoch)
        self._bar.update()
        self._steps.clear()

    def evaluate(self, policy: Policy) -> bool:
        """Evaluate the policy of the last finished epoch, and return whether it is the best so far."""
        config, task = self._run.config, self._run.task
        seed = evaluation_seed(config.seed, self.epoch)
        evaluation = evaluate(policy, task, episodes=config.evaluation_episodes, seed=seed)
        is_best = all(evaluation.mean > row.return_mean for row in self.rows)
        self.last_evaluation = evaluation
        self.rows.append(
            EvaluationRow(
                epoch=self.epoch,
                updates=self.updates,
                seed=seed,
                seconds=self.seconds,
                return_mean=evaluation.mean,
                return_std=evaluation.std,
                normalised=evaluation.normalised,
            )
        )
        self._bar.set_postfix(self._postfix(), refresh=False)
        self._write_rows()
        return is_best

    @property
    def evaluates(self) -> bool:
        """Whether the run evaluates, and has not yet evaluated the policy of the last finished epoch."""
        return bool(self._evaluate_every) and self.epoch not in [row.epoch for row in self.rows]

    def _keep_policy(self) -> None:
        self.policy, self.updates = copy_policy(self.model), int(getattr(self.model, "_n_updates", 0))

    def _save(self) -> None:
        if self._state is not None:
            notes = {
                "epoch": self.epoch,
                "seconds": self.seconds,
                "progress": self.table.text,
                "evaluations": [asdict(row) for row in self.rows],
                **self.watch.notes(),
                "model_rows": [asdict(row) for row in self.model_rows],
                "resumed": self.resumed,
            }
            self._state.save(self.model, notes)
        self._saved_at = time.monotonic()

    def _write_rows(self) -> None:
        tables: dict[str, list[Any]] = {"evaluations.csv": self.rows, "scores.csv": self.watch.scores}
        for name, rows in tables.items():
            if rows:
                write_file(self.folder / name, csv_text(rows).encode())
            else:
                (self.folder / name).unlink(missing_ok=True)

    def _postfix(self) -> dict[str, str]:
        shown = {}
        if self.model_rows:
            row = self.model_rows[-1]
            shown["model reward"] = f"{row.model_reward:.2f}"
            shown["penalty"] = f"{row.penalty:.2f}"
            shown["terminated"] = f"{row.terminated:.1%}"
            if left := row.non_finite + row.outside + row.uncertain:
                shown["left the data"] = f"{left:.1%}"
        if self.rows:
            shown["return"] = f"{self.rows[-1].return_mean:.0f}"
        return shown
