"""The training itself, and what it leaves: the last policy and ``result.json``, also after a divergence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger

from mopo_agents._utils.machine import machine
from mopo_agents._utils.outputs import save_or_rescue
from mopo_agents.baselines.offline import OfflineAgent
from mopo_agents.evaluation import Evaluation
from mopo_agents.policies import load_policy
from mopo_agents.runs.callback import EpochCallback, Watcher
from mopo_agents.runs.logs import make_logger
from mopo_agents.runs.policy_files import policy_metadata
from mopo_agents.runs.resolve import ResolvedRun
from mopo_agents.runs.rows import EvaluationRow, ModelRow, ScoreRow
from mopo_agents.runs.watch import cause_of_failure
from mopo_env._utils.json_files import json_text
from mopo_env._utils.store import write_file
from mopo_env.errors import DivergenceError, StoreError
from mopo_env.transitions import Transitions


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The result of a run.

    Attributes:
        run: The run.
        folder: The folder of all its files.
        agent: The trained agent.
        dataset_mean: Mean episode return of the dataset.
        dataset_max: Largest episode return of the dataset.
        dataset_reward: Mean reward of the dataset's transitions.
        dataset_terminated: Share of the dataset's transitions that end in a terminal state.
        model_rows: Means over the rollouts of each epoch, in order; empty without a model.
        evaluations: All evaluations, in order.
        scores: The scores of policies by the model alone, in order; empty without a model.
        final: The evaluation of the last policy; None without evaluations.
        resumed: A record of each resume: after which epoch, and what was different on that machine. If there is a
            difference, the run may not be bit-identical to an uninterrupted one.
    """

    run: ResolvedRun
    folder: Path
    agent: BaseAlgorithm
    dataset_mean: float
    dataset_max: float
    dataset_reward: float
    dataset_terminated: float
    model_rows: tuple[ModelRow, ...]
    evaluations: tuple[EvaluationRow, ...]
    final: Evaluation | None
    scores: tuple[ScoreRow, ...] = ()
    resumed: tuple[Mapping[str, Any], ...] = ()


def learn_and_save(
    agent: BaseAlgorithm,
    run: ResolvedRun,
    transitions: Transitions,
    epochs: EpochCallback,
    callback: BaseCallback | None = None,
) -> TrainResult:
    """Train, and write the result: after a divergence, that of the epoch before."""
    try:
        _learn(agent, run, epochs, callback)
    except (ValueError, RuntimeError) as error:
        found = str(error) if isinstance(error, DivergenceError) else cause_of_failure(agent, error)
        if found is None:
            raise
        cause, quantity = error, found
    else:
        return _save(agent, run, transitions, epochs)
    _save(agent, run, transitions, epochs, diverged=quantity)
    raise DivergenceError(
        f"epoch {epochs.epoch + 1}: {quantity}. The run has ended, and {epochs.folder} holds the policy of epoch "
        f"{epochs.epoch}. A smaller learning rate or a shorter horizon may keep the numbers finite."
    ) from cause


def _learn(agent: BaseAlgorithm, run: ResolvedRun, epochs: EpochCallback, callback: BaseCallback | None) -> None:
    without_model = isinstance(agent, OfflineAgent)
    steps_per_epoch = run.config.gradient_steps if without_model else run.rollout_batch_size * run.task.horizon
    agent.set_logger(make_logger(epochs.folder, epochs.table, epoch=epochs.epoch))
    try:
        agent.learn(
            (run.config.epochs - epochs.epoch) * steps_per_epoch,
            callback=epochs if callback is None else CallbackList([epochs, Watcher(callback)]),
            log_interval=None,  # type: ignore[arg-type]  # SB3 accepts None, which turns its own log lines off
            reset_num_timesteps=epochs.epoch == 0,
        )
    finally:
        # SB3 does not close the files of its logger. With an empty logger, the agent can still learn afterwards.
        agent.logger.close()
        agent.set_logger(Logger(folder=None, output_formats=[]))


def _save(
    agent: BaseAlgorithm,
    run: ResolvedRun,
    transitions: Transitions,
    epochs: EpochCallback,
    *,
    diverged: str | None = None,
) -> TrainResult:
    """Write the policy of the last finished epoch and ``result.json``.

    Raises:
        StoreError: If they cannot be written. The policy is then elsewhere, and the message says where.
    """
    metadata = policy_metadata(run.task, epochs.epoch)
    try:
        save_or_rescue(lambda folder: epochs.policy.write(folder, metadata), epochs.folder)
    except StoreError as error:
        raise StoreError(f"{error} `mopo train --resume {epochs.folder}` then writes the rest.") from error
    if diverged is not None and epochs.evaluates:
        epochs.evaluate(load_policy(epochs.folder, agent=run.agent_class))
    returns = transitions.episode_returns
    result = TrainResult(
        run=run,
        folder=epochs.folder,
        agent=agent,
        dataset_mean=float(returns.mean()),
        dataset_max=float(returns.max()),
        dataset_reward=float(transitions.rewards.mean(dtype=np.float64)),
        dataset_terminated=float(transitions.terminations.mean()),
        model_rows=tuple(epochs.model_rows),
        evaluations=tuple(epochs.rows),
        scores=tuple(epochs.watch.scores),
        final=epochs.last_evaluation,
        resumed=tuple(epochs.resumed),
    )
    summary = {
        "task": run.task.name,
        **{f"dataset_{name}": getattr(result, f"dataset_{name}") for name in ("mean", "max", "reward", "terminated")},
        "model_first_epoch": asdict(result.model_rows[0]) if result.model_rows else None,
        "model_last_epoch": asdict(result.model_rows[-1]) if result.model_rows else None,
        "real_env": run.task.real_env_id,
        "evaluations": [asdict(row) for row in result.evaluations],
        "final_returns": None if result.final is None else result.final.returns,
        "scores": epochs.watch.notes()["scores"],
        "alarms": epochs.watch.alarms,
        "epochs": epochs.epoch,
        "diverged_epoch": None if diverged is None else epochs.epoch + 1,
        "diverged_quantity": diverged,
        "resumed": result.resumed,
        "updates": epochs.updates,
        "seconds": epochs.seconds,
        "machine": machine(agent.device),
    }
    write_file(epochs.folder / "result.json", json_text(summary))
    return result
