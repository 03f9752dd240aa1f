"""Train an agent on a task, and write the record of the run into a folder."""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger, configure
from tqdm import tqdm

from mopo_agents._utils.hints import terminal_rows_hint
from mopo_agents._utils.threads import torch_threads
from mopo_agents.agents import fast_path, make_agent, make_offline_agent
from mopo_agents.baselines.offline import OfflineAgent
from mopo_agents.evaluation import Evaluation, check_spaces
from mopo_agents.policies import save_policy
from mopo_agents.runs.callback import EpochCallback, EvaluationRow, ModelRow, policy_metadata
from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.identity import describe
from mopo_agents.runs.method_ensembles import ensemble_with
from mopo_agents.runs.resolve import ResolvedRun, resolve
from mopo_env._utils.store import json_text, write_file
from mopo_env.envs.make import load_shared_dataset, make_penalized_model, resolve_penalty
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError
from mopo_env.real.real_env import make_real_env
from mopo_env.transitions import Transitions

__all__ = ["TrainResult", "train"]


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
        final: The evaluation of the last policy; None without evaluations.
        diverged_epoch: The epoch in which weights or losses became non-finite, or None. Only agents without a model
            detect this. The run ends there, and its policy is that of the epoch before.
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
    diverged_epoch: int | None = None


def train(
    config: TrainConfig,
    *,
    folder: Path | str | None = None,
    agent_class: type[BaseAlgorithm] | None = None,
    progress: bool = True,
) -> TrainResult:
    """Run MOPO (paper, Algorithm 2, lines 2 to 11) with Stable-Baselines3's `learn`, or run a baseline.

    An agent of `mopo_agents.baselines` learns from the dataset alone. It loads no model, and its epoch is
    `gradient_steps` updates.

    The folder gets ``config.json``, ``progress.csv``, TensorBoard's events, ``evaluations.csv``, the last policy,
    ``checkpoints/`` and ``result.json``.

    Args:
        config: The options of the run.
        folder: The folder of its files, which must not hold a run. None: a new folder in ``runs/``.
        agent_class: Any Stable-Baselines3 class, instead of the agent that `config` names.
        progress: Whether to show a progress bar.

    Raises:
        ConfigError: If an option is wrong or does not fit the agent, the policy cannot be saved, or the folder holds a
            run.
        DatasetError: If the data are missing or wrong, or do not have the widths of the real environment.
        StoreError: If there is no ensemble, a file is damaged, or the folder cannot be written.
        MissingExtraError: If the agent or the evaluation needs a package that is not installed.
    """
    if folder is not None and (Path(folder) / "config.json").exists():
        raise ConfigError(f"{folder} already holds a run. Choose another folder, or remove this one.")
    with torch_threads(config.threads):
        run = resolve(config, agent_class)
        transitions = load_shared_dataset(run.dataset)
        _check_real_env(run, transitions)
        without_model = issubclass(run.agent_class, OfflineAgent)
        penalized_model = None if without_model else _penalized_model(run, progress=progress)
        agent = _agent(run, transitions, penalized_model)
        with tempfile.TemporaryDirectory() as trial:
            save_policy(agent, trial)  # a policy that cannot be saved fails here, not after hours of training
        folder = _new_folder(run.name) if folder is None else Path(folder)
        write_file(folder / "config.json", json_text(describe(run, transitions, penalized_model)))
        if progress:
            tqdm.write(_announcement(run, transitions))
            if not without_model:
                tqdm.write(fast_path(agent))
        epochs = EpochCallback(run, folder, progress=progress)
        _learn(agent, run, epochs)
        return _save(agent, run, transitions, epochs)


def _check_real_env(run: ResolvedRun, transitions: Transitions) -> None:
    """Build the real environment once, so that errors come before the training."""
    if run.config.evaluate_every and run.task.real_env_id is not None:
        with make_real_env(run.task) as real_env:
            check_spaces(transitions, real_env, run.task)


def _penalized_model(run: ResolvedRun, *, progress: bool) -> PenalizedModel:
    """Return the model in which the agent trains. Fit the method's ensemble if there is none yet."""
    config, ensemble = run.config, run.config.ensemble
    # This comes first because it can fail, and the fit of an ensemble takes minutes.
    penalty = resolve_penalty(run.penalty, run.task, run.dataset)
    if ensemble is None and run.method.fit:
        fitted = ensemble_with(run.method.fit, run.dataset, device=config.device, progress=progress)
        ensemble = None if fitted is None else str(fitted)
    of_steps: dict[str, Any] = {name: getattr(config, name) for name in _OF_STEPS}
    if not config.envelope:
        of_steps |= {"envelope_margin": None, "envelope_quantile": None}
    return make_penalized_model(
        run.task,
        dataset=config.dataset,
        ensemble=ensemble,
        allow_other_data=config.allow_other_data,
        penalty=penalty,
        mean_penalty=config.mean_penalty,
        **of_steps,
        precision=config.precision,
        device=config.device,
    )


