"""An agent that is ready to learn: in a model of the dataset, or from the dataset alone."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from mopo_agents.agents import agent_name, get_agent_class, make_agent, make_offline_agent
from mopo_agents.baselines.offline import OfflineAgent
from mopo_agents.runs.config import MODEL_OPTIONS, TrainConfig
from mopo_agents.runs.method_ensembles import ensemble_with
from mopo_agents.runs.methods import METHODS, Method, get_method
from mopo_env.errors import ConfigError
from mopo_env.envs.make import dataset_of, resolve_penalty, load_shared_dataset, make_penalized_model
from mopo_env.tasks import Task
from mopo_env.transitions import Transitions

__all__ = ["Prepared", "check_method", "prepare"]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What `train` needs to begin.

    Attributes:
        agent: The agent.
        transitions: D_env.
        steps_per_epoch: What an epoch is in the units of the agent's `learn`.
        description: What ``config.json`` says beyond the configuration.
        announcement: What was chosen for the user.
    """

    agent: BaseAlgorithm
    transitions: Transitions
    steps_per_epoch: int
    description: dict[str, Any]
    announcement: str


def check_method(method: Method, agent_class: type[BaseAlgorithm]) -> None:
    """Refuse a run that a report would take for another: an agent under the name of a method that it does not follow.

    Raises:
        ConfigError: If only one of them has a model, or the method is another agent without one.
    """
    name = agent_name(agent_class)
    if not method.model_free:
        if issubclass(agent_class, OfflineAgent):
            raise ConfigError(
                f"method: {method.name} trains in a model, but {name} learns from the dataset alone. Choose one of "
                f"{', '.join(other.name for other in METHODS.values() if other.model_free)}, or enter a method for it "
                "in mopo_agents.runs.methods.METHODS."
            )
        return
    own = method.train["agent"]
    if name != own and not issubclass(agent_class, get_agent_class(own)):
        raise ConfigError(
            f"agent: the method {method.name} is {own}, found {name}. Leave the agent out, or the method."
        )


def prepare(
    config: TrainConfig,
    task: Task,
    agent_class: type[BaseAlgorithm],
    agent_options: dict[str, Any],
    *,
    progress: bool,
) -> Prepared:
    """Load what a run needs, and set its agent up.

    Args:
        config: The run, resolved.
        task: The task, with what the run changes of it.
        agent_class: Of the agent.
        agent_options: Passed to the class.
        progress: Whether to say what takes long.

    Raises:
        ConfigError: If an option is wrong, or does not fit the agent.
        DatasetError: If the data are missing or wrong.
        StoreError: If there is no ensemble, or a file is damaged.
        MissingExtraError: If the oracle is asked for and MuJoCo is not installed.
    """
    standardise = config.standardise
    if standardise is None:
        standardise = task.recipe is None and not agent_class.__module__.startswith("sbx.")
    options = {**_options_of(agent_class, config), **agent_options}
    if issubclass(agent_class, OfflineAgent):
        prepared = _from_dataset(config, task, agent_class, options, standardise)
    else:
        prepared = _in_model(config, task, agent_class, options, standardise, progress)
    description = {
        "agent": agent_name(agent_class),
        "real_env": task.real_env_id,
        "standardise": standardise,
        "agent_options": {key: str(value) for key, value in options.items()},
    }
    return replace(prepared, description={**description, **prepared.description})


def _in_model(
    config: TrainConfig,
    task: Task,
    agent_class: type[BaseAlgorithm],
    options: dict[str, Any],
    standardise: bool,
    progress: bool,
) -> Prepared:
    # On-policy agents evaluate the critic once for each truncated rollout, so many short rollouts are slow for them.
    on_policy = issubclass(agent_class, OnPolicyAlgorithm)
    rollout_batch_size = config.rollout_batch_size or (1_024 if on_policy else 50_000)
    method, ensemble, dataset = get_method(str(config.method)), config.ensemble, dataset_of(task, config.dataset)
    # Asked before an ensemble is fitted, which takes minutes.
    penalty = resolve_penalty(_penalty_of(config), task, dataset)
    if ensemble is None and method.fit:
        fitted = ensemble_with(method.fit, dataset, device=config.device, progress=progress)
        ensemble = None if fitted is None else str(fitted)
    penalized_model = make_penalized_model(
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
    for_buffers = () if on_policy else ("gradient_steps", "real_ratio", "retain_epochs")
    agent = make_agent(
        agent_class,
        penalized_model,
        horizon=task.horizon,
        rollout_batch_size=rollout_batch_size,
        **{name: getattr(config, name) for name in for_buffers},
        random_rollouts=task.rollout_policy == "random",
        standardise=standardise,
        overlap=config.overlap,
        seed=config.seed,
        device=config.device,
        **options,
    )
    description = {
        "rollout_batch_size": rollout_batch_size,
        "ensemble_of_method": ensemble if method.fit else None,
        "halt_reward": None if config.halt_threshold is None else penalized_model.halt_reward,
        "termination": task.termination,
        "fit": getattr(penalized_model.model, "metadata", {}).get("config"),
    }
    chosen = f"h = {task.horizon}, λ = {task.penalty_coef:g}, termination: {task.termination}"
    return Prepared(
        agent=agent,
        transitions=penalized_model.transitions,
        steps_per_epoch=rollout_batch_size * task.horizon,
        description=description,
        announcement=_announcement(task, chosen) + _hint_at_terminal_rows(task, penalized_model.transitions),
    )


def _from_dataset(
    config: TrainConfig,
    task: Task,
    agent_class: type[BaseAlgorithm],
    options: dict[str, Any],
    standardise: bool,
) -> Prepared:
    transitions = load_shared_dataset(dataset_of(task, config.dataset))
    agent = make_offline_agent(
        agent_class,
        transitions,
        gradient_steps=config.gradient_steps,
        standardise=standardise,
        seed=config.seed,
        device=config.device,
        **options,
    )
    return Prepared(
        agent=agent,
        transitions=transitions,
        steps_per_epoch=config.gradient_steps,
        # Null, rather than the defaults of a model that was not there.
        description=dict.fromkeys((*MODEL_OPTIONS, "ensemble_of_method", "fit")),
        announcement=_announcement(task, f"{agent_name(agent_class)} learns from the dataset alone"),
    )


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
    # Classes of the baselines hand on to their parent what they do not know.
    if not any("target_entropy" in inspect.signature(kind).parameters for kind in agent_class.__mro__):
        raise ConfigError(
            f"target_entropy: {agent_name(agent_class)} has none. Leave it out, or choose an agent that has one, "
            "such as SAC, TQC or CrossQ."
        )
    return {"target_entropy": config.target_entropy}


def _announcement(task: Task, chosen: str) -> str:
    """Say what was chosen for the user, while there is time to choose otherwise."""
    real_env = task.real_env_id or "none, so the policy is not evaluated"
    return f"{task.label}: {chosen}, real environment: {real_env}"


def _hint_at_terminal_rows(task: Task, transitions: Transitions) -> str:
    """Return a line on terminal states that no rollout will have, or nothing."""
    terminal = int(transitions.terminations.sum())
    if not terminal or task.recipe is not None or task.termination != "never":
        return ""
    return (
        f"\n{terminal:,} of {len(transitions):,} recorded transitions end in a terminal state, and no rollout will. "
        "Learn a rule with `mopo fit-termination`, or name one with --termination."
    )
