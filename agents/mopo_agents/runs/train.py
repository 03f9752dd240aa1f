"""Train an agent on a task, and write the record of the run into a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from tqdm import tqdm

from mopo_agents._utils.hints import terminal_rows_hint
from mopo_agents._utils.threads import torch_threads
from mopo_agents.agents import AGENTS, agent_name, fast_path, make_agent, make_offline_agent
from mopo_agents.baselines.offline import OfflineAgent
from mopo_agents.evaluation import Evaluation, check_spaces
from mopo_agents.policies import load_policy, save_policy
from mopo_agents.runs.callback import EpochCallback, EvaluationRow, ModelRow
from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.divergence import cause_of_failure
from mopo_agents.runs.folder import (
    check_free,
    check_same_run,
    is_finished,
    new_folder,
    read_config,
    running,
    state_folder,
)
from mopo_agents.runs.identity import describe
from mopo_agents.runs.logs import make_logger
from mopo_agents.runs.method_ensembles import ensemble_with
from mopo_agents.runs.policy_files import policy_metadata
from mopo_agents.runs.resolve import ResolvedRun, resolve
from mopo_agents.runs.run_state import RunState, obstacle_to_resume
from mopo_agents.runs.state.interruption import interruptible
from mopo_env._utils.store import json_text, write_file
from mopo_env.envs.make import load_shared_dataset, make_penalized_model, resolve_penalty
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, DivergenceError
from mopo_env.real.real_env import make_real_env
from mopo_env.transitions import Transitions

__all__ = ["TrainResult", "resume", "train"]

_NOTICE = "The run stops when this epoch is finished. Interrupt it again to stop at once and lose the epoch."


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
    resumed: tuple[Mapping[str, Any], ...] = ()


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
    ``checkpoints/`` and ``result.json``. Until the run ends, ``unfinished/`` holds the state from which `resume`
    continues. The first SIGINT (Ctrl-C), SIGTERM or SIGHUP lets the epoch finish and saves; the second ends the run at
    once.

    Args:
        config: The options of the run.
        folder: The folder of its files, which must not hold a run. None: a new folder in ``runs/``.
        agent_class: Any Stable-Baselines3 class, instead of the agent that `config` names.
        progress: Whether to show a progress bar.

    Raises:
        ConfigError: If an option is wrong or does not fit the agent, the policy or the state of the agent cannot be
            saved, or the folder holds a run.
        DatasetError: If the data are missing or wrong, or do not have the widths of the real environment.
        StoreError: If there is no ensemble, a file is damaged, or the folder cannot be written.
        MissingExtraError: If the agent or the evaluation needs a package that is not installed.
        DivergenceError: If weights, losses or actions cease to be finite. The folder then holds the result of the
            epoch before, with its policy.
        KeyboardInterrupt: After a signal, when the epoch is finished and saved.
    """
    if folder is not None:
        check_free(Path(folder))
    return _train(config, folder, agent_class=agent_class, progress=progress, begun=None)


