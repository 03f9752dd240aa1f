"""Train an agent on a task, and leave a folder that tells what happened."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from mopo_agents.agents import agent_name, find_agent, make_agent, make_offline_agent
from mopo_agents.baselines.offline import OfflineAgent
from mopo_agents.config import MODEL_OPTIONS, TrainConfig
from mopo_agents.epochs import EpochCallback, EvaluationRow
from mopo_agents.evaluation import Evaluation, check_spaces
from mopo_agents.policy_files import save_policy
from mopo_env.datasets.locate import find_dataset
from mopo_env.errors import ConfigError
from mopo_env.make import make_simulator
from mopo_env.real_env import make_real_env
from mopo_env.store import json_text, write_file
from mopo_env.tasks import Task, get_task
from mopo_env.transitions import Transitions

__all__ = ["TrainResult", "train"]


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run ended with.

    Attributes:
        folder: Where everything lies.
        agent: The trained agent.
        dataset_mean: Mean episode return of the dataset.
        dataset_max: Largest episode return of the dataset.
        evaluations: Every evaluation, in order.
        final: The evaluation of the last policy, or None if there was to be none.
        diverged_epoch: The epoch in which weights or losses of an agent without a model ceased to be finite, which
            ended the run, or None; the last policy is then that of the epoch before.
    """

    folder: Path
    agent: BaseAlgorithm
    dataset_mean: float
    dataset_max: float
    evaluations: tuple[EvaluationRow, ...]
    final: Evaluation | None
    diverged_epoch: int | None


@dataclass(frozen=True, kw_only=True)
class _Run:
    """An agent that is ready to learn.

    Attributes:
        agent: It.
        transitions: D_env.
        steps_per_epoch: What an epoch is in the units of the agent's `learn`.
        resolved: The options that the task or the kind of agent decided.
    """

    agent: BaseAlgorithm
    transitions: Transitions
    steps_per_epoch: int
    resolved: dict[str, Any]


def train(
    config: TrainConfig,
    *,
    folder: Path | str,
    agent_class: type[BaseAlgorithm] | None = None,
    agent_options: dict[str, Any] | None = None,
    progress: bool = True,
) -> TrainResult:
    """Run MOPO (paper, Algorithm 2, lines 2 to 11) with stock Stable-Baselines3, or what it is compared with.

    An agent of `mopo_agents.baselines` learns from the dataset alone: no model is loaded, and an epoch is
    `gradient_steps` updates.

    The folder then holds ``config.json``, ``progress.csv`` and TensorBoard's events, ``evaluations.csv``, the last
    policy, ``checkpoints/`` and ``result.json``.

    Args:
        config: The run.
        folder: Where its files go; must not hold a run already.
        agent_class: Any Stable-Baselines3 class, instead of the agent that `config` names.
        agent_options: Passed to the class, such as ``{"learning_rate": 1e-4}``.
        progress: Whether to show a progress bar.

    Raises:
        ConfigError: If an option is wrong, does not apply to the agent, or the folder holds a run.
        DatasetError: If the data are missing or wrong, or of other widths than the real environment's.
        StoreError: If there is no ensemble, a file is damaged, or the folder cannot be written.
        MissingExtraError: If the agent or the evaluation needs a package that is not installed.
    """
    folder = Path(folder)
    if (folder / "config.json").exists():
        raise ConfigError(f"{folder} already holds a run; choose another folder, or remove it first.")
    torch.set_num_threads(config.threads)
    task = get_task(config.task)
    found_class = find_agent(agent_class or config.agent)
    prepare = _offline_run if issubclass(found_class, OfflineAgent) else _model_run
    run = prepare(config, task, found_class, agent_options or {})
    agent = run.agent
    if config.evaluate_every:  # asked now, rather than after the first epochs
        with make_real_env(task.name) as real_env:
            check_spaces(agent, real_env, task)
    description = {
        **asdict(config),
        **run.resolved,
        "task": task.name,
        "agent": agent_name(found_class),
        "agent_options": {key: str(value) for key, value in (agent_options or {}).items()},
        "dataset_fingerprint": run.transitions.fingerprint,
    }
    write_file(folder / "config.json", json_text(description))
    formats = ["csv", "tensorboard"] if _has_tensorboard() else ["csv"]
    agent.set_logger(configure(str(folder), formats))
    epochs = EpochCallback(config, task.name, folder, progress=progress)
    try:
        agent.learn(
            config.epochs * run.steps_per_epoch,
            callback=epochs,
            log_interval=None,  # type: ignore[arg-type]  # SB3 accepts None: else it writes a line every few rollouts
        )
    finally:
        # SB3 leaves the files of a logger open. The agent gets one that writes nothing, so that it can learn on.
        agent.logger.close()
        agent.set_logger(Logger(folder=None, output_formats=[]))
    diverged_epoch = epochs.epoch if isinstance(agent, OfflineAgent) and agent.diverged else None
    last_epoch = epochs.epoch if diverged_epoch is None else diverged_epoch - 1
    save_policy(agent, folder, metadata={"task": task.name, "epoch": last_epoch})
    returns = run.transitions.episode_returns
    result = TrainResult(
        folder=folder,
        agent=agent,
        dataset_mean=float(returns.mean()),
        dataset_max=float(returns.max()),
        evaluations=tuple(epochs.rows),
        final=epochs.last_evaluation,
        diverged_epoch=diverged_epoch,
    )
    summary = {
        "task": task.name,
        "dataset_mean": result.dataset_mean,
        "dataset_max": result.dataset_max,
        "evaluations": [asdict(row) for row in result.evaluations],
        "final_returns": None if result.final is None else result.final.returns,
        "diverged_epoch": diverged_epoch,
        "seconds": epochs.seconds,
    }
    write_file(folder / "result.json", json_text(summary))
    return result