_OF_STEPS = ("member_per", "deterministic", "envelope_margin", "envelope_quantile", "exit_reward", "on_exit")


def _agent(run: ResolvedRun, transitions: Transitions, penalized_model: PenalizedModel | None) -> BaseAlgorithm:
    config = run.config
    shared = {"standardise": run.standardise, "seed": config.seed, "device": config.device, **run.agent_options}
    if penalized_model is None:
        return make_offline_agent(run.agent_class, transitions, gradient_steps=config.gradient_steps, **shared)
    for_buffers = ("gradient_steps", "real_ratio", "retain_epochs")
    return make_agent(
        run.agent_class,
        penalized_model,
        horizon=run.task.horizon,
        rollout_batch_size=run.rollout_batch_size,
        **{name: run.options[name] for name in for_buffers if run.options[name] is not None},
        fast=config.fast,
        random_rollouts=run.task.rollout_policy == "random",
        overlap=config.overlap,
        **shared,
    )


def _learn(agent: BaseAlgorithm, run: ResolvedRun, epochs: EpochCallback) -> None:
    without_model = isinstance(agent, OfflineAgent)
    steps_per_epoch = run.config.gradient_steps if without_model else run.rollout_batch_size * run.task.horizon
    formats = ["csv", "tensorboard"] if importlib.util.find_spec("tensorboard") is not None else ["csv"]
    agent.set_logger(configure(str(epochs.folder), formats))
    try:
        agent.learn(
            run.config.epochs * steps_per_epoch,
            callback=epochs,
            log_interval=None,  # type: ignore[arg-type]  # SB3 accepts None, which turns its own log lines off
        )
    finally:
        # SB3 does not close the files of its logger. With an empty logger, the agent can still learn afterwards.
        agent.logger.close()
        agent.set_logger(Logger(folder=None, output_formats=[]))


def _save(agent: BaseAlgorithm, run: ResolvedRun, transitions: Transitions, epochs: EpochCallback) -> TrainResult:
    """Write the last policy and ``result.json``."""
    diverged_epoch = epochs.epoch if isinstance(agent, OfflineAgent) and agent.diverged else None
    last_epoch = epochs.epoch if diverged_epoch is None else diverged_epoch - 1
    save_policy(agent, epochs.folder, metadata=policy_metadata(run.task, last_epoch))
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
        final=epochs.last_evaluation,
        diverged_epoch=diverged_epoch,
    )
    summary = {
        "task": run.task.name,
        **{f"dataset_{name}": getattr(result, f"dataset_{name}") for name in ("mean", "max", "reward", "terminated")},
        "model_first_epoch": asdict(result.model_rows[0]) if result.model_rows else None,
        "model_last_epoch": asdict(result.model_rows[-1]) if result.model_rows else None,
        "real_env": run.task.real_env_id,
        "evaluations": [asdict(row) for row in result.evaluations],
        "final_returns": None if result.final is None else result.final.returns,
        "epochs": epochs.epoch,
        "diverged_epoch": diverged_epoch,
        "updates": int(getattr(agent, "_n_updates", 0)),
        "seconds": epochs.seconds,
    }
    write_file(epochs.folder / "result.json", json_text(summary))
    return result


def _new_folder(name: str) -> Path:
    folder, number = Path("runs") / name, 2
    while folder.exists():
        folder, number = Path("runs") / f"{name}-{number}", number + 1
    return folder


def _announcement(run: ResolvedRun, transitions: Transitions) -> str:
    """Return the settings that the user may not have chosen, to show them before the training."""
    task = run.task
    real_env = task.real_env_id or "none, so the policy is not evaluated"
    if issubclass(run.agent_class, OfflineAgent):
        return f"{task.label}: {run.config.agent} learns from the dataset alone, real environment: {real_env}"
    chosen = f"h = {task.horizon}, λ = {task.penalty_coef:g}, termination: {task.termination}"
    line = f"{task.label}: {chosen}, real environment: {real_env}"
    hint = terminal_rows_hint(transitions, task.name) if task.recipe is None and task.termination == "never" else ""
    return f"{line}\n{hint}" if hint else line