def resume(
    folder: Path | str,
    *,
    agent_class: type[BaseAlgorithm] | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> TrainResult:
    """Continue an unfinished run of `train` from its saved state, or from the start if it has none.

    On one CPU thread of the same kind of machine, with the same versions of the libraries, the result is bit for bit
    that of an uninterrupted run. Otherwise the output says what is different.

    Args:
        folder: The folder of the run.
        agent_class: The class that was passed to `train`, if it was.
        device: Where the model and the agent compute. None: as before.
        threads: CPU threads of PyTorch. None: as before.
        progress: Whether to show a progress bar.

    Raises:
        ConfigError: If the run is finished, another process works on it, or its dataset or ensemble has changed.
        StoreError: If there is no run, or a file is damaged.
        MopoError: As in `train`.
    """
    config, record = read_config(Path(folder))
    given = {"device": device, "threads": threads}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if agent_class is not None:
        changes["agent"] = None
    elif record["agent"] not in AGENTS:
        raise ConfigError(
            f"agent_class: {folder} is a run of {record['agent']}, which has no name here. Resume it in Python: "
            "mopo_agents.resume(folder, agent_class=...)."
        )
    config = replace(config, **changes)
    return _train(config, folder, agent_class=agent_class, progress=progress, begun=record)


def _train(
    config: TrainConfig,
    folder: Path | str | None,
    *,
    agent_class: type[BaseAlgorithm] | None,
    progress: bool,
    begun: Mapping[str, Any] | None,
) -> TrainResult:
    """Begin a run, or continue the run whose ``config.json`` is `begun`."""
    with torch_threads(config.threads):
        run = resolve(config, agent_class)
        transitions = load_shared_dataset(run.dataset)
        _check_real_env(run, transitions)
        without_model = issubclass(run.agent_class, OfflineAgent)
        penalized_model = None if without_model else _penalized_model(run, progress=progress)
        agent = _agent(run, transitions, penalized_model)
        description = describe(run, transitions, penalized_model)
        if begun is None:
            _check_saving(agent, run)
            folder = new_folder(run.name) if folder is None else Path(folder)
        else:
            folder = Path(str(folder))
            check_same_run(folder, begun, description)
        with running(folder):
            if begun is None:
                check_free(folder)  # again, since only now no other process can begin a run here
                write_file(folder / "config.json", json_text(description))
            if progress:
                tqdm.write(_announcement(run, transitions))
                if not without_model:
                    tqdm.write(fast_path(agent))
            state = None if config.save_every is None else RunState(state_folder(folder))
            with (
                _with_remedy(folder),
                interruptible(_NOTICE) as interrupted,
                closing(EpochCallback(run, folder, state=state, interrupted=interrupted, progress=progress)) as epochs,
            ):
                if begun is not None:
                    epochs.restore(agent)
                    if progress:
                        tqdm.write(_resumption(epochs))
                return _learn_and_save(agent, run, transitions, epochs)


@contextmanager
def _with_remedy(folder: Path) -> Iterator[None]:
    """Add to an interruption how the run can be resumed."""
    try:
        yield
    except KeyboardInterrupt as error:
        if is_finished(folder):
            error.add_note(f"The run in {folder} is finished.")
        else:
            error.add_note(
                f"Resume the run with `mopo train --resume {folder}` or mopo_agents.resume({str(folder)!r})."
            )
        raise


def _check_saving(agent: BaseAlgorithm, run: ResolvedRun) -> None:
    """Fail now, not after hours of training, if the policy or the state of the agent cannot be saved."""
    with tempfile.TemporaryDirectory() as trial:
        save_policy(agent, trial)
    obstacle = None if run.config.save_every is None else obstacle_to_resume(agent)
    if obstacle is not None:
        raise ConfigError(
            f"save_every: runs of {agent_name(run.agent_class)} cannot be resumed: {obstacle}. Pass save_every=None or "
            "`--save-every None` to train without saving the state."
        )


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
    return make_penalized_model(
        run.task,
        dataset=config.dataset,
        ensemble=ensemble,
        penalty=penalty,
        mean_penalty=config.mean_penalty,
        member_per=config.member_per,
        deterministic=config.deterministic,
        envelope_margin=config.envelope_margin,
        envelope_quantile=config.envelope_quantile,
        exit_reward=config.exit_reward,
        on_exit=config.on_exit,
        precision=config.precision,
        device=config.device,
    )


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


def _learn_and_save(
    agent: BaseAlgorithm, run: ResolvedRun, transitions: Transitions, epochs: EpochCallback
) -> TrainResult:
    """Train, and write the result: after a divergence, that of the epoch before."""
    try:
        _learn(agent, run, epochs)
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


def _learn(agent: BaseAlgorithm, run: ResolvedRun, epochs: EpochCallback) -> None:
    without_model = isinstance(agent, OfflineAgent)
    steps_per_epoch = run.config.gradient_steps if without_model else run.rollout_batch_size * run.task.horizon
    agent.set_logger(make_logger(epochs.folder, epochs.table, epoch=epochs.epoch))
    try:
        agent.learn(
            (run.config.epochs - epochs.epoch) * steps_per_epoch,
            callback=epochs,
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
    """Write the policy of the last finished epoch and ``result.json``."""
    epochs.policy.write(epochs.folder, policy_metadata(run.task, epochs.epoch))
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
        "epochs": epochs.epoch,
        "diverged_epoch": None if diverged is None else epochs.epoch + 1,
        "diverged_quantity": diverged,
        "resumed": result.resumed,
        "updates": epochs.updates,
        "seconds": epochs.seconds,
    }
    write_file(epochs.folder / "result.json", json_text(summary))
    return result


def _resumption(epochs: EpochCallback) -> str:
    """Return where a resumed run continues, and whether it may differ from an uninterrupted one."""
    last = epochs.resumed[-1]
    line = f"resumed after epoch {last['after_epoch']}" if last["after_epoch"] else "no saved state: from the start"
    if not last["differences"]:
        return line
    return f"{line}; the result may not be bit-identical to an uninterrupted run ({'; '.join(last['differences'])})"


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
