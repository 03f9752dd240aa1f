"""Train an agent on a task, and leave a folder that tells what happened."""

from __future__ import annotations

import importlib.util
import inspect
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from tqdm import tqdm

from mopo_agents.agents import agent_name, find_agent, make_agent
from mopo_agents.config import TrainConfig
from mopo_agents.epochs import EpochCallback, EvaluationRow, ModelRow, policy_metadata
from mopo_agents.evaluation import Evaluation, check_spaces
from mopo_agents.method_ensembles import ensemble_with
from mopo_agents.methods import changed_options, get_method, resolve
from mopo_agents.policy_files import save_policy
from mopo_env.errors import ConfigError
from mopo_env.make import find_penalty, make_simulator
from mopo_env.real_env import make_real_env
from mopo_env.store import json_text, write_file
from mopo_env.tasks import Task
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
        dataset_reward: Mean reward of the dataset's transitions.
        dataset_terminated: Share of the dataset's transitions that end in a terminal state.
        model_rows: What the rollouts of each epoch were like, in order.
        evaluations: Every evaluation, in order.
        final: The evaluation of the last policy, or None if there was to be none.
    """

    folder: Path
    agent: BaseAlgorithm
    dataset_mean: float
    dataset_max: float
    dataset_reward: float
    dataset_terminated: float
    model_rows: tuple[ModelRow, ...]
    evaluations: tuple[EvaluationRow, ...]
    final: Evaluation | None


def train(
    config: TrainConfig,
    *,
    folder: Path | str,
    agent_class: type[BaseAlgorithm] | None = None,
    agent_options: dict[str, Any] | None = None,
    progress: bool = True,
) -> TrainResult:
    """Run MOPO (paper, Algorithm 2, lines 2 to 11) with stock Stable-Baselines3.

    The folder then holds ``config.json``, ``progress.csv`` and TensorBoard's events, ``evaluations.csv``, the last
    policy, ``checkpoints/`` and ``result.json``.

    Args:
        config: The run.
        folder: Where its files go; must not hold a run already.
        agent_class: Any Stable-Baselines3 class, instead of the agent that `config` names.
        agent_options: Passed to the class, such as ``{"learning_rate": 1e-4}``.
        progress: Whether to show a progress bar.

    Raises:
        ConfigError: If an option is wrong, or the folder holds a run.
        DatasetError: If the data are missing or wrong, or of other widths than the real environment's.
        StoreError: If there is no ensemble, a file is damaged, or the folder cannot be written.
        MissingExtraError: If the agent or the evaluation needs a package that is not installed.
    """
    folder = Path(folder)
    if (folder / "config.json").exists():
        raise ConfigError(f"{folder} already holds a run; choose another folder, or remove it first.")
    changed, config = changed_options(config), resolve(config)
    torch.set_num_threads(config.threads)
    task, method = config.resolve(), get_method(str(config.method))
    found_class = find_agent(agent_class or str(config.agent))
    options = {**_options_of(found_class, config), **(agent_options or {})}
    # On-policy agents evaluate the critic once for each truncated rollout, so many short rollouts are slow for them.
    default_batch = 1_024 if issubclass(found_class, OnPolicyAlgorithm) else 50_000
    rollout_batch_size = config.rollout_batch_size or default_batch
    standardise = config.standardise
    if standardise is None:
        standardise = task.recipe is None and not found_class.__module__.startswith("sbx.")
    # Before an ensemble is fitted, which takes minutes.
    penalty, ensemble = find_penalty(_penalty_of(config), task, config.dataset or task.name), config.ensemble
    if ensemble is None and method.fit:
        fitted = ensemble_with(method.fit, config.dataset or task.name, device=config.device, progress=progress)
        ensemble = None if fitted is None else str(fitted)
    simulator = make_simulator(
        task,
        dataset=config.dataset,
        ensemble=ensemble,
        penalty=penalty,
        member_per=config.member_per,
        deterministic=config.deterministic,
        halt_threshold=config.halt_threshold,
        halt_reward=config.halt_reward,
        precision=config.precision,
        device=config.device,
    )
    agent = make_agent(
        found_class,
        simulator,
        horizon=task.horizon,
        rollout_batch_size=rollout_batch_size,
        gradient_steps=config.gradient_steps,
        real_ratio=config.real_ratio,
        retain_epochs=config.retain_epochs,
        random_rollouts=task.rollout_policy == "random",
        standardise=standardise,
        seed=config.seed,
        device=config.device,
        **options,
    )
    if config.evaluate_every and task.real_env_id is not None:  # asked now, rather than after the first epochs
        with make_real_env(task) as real_env:
            check_spaces(agent, real_env, task)
    description = {
        **asdict(config),
        "agent": agent_name(found_class),
        "rollout_batch_size": rollout_batch_size,
        "changed": changed,
        "ensemble_of_method": ensemble if method.fit else None,
        "halt_reward": None if config.halt_threshold is None else simulator.halt_reward,
        "termination": task.termination,
        "real_env": task.real_env_id,
        "standardise": standardise,
        "agent_options": {key: str(value) for key, value in options.items()},
        "dataset_fingerprint": simulator.transitions.fingerprint,
        "fit": getattr(simulator.model, "metadata", {}).get("config"),
    }
    write_file(folder / "config.json", json_text(description))
    formats = ["csv", "tensorboard"] if _has_tensorboard() else ["csv"]
    agent.set_logger(configure(str(folder), formats))
    if progress:
        tqdm.write(_announcement(task, simulator.transitions))
    epochs = EpochCallback(config, task, folder, progress=progress)
    try:
        agent.learn(
            config.epochs * rollout_batch_size * task.horizon,
            callback=epochs,
            log_interval=None,  # type: ignore[arg-type]  # SB3 accepts None: else it writes a line every few rollouts
        )
    finally:
        # SB3 leaves the files of a logger open. The agent gets one that writes nothing, so that it can learn on.
        agent.logger.close()
        agent.set_logger(Logger(folder=None, output_formats=[]))
    save_policy(agent, folder, metadata=policy_metadata(task, config.epochs))
    transitions = simulator.transitions
    returns = transitions.episode_returns
    result = TrainResult(
        folder=folder,
        agent=agent,
        dataset_mean=float(returns.mean()),
        dataset_max=float(returns.max()),
        dataset_reward=float(transitions.rewards.mean(dtype=np.float64)),
        dataset_terminated=float(transitions.terminations.mean()),
        model_rows=tuple(epochs.model_rows),
        evaluations=tuple(epochs.rows),
        final=epochs.last_evaluation,
    )
    summary = {
        "task": task.name,
        "dataset_mean": result.dataset_mean,
        "dataset_max": result.dataset_max,
        "dataset_reward": result.dataset_reward,
        "dataset_terminated": result.dataset_terminated,
        "model_first_epoch": asdict(result.model_rows[0]),
        "model_last_epoch": asdict(result.model_rows[-1]),
        "real_env": task.real_env_id,
        "evaluations": [asdict(row) for row in result.evaluations],
        "final_returns": None if result.final is None else result.final.returns,
        "epochs": config.epochs,
        "updates": int(getattr(agent, "_n_updates", 0)),
        "seconds": epochs.seconds,
    }
    write_file(folder / "result.json", json_text(summary))
    return result


def _penalty_of(config: TrainConfig) -> str | dict[str, Any]:
    """Return the penalty's name, with the options that were given."""
    given = {"members": config.penalty_members, "reward": config.penalty_reward, "units": config.penalty_units}
    options = {name: value for name, value in given.items() if value is not None}
    return {"name": str(config.penalty), **options} if options else str(config.penalty)


