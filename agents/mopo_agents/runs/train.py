"""Train an agent on a task, and write the record of the run into a folder."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from mopo_agents._utils.hints import terminal_rows_hint
from mopo_agents._utils.machine import torch_threads
from mopo_agents.agents import agent_name, fast_path, make_agent, make_offline_agent
from mopo_agents.baselines.offline import OfflineAgent
from mopo_agents.evaluation import check_spaces
from mopo_agents.policies import save_policy
from mopo_agents.runs.callback import EpochCallback
from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.folder import (
    check_free,
    check_same_run,
    check_unfinished,
    is_finished,
    new_folder,
    running,
    state_folder,
)
from mopo_agents.runs.identity import describe
from mopo_agents.runs.method_ensembles import ensemble_with
from mopo_agents.runs.outcome import TrainResult, learn_and_save
from mopo_agents.runs.resolve import ResolvedRun, resolve
from mopo_agents.runs.run_state import RunState, obstacle_to_resume
from mopo_agents.runs.state.interruption import interruptible
from mopo_env._utils.json_files import json_text
from mopo_env._utils.options import CONFORMAL
from mopo_env._utils.progress import announce
from mopo_env._utils.store import write_file
from mopo_env.datasets.shared import load_shared_dataset
from mopo_env.envs.make import make_penalized_model, resolve_penalty
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError
from mopo_env.real.real_env import make_real_env
from mopo_env.transitions import Transitions

_NOTICE = "The run stops when this epoch is finished and saved. Interrupt it again to stop at once without saving."


def train(
    config: TrainConfig,
    *,
    folder: Path | str | None = None,
    agent_class: type[BaseAlgorithm] | None = None,
    callback: BaseCallback | None = None,
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
        callback: A callback of Stable-Baselines3 that watches: it is called after this package's own. It must not
            change the agent, because config.json would not show it, so no identity would; write a subclass of the
            agent instead. What it returns is ignored, and a resumed run does not restore its state.
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
    return carry_out(config, folder, agent_class=agent_class, callback=callback, progress=progress, begun=None)


def carry_out(
    config: TrainConfig,
    folder: Path | str | None,
    *,
    agent_class: type[BaseAlgorithm] | None,
    callback: BaseCallback | None = None,
    progress: bool,
    begun: Mapping[str, Any] | None,
) -> TrainResult:
    """Begin a run, or continue the run whose ``config.json`` is `begun`."""
    with torch_threads(config.threads):
        run = resolve(config, agent_class)
        transitions = load_shared_dataset(run.dataset)
        _check_real_env(run, transitions)
        without_model = issubclass(run.agent_class, OfflineAgent)
        penalized_model = None if without_model else build_penalized_model(run, progress=progress)
        agent = _agent(run, transitions, penalized_model)
        description = describe(run, transitions, penalized_model)
        decided = [f"{name} = {value}" for name, value in run.options.items() if value is not None]
        logging.getLogger("mopo").info("the options of the run:\n  %s", "\n  ".join(decided))
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
            else:
                check_unfinished(folder, begun)  # again: another process may have finished it since
            announce(_announcement(run, transitions), show=progress)
            if not without_model:
                announce(fast_path(agent), show=progress)
            state = None if config.save_every is None else RunState(state_folder(folder))
            with (
                _stoppable(folder, saves=state is not None) as interrupted,
                closing(EpochCallback(run, folder, state=state, interrupted=interrupted, progress=progress)) as epochs,
            ):
                if begun is not None:
                    epochs.restore(agent)
                    announce(_resumption(epochs), show=progress)
                return learn_and_save(agent, run, transitions, epochs, callback)


@contextmanager
def _stoppable(folder: Path, *, saves: bool) -> Iterator[Callable[[], bool]]:
    """Let a signal end the run when the epoch is saved, or at once if it is not saved. Say how to resume it."""
    remedy = f"`mopo train --resume {folder}` or mopo_agents.resume({str(folder)!r})"
    try:
        with interruptible(_NOTICE) if saves else nullcontext(lambda: False) as interrupted:
            yield interrupted
    except KeyboardInterrupt as error:
        if is_finished(folder):
            error.add_note(f"The run in {folder} is finished.")
        elif saves:
            error.add_note(f"Resume the run with {remedy}.")
        else:
            error.add_note(f"The run was not saved, because its state was not to be saved. To begin it anew: {remedy}.")
        raise


def _check_saving(agent: BaseAlgorithm, run: ResolvedRun) -> None:
    """Fail now, not after hours of training, if the policy or the state of the agent cannot be saved."""
    with tempfile.TemporaryDirectory() as trial:
        save_policy(agent, trial)
    obstacle = None if run.config.save_every is None else obstacle_to_resume(agent)
    if obstacle is not None:
        raise ConfigError(
            f"save_every: runs of {agent_name(run.agent_class)} cannot be resumed: {obstacle}. Pass save_every=None "
            "(--save-every None) to train without saving the state."
        )


def _check_real_env(run: ResolvedRun, transitions: Transitions) -> None:
    """Build the real environment once, so that errors come before the training."""
    if run.config.evaluate_every and run.task.real_env_id is not None:
        with make_real_env(run.task) as real_env:
            check_spaces(transitions, real_env, run.task)


def build_penalized_model(run: ResolvedRun, *, progress: bool) -> PenalizedModel:
    """Return the model in which the agent trains. Fit the method's ensemble if there is none yet."""
    config, ensemble = run.config, run.config.ensemble
    # This comes first because it can fail, and the fit of an ensemble takes minutes.
    penalty = resolve_penalty(run.penalty, run.task, run.dataset, device=config.device)
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
        penalty_coef=CONFORMAL if config.penalty_coef == CONFORMAL else None,
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


def _resumption(epochs: EpochCallback) -> str:
    """Return where a resumed run continues, and whether it may differ from an uninterrupted one."""
    last = epochs.resumed[-1]
    line = f"resumed after epoch {last['after_epoch']}" if last["after_epoch"] else "no saved state: from the start"
    if not last["differences"]:
        return line
    return f"{line}; the result may not be bit-identical to an uninterrupted run ({'; '.join(last['differences'])})"


def _announcement(run: ResolvedRun, transitions: Transitions) -> str:
    """Return the settings that the user may not have chosen, to show them before the training."""
    task, config = run.task, run.config
    real_env = task.real_env_id or "none, so the policy is not evaluated"
    if issubclass(run.agent_class, OfflineAgent):
        return f"{task.label}: {run.config.agent} learns from the dataset alone, real environment: {real_env}"
    coef = f"{task.penalty_coef:g}" if config.mean_penalty is None else f"{config.mean_penalty:g} / (mean u)"
    coef = CONFORMAL if config.penalty_coef == CONFORMAL else coef
    chosen = f"h = {task.horizon}, λ = {coef}, termination: {task.termination}"
    line = f"{task.label}: {chosen}, real environment: {real_env}"
    hint = terminal_rows_hint(transitions, task.name) if task.recipe is None and task.termination == "never" else ""
    return f"{line}\n{hint}" if hint else line
