"""`resolve` fills in the options that a `TrainConfig` leaves open, and refuses options that do not fit together."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from mopo_agents.agents import agent_name, get_agent_class
from mopo_agents.baselines.offline import OfflineAgent
from mopo_agents.runs.config import NEEDS, ROLES, Need, TrainConfig
from mopo_agents.runs.methods import DEFAULT_METHOD, METHODS, Method, get_method, method_of_agent
from mopo_env._utils.options import CONFORMAL, DEFAULT_ON_EXIT, DEFAULT_PENALTY
from mopo_env.datasets.locate import resolve_task
from mopo_env.envs.make import dataset_of
from mopo_env.errors import ConfigError, UnknownNameError
from mopo_env.penalties import NEAREST_NEIGHBOUR, ORACLE, get_penalty
from mopo_env.penalties.oracle import OraclePenalty
from mopo_env.tasks import Task

# Arguments that the training decides, not the user.
_DECIDED = {"self", "env", "args", "kwargs", "observation_space", "action_space", "lr_schedule"}


@dataclass(frozen=True, kw_only=True)
class ResolvedRun:
    """A training run whose options are all decided.

    Attributes:
        config: All options; the method, the task, the agent and the penalty have filled in the open ones.
        task: The task, with this run's h, λ, termination, rollout policy and real environment.
        agent_options: Arguments of the agent's class, beside those that MOPO sets.
        dataset: Where the data are: a task's name, a folder or a Minari id.
        rollout_batch_size: b.
        standardise: Whether the policy scales observations.
        changed: Options that differ from the method's, by name.
    """

    config: TrainConfig
    task: Task
    method: Method
    agent_class: type[BaseAlgorithm]
    agent_options: Mapping[str, Any]
    dataset: str | Path
    rollout_batch_size: int
    standardise: bool
    changed: Mapping[str, Any]

    @property
    def name(self) -> str:
        """A name for the run's folder: task, method unless the default, agent unless the method decides it, seed."""
        method = [self.method.name] * (self.method.name != DEFAULT_METHOD)
        agent = [str(self.config.agent)] * (not self.method.model_free)
        return "-".join([self.task.label, *method, *agent, f"seed{self.config.seed}"])

    @property
    def options(self) -> dict[str, Any]:
        """All options by name; None for an option that does not apply to the agent."""
        lacking = _lacking(self.agent_class)
        return {name: None if needs & lacking else getattr(self.config, name) for name, needs in NEEDS.items()}

    @property
    def penalty(self) -> dict[str, Any]:
        """The penalty's name and options, for `resolve_penalty`."""
        given = {key: getattr(self.config, name) for name, key in _PENALTY_OPTIONS.items()}
        return {"name": self.config.penalty, **{key: value for key, value in given.items() if value is not None}}


def resolve(config: TrainConfig, agent_class: type[BaseAlgorithm] | None = None) -> ResolvedRun:
    """Decide everything about a run that does not depend on its data.

    An explicit option comes first, then the method, then the task. An `agent_class` replaces the agent that the
    configuration names.

    Raises:
        UnknownNameError: If the task, method, agent or penalty does not exist.
        MissingExtraError: If the agent's package is not installed.
        ConfigError: If an option does not apply to the agent, the agent does not fit the method, or the configuration
            names two datasets.
    """
    named = config.agent if agent_class is None else agent_name(get_agent_class(agent_class))
    method = method_of_agent(named) if config.method is None else get_method(config.method)
    task = resolve_task(config.task, ensemble=config.ensemble, real_env=config.real_env)
    agent_class = get_agent_class(agent_class or named or method.train.get("agent") or task.agent)
    _check_method(method, agent_class)
    _check_options(config, agent_class)
    filled, plain = (_fill(options, task, method, agent_class) for options in (config, TrainConfig(task=config.task)))
    expected = {**vars(plain), **_penalty_defaults(filled.penalty), "agent_options": filled.agent_options}
    of_agent = {name: value for name, value in filled.agent_options.items() if plain.agent_options.get(name) != value}
    changed = {
        name: getattr(filled, name)
        for name, role in ROLES.items()
        if role == "method" and getattr(filled, name) != expected[name]
    }
    if not issubclass(agent_class, OfflineAgent):
        of_run: dict[str, Any] = {name: getattr(filled, name) for name in ("horizon", "penalty_coef", "termination")}
        given = {name: value for name, value in of_run.items() if value not in (None, CONFORMAL)}
        task = replace(task, rollout_policy="random" if filled.random_rollouts else "agent", **given)
    target_entropy = {} if config.target_entropy is None else {"target_entropy": config.target_entropy}
    return ResolvedRun(
        config=filled,
        task=task,
        method=method,
        agent_class=agent_class,
        agent_options={**target_entropy, **_agent_arguments(agent_class, filled.agent_options)},
        dataset=dataset_of(task, config.dataset),
        rollout_batch_size=filled.rollout_batch_size or 0,
        standardise=bool(filled.standardise),
        changed={**changed, **of_agent},
    )