def _model_run(
    config: TrainConfig, task: Task, agent_class: type[BaseAlgorithm], agent_options: dict[str, Any]
) -> _Run:
    # On-policy agents evaluate the critic once for each truncated rollout, so many short rollouts are slow for them.
    default_batch = 1_024 if issubclass(agent_class, OnPolicyAlgorithm) else 50_000
    rollout_batch_size = config.rollout_batch_size or default_batch
    horizon = config.horizon or task.horizon
    random_rollouts = task.rollout_policy == "random" if config.random_rollouts is None else config.random_rollouts
    simulator = make_simulator(
        task.name,
        dataset=config.dataset,
        ensemble=config.ensemble,
        penalty=config.penalty,
        penalty_coef=config.penalty_coef,
        device=config.device,
    )
    agent = make_agent(
        agent_class,
        simulator,
        horizon=horizon,
        rollout_batch_size=rollout_batch_size,
        gradient_steps=config.gradient_steps,
        real_ratio=config.real_ratio,
        retain_epochs=config.retain_epochs,
        random_rollouts=random_rollouts,
        seed=config.seed,
        device=config.device,
        **agent_options,
    )
    resolved = {
        "rollout_batch_size": rollout_batch_size,
        "horizon": horizon,
        "penalty_coef": simulator.penalty_coef,
        "random_rollouts": random_rollouts,
    }
    return _Run(
        agent=agent,
        transitions=simulator.transitions,
        steps_per_epoch=rollout_batch_size * horizon,
        resolved=resolved,
    )


def _offline_run(
    config: TrainConfig, task: Task, agent_class: type[BaseAlgorithm], agent_options: dict[str, Any]
) -> _Run:
    defaults = {field.name: field.default for field in fields(config)}
    chosen = [name for name in MODEL_OPTIONS if getattr(config, name) != defaults[name]]
    if chosen:
        raise ConfigError(
            f"{', '.join(chosen)}: {agent_name(agent_class)} learns from the dataset alone, so there is no model for "
            "which this could be chosen. Leave it out."
        )
    transitions = find_dataset(config.dataset or task.name)
    agent = make_offline_agent(
        agent_class,
        transitions,
        gradient_steps=config.gradient_steps,
        seed=config.seed,
        device=config.device,
        **agent_options,
    )
    # Null, rather than the defaults of a model that was not there.
    resolved = dict.fromkeys(MODEL_OPTIONS)
    return _Run(agent=agent, transitions=transitions, steps_per_epoch=config.gradient_steps, resolved=resolved)


def _has_tensorboard() -> bool:
    return importlib.util.find_spec("tensorboard") is not None