def _options_of(agent_class: type[BaseAlgorithm], config: TrainConfig) -> dict[str, Any]:
    """Return the options of `config` that are arguments of the agent's class.

    Raises:
        ConfigError: If the class has no such argument.
    """
    if config.target_entropy is None:
        return {}
    if "target_entropy" not in inspect.signature(agent_class).parameters:
        raise ConfigError(
            f"target_entropy: {agent_class.__name__} has none. Leave it out, or choose an agent that has one, "
            "such as SAC, TQC or CrossQ."
        )
    return {"target_entropy": config.target_entropy}


def _announcement(task: Task, transitions: Transitions) -> str:
    """Say what was chosen for the user, while there is time to choose otherwise."""
    lines = [
        f"{task.label}: h = {task.horizon}, λ = {task.penalty_coef:g}, termination: {task.termination}, "
        f"real environment: {task.real_env_id or 'none, so the policy is not evaluated'}"
    ]
    terminal = int(transitions.terminations.sum())
    if terminal and task.recipe is None and task.termination == "never":
        lines.append(
            f"{terminal:,} of {len(transitions):,} recorded transitions end in a terminal state, and no rollout will. "
            "Learn a rule with `mopo fit-termination`, or name one with --termination."
        )
    return "\n".join(lines)


def _has_tensorboard() -> bool:
    return importlib.util.find_spec("tensorboard") is not None
