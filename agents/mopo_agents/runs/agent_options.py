"""Options of an agent, as arguments of its class or of its policy."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from mopo_agents.runs.config import NEEDS
from mopo_env.errors import UnknownNameError

__all__ = ["agent_arguments"]

# Arguments that the training decides, not the user.
_DECIDED = {"self", "env", "args", "kwargs", "observation_space", "action_space", "lr_schedule"}


def agent_arguments(agent_class: type[BaseAlgorithm], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an agent's class. What only its policy knows goes into ``policy_kwargs``.

    Raises:
        UnknownNameError: If neither knows an option; the message lists what they know.
    """
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