def _fill(config: TrainConfig, task: Task, method: Method, agent_class: type[BaseAlgorithm]) -> TrainConfig:
    """Fill in the open options that apply to the agent."""
    by_task = method.by_task.get(task.name, {})
    of_method = {**method.train, **by_task}
    for_agent = {**method.train.get("agent_options", {}), **by_task.get("agent_options", {}), **config.agent_options}
    decided = {
        "method": method.name,
        # On-policy agents evaluate the critic once for each truncated rollout, so many short rollouts are slow.
        "rollout_batch_size": 1_024 if issubclass(agent_class, OnPolicyAlgorithm) else 50_000,
        "horizon": task.horizon,
        "penalty_coef": task.penalty_coef if config.mean_penalty is None else None,
        "penalty": DEFAULT_PENALTY,
        "envelope": True,
        "termination": task.termination,
        "random_rollouts": task.rollout_policy == "random",
        # The columns of the user's own data have units. SBX's policies cannot scale them.
        "standardise": task.recipe is None and not agent_class.__module__.startswith("sbx."),
        "real_env": task.real_env_id,
        "checkpoint_every": max(1, config.epochs // 10),
        "member_per": "step",
        "on_exit": DEFAULT_ON_EXIT,
        "real_ratio": 0.05,
        **of_method,
    }
    lacking = _lacking(agent_class)
    needed = {name: needs - {"off-policy"} if name == "random_rollouts" else needs for name, needs in NEEDS.items()}
    still_open = {
        name: value for name, value in decided.items() if getattr(config, name) is None and not needed[name] & lacking
    }
    named = {"task": task.name, "agent": agent_name(agent_class), "agent_options": for_agent}
    filled = replace(config, **{**still_open, **named})
    defaults = _penalty_defaults(filled.penalty)
    return replace(filled, **{name: value for name, value in defaults.items() if getattr(filled, name) is None})


def _penalty_defaults(penalty: str | None) -> dict[str, Any]:
    if penalty in (None, NEAREST_NEIGHBOUR):  # which has none of these options
        return {}
    source = OraclePenalty if penalty == ORACLE else get_penalty(penalty)
    return {name: getattr(source, key, None) for name, key in _PENALTY_OPTIONS.items()}


_PENALTY_OPTIONS = {"penalty_members": "members", "penalty_reward": "reward", "penalty_units": "units"}


def _lacking(agent_class: type[BaseAlgorithm]) -> set[Need]:
    if issubclass(agent_class, OfflineAgent):
        return {"model"}
    return {"off-policy"} if issubclass(agent_class, OnPolicyAlgorithm) else set()


def _check_options(config: TrainConfig, agent_class: type[BaseAlgorithm]) -> None:
    """Refuse options that do not apply to the agent: if they were ignored, they would seem to have no effect."""
    name, lacking = agent_name(agent_class), _lacking(agent_class)
    given = [option.name for option in fields(config) if getattr(config, option.name) != option.default]
    unusable = [option for option in given if NEEDS[option] & lacking]
    if "off-policy" in lacking and config.random_rollouts is False:
        unusable.remove("random_rollouts")  # on-policy agents roll out their own actions; False asks for just that
    if unusable:
        why = (
            f"{name} learns from the dataset alone, without a model"
            if "model" in lacking
            else f"{name} is on-policy: it learns only from its latest rollouts, without a replay buffer"
        )
        raise ConfigError(f"{', '.join(unusable)}: {why}, so this option does not apply. Leave it out.")
    # The baselines' classes pass unknown options on to their parent class.
    signatures = [inspect.signature(kind).parameters for kind in agent_class.__mro__]
    if config.target_entropy is not None and not any("target_entropy" in parameters for parameters in signatures):
        raise ConfigError(
            f"target_entropy: {name} has none. Leave it out, or choose an agent that has one, such as SAC, TQC or "
            "CrossQ."
        )


def _check_method(method: Method, agent_class: type[BaseAlgorithm]) -> None:
    """Refuse an agent that does not fit the method: a report would show the wrong method for it."""
    name = agent_name(agent_class)
    if not method.model_free:
        if issubclass(agent_class, OfflineAgent):
            fitting = ", ".join(other.name for other in METHODS.values() if other.model_free)
            raise ConfigError(
                f"method: {method.name} trains in a model, but {name} learns from the dataset alone. Choose one of "
                f"{fitting}, or enter a method for it in mopo_agents.runs.methods.METHODS."
            )
        return
    if (own := method.train.get("agent")) is None:
        return
    if name != own and not issubclass(agent_class, get_agent_class(own)):
        raise ConfigError(f"agent: the method {method.name} is {own}, found {name}. Leave out the agent or the method.")


def _agent_arguments(agent_class: type[BaseAlgorithm], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an agent's class. What only its policy knows goes into ``policy_kwargs``."""
    of_class = _parameters(agent_class)
    policy = agent_class.policy_aliases.get("MlpPolicy")
    of_policy = set() if policy is None else _parameters(policy) - of_class
    for name in options:
        if name not in of_class | of_policy:
            raise UnknownNameError(f"option of {agent_class.__name__}", name, of_class | of_policy)
    moved = {name: value for name, value in options.items() if name not in of_class}
    kept = {name: value for name, value in options.items() if name in of_class}
    return {**kept, "policy_kwargs": {**(kept.get("policy_kwargs") or {}), **moved}} if moved else kept


def _parameters(kind: type[Any]) -> set[str]:
    """Return the names of a class's arguments, those included that it passes on to its parents."""
    names: set[str] = set()
    for parent in kind.__mro__:
        if "__init__" in vars(parent):
            parameters = inspect.signature(vars(parent)["__init__"]).parameters
            names |= parameters.keys()
            if not any(found.kind is found.VAR_KEYWORD for found in parameters.values()):
                break
    return {name for name in names - _DECIDED - set(NEEDS) if not name.startswith("_")}
