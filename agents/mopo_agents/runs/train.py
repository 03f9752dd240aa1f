"""Train an agent on a task, and leave a folder that tells what happened."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger, configure
from tqdm import tqdm

from mopo_agents.agents import agent_name, get_agent_class
from mopo_agents.baselines.offline import OfflineAgent
from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.callback import EpochCallback, EvaluationRow, ModelRow, policy_metadata
from mopo_agents.evaluation import Evaluation, check_spaces
from mopo_agents.runs.methods import changed_options, get_method, resolve
from mopo_agents.policies import save_policy
from mopo_agents.runs.preparation import check_method, prepare
from mopo_env.errors import ConfigError
from mopo_env.real.real_env import make_real_env
from mopo_env._utils.store import json_text, write_file

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
        model_rows: What the rollouts of each epoch were like, in order; none without a model.
        evaluations: Every evaluation, in order.
        final: The evaluation of the last policy, or None if there was to be none.
        diverged_epoch: The epoch in which weights or losses of an agent without a model ceased to be finite, which
            ended the run, or None; the last policy is then that of the epoch before.
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
    diverged_epoch: int | None = None


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
        ConfigError: If an option is wrong, does not fit the agent, or the folder holds a run.
        DatasetError: If the data are missing or wrong, or of other widths than the real environment's.
        StoreError: If there is no ensemble, a file is damaged, or the folder cannot be written.
        MissingExtraError: If the agent or the evaluation needs a package that is not installed.
    """
    folder = Path(folder)
    if (folder / "config.json").exists():
        raise ConfigError(f"{folder} already holds a run; choose another folder, or remove it first.")
    if agent_class is not None:
        config = replace(config, agent=agent_name(get_agent_class(agent_class)))
    changed, config = changed_options(config), resolve(config)
    torch.set_num_threads(config.threads)
    task, found_class = config.resolve(), get_agent_class(agent_class or str(config.agent))
    check_method(get_method(str(config.method)), found_class)
    prepared = prepare(config, task, found_class, agent_options or {}, progress=progress)
    agent, transitions = prepared.agent, prepared.transitions
    if config.evaluate_every and task.real_env_id is not None:  # asked now, rather than after the first epochs
        with make_real_env(task) as real_env:
            check_spaces(agent, real_env, task)
    description = {
        **asdict(config),
        **prepared.description,
        "changed": changed,
        "dataset_fingerprint": transitions.fingerprint,
    }
    write_file(folder / "config.json", json_text(description))
    formats = ["csv", "tensorboard"] if _has_tensorboard() else ["csv"]
    agent.set_logger(configure(str(folder), formats))
    if progress:
        tqdm.write(prepared.announcement)
    epochs = EpochCallback(config, task, folder, progress=progress)
    try:
        agent.learn(
            config.epochs * prepared.steps_per_epoch,
            callback=epochs,
            log_interval=None,  # type: ignore[arg-type]  # SB3 accepts None: else it writes a line every few rollouts
        )
    finally:
        # SB3 leaves the files of a logger open. The agent gets one that writes nothing, so that it can learn on.
        agent.logger.close()
        agent.set_logger(Logger(folder=None, output_formats=[]))
    diverged_epoch = epochs.epoch if isinstance(agent, OfflineAgent) and agent.diverged else None
    last_epoch = epochs.epoch if diverged_epoch is None else diverged_epoch - 1
    save_policy(agent, folder, metadata=policy_metadata(task, last_epoch))
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
        diverged_epoch=diverged_epoch,
    )
    summary = {
        "task": task.name,
        "dataset_mean": result.dataset_mean,
        "dataset_max": result.dataset_max,
        "dataset_reward": result.dataset_reward,
        "dataset_terminated": result.dataset_terminated,
        "model_first_epoch": asdict(result.model_rows[0]) if result.model_rows else None,
        "model_last_epoch": asdict(result.model_rows[-1]) if result.model_rows else None,
        "real_env": task.real_env_id,
        "evaluations": [asdict(row) for row in result.evaluations],
        "final_returns": None if result.final is None else result.final.returns,
        "epochs": epochs.epoch,
        "diverged_epoch": diverged_epoch,
        "updates": int(getattr(agent, "_n_updates", 0)),
        "seconds": epochs.seconds,
    }
    write_file(folder / "result.json", json_text(summary))
    return result


def _has_tensorboard() -> bool:
    return importlib.util.find_spec("tensorboard") is not None
