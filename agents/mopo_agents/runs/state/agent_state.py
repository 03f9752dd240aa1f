"""All that decides how an agent learns on, as arrays and numbers: networks, optimizers, counters, generators.

Stable-Baselines3's own `save` leaves out the generators, and what it writes is a pickle. The environment and the replay
buffer are not here: they differ from run to run.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch.optim import Optimizer

from mopo_agents.runs.state.generators import generator_state, set_generator_state

__all__ = ["agent_state", "set_agent_state"]

# Those that an agent has.
_COUNTERS = (
    "num_timesteps",
    "_episode_num",
    "_n_updates",
    "_n_calls",
    "_current_progress_remaining",
    "exploration_rate",
    "cloned",
    "diverged",
)
# None before the first step, and in agents that take none.
_LAST_STEP = ("_last_obs", "_last_episode_starts")


def agent_state(agent: BaseAlgorithm) -> dict[str, Any]:
    """Return what `set_agent_state` needs; a copy, which does not change as the agent learns."""
    modules, variables = agent._get_torch_save_params()
    return {
        "modules": {name: _to_arrays(_state_of(attrgetter(name)(agent))) for name in modules},
        "variables": {name: _to_array(attrgetter(name)(agent)) for name in variables},
        "counters": {name: getattr(agent, name) for name in _COUNTERS if hasattr(agent, name)},
        "last_step": {name: np.array(value) for name in _LAST_STEP if (value := getattr(agent, name)) is not None},
        "generators": {name: generator_state(generator) for name, generator in _generators_of(agent).items()},
    }


def set_agent_state(agent: BaseAlgorithm, state: dict[str, Any]) -> None:
    """Put an agent, built with the same options, where another was when its state was taken.

    To be called within `restoring`, since the state may be another kind of agent's.
    """
    modules, variables = agent._get_torch_save_params()
    for name in modules:
        part, saved = attrgetter(name)(agent), _to_tensors(state["modules"].get(name, {}))
        if isinstance(part, Optimizer):
            slots = {int(index): slot for index, slot in saved.items()}
            saved = {"state": slots, "param_groups": part.state_dict()["param_groups"]}
        part.load_state_dict(saved)
    for name in variables:
        with torch.no_grad():
            attrgetter(name)(agent).copy_(torch.from_numpy(state["variables"][name]))
    for name, value in {**state["counters"], **state.get("last_step", {})}.items():
        setattr(agent, name, value)
    for name, generator in _generators_of(agent).items():
        set_generator_state(generator, state["generators"][name])


def _generators_of(agent: BaseAlgorithm) -> dict[str, np.random.Generator | torch.Generator]:
    own = {name: part for name, part in vars(agent).items() if isinstance(part, np.random.Generator | torch.Generator)}
    return {**own, "action_space": agent.action_space.np_random}


def _state_of(part: Any) -> dict[str, Any]:
    """Return the tensors of a network by name, or those of an optimizer by the number of the parameter."""
    state: dict[str, Any] = part.state_dict()
    # An optimizer's groups hold its options, which the agent's own set again.
    return {str(index): slot for index, slot in state["state"].items()} if isinstance(part, Optimizer) else state


def _to_arrays(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: _to_arrays(value) if isinstance(value, dict) else _to_array(value) for name, value in tensors.items()}


def _to_array(tensor: torch.Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu().numpy())


def _to_tensors(arrays: dict[str, Any]) -> dict[str, Any]:
    # Copied into memory of PyTorch's own, aligned as in the run that was interrupted.
    return {
        name: _to_tensors(value) if isinstance(value, dict) else torch.from_numpy(value).clone()
        for name, value in arrays.items()
    }
