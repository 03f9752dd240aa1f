"""The state of an agent as arrays and numbers: networks, optimizers, counters and generators.

Stable-Baselines3's own `save` omits the generators and writes a pickle. Agents of SBX hold their networks, optimizers
and keys in attributes that JAX made. The environment and the replay buffer are saved elsewhere, because each kind of
run has different ones.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise, VectorizedActionNoise
from torch import nn
from torch.optim import Optimizer

from mopo_agents.runs.state.generators import generator_state, set_generator_state

# They are None before the first step, and always in agents that take no steps.
_LAST_STEP = ("_last_obs", "_last_episode_starts")
# Of the clock, or of the length of the run, which may be another one after a resume.
_OF_THIS_PROCESS = ("start_time", "_total_timesteps", "_num_timesteps_at_start", "buffer_size")
_PLAIN = (
    *(bool, int, float, str, bytes, type, type(None), np.generic, torch.device),
    *(FunctionType, BuiltinFunctionType, MethodType),
)
# The parts of these packages that an agent holds, such as schedules and loggers, have no state between two epochs.
_KNOWN_PACKAGES = ("stable_baselines3", "sb3_contrib", "gymnasium", "mopo_agents", "sbx")


def agent_state(agent: BaseAlgorithm) -> dict[str, Any]:
    """Return a copy of an agent's state for `set_agent_state`."""
    modules, variables = agent._get_torch_save_params()
    return {
        "modules": {name: _convert(_state_of(attrgetter(name)(agent)), _to_array) for name in modules},
        "variables": {name: _to_array(attrgetter(name)(agent)) for name in variables},
        "counters": {
            name: value
            for name, value in vars(agent).items()
            if name not in _OF_THIS_PROCESS and isinstance(value, bool | int | float) and math.isfinite(value)
        },
        "last_step": {name: np.array(value) for name in _LAST_STEP if (value := getattr(agent, name)) is not None},
        "generators": {name: generator_state(generator) for name, generator in _generators_of(agent).items()},
        **({"jax": _jax_state(agent)} if _is_jax_agent(agent) else {}),
    }


def set_agent_state(agent: BaseAlgorithm, state: dict[str, Any]) -> None:
    """Restore a state in an agent with the same options. Call it within `restoring`: the state may not fit."""
    modules, variables = agent._get_torch_save_params()
    for name in modules:
        part, saved = attrgetter(name)(agent), _convert(state["modules"].get(name, {}), _to_tensor)
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
    if _is_jax_agent(agent):
        _set_jax_state(agent, state["jax"])


def unsaved_state(agent: BaseAlgorithm) -> str | None:
    """Return what an agent may remember from one epoch to the next and `agent_state` does not save; None: nothing."""
    noise = getattr(agent, "action_noise", None)
    if isinstance(noise, VectorizedActionNoise):
        noise = noise.base_noise
    if noise is not None and type(noise) is not NormalActionNoise:
        return f"the state of the action noise {type(noise).__name__} is not saved"
    modules, variables = agent._get_torch_save_params()
    parts = [attrgetter(name)(agent) for name in (*modules, *variables)]
    saved = {id(part) for part in parts}
    saved |= {id(tensor) for part in parts if isinstance(part, nn.Module) for tensor in _tensors_of(part)}
    if _is_jax_agent(agent):
        saved |= {id(value) for _, _, value in _jax_parts(agent)}
    for name, value in vars(agent).items():
        if name not in _LAST_STEP and not _is_covered(value, saved):
            return f"its attribute {name} is not saved"
    return None


def _is_covered(value: Any, saved: set[int]) -> bool:
    """Return whether a value is saved, or is of a kind that has no state."""
    if id(value) in saved or isinstance(value, _PLAIN):
        return True
    if isinstance(value, nn.Module):
        return all(id(tensor) in saved for tensor in _tensors_of(value))
    if isinstance(value, torch.Tensor | Optimizer | np.ndarray):
        return False
    if isinstance(value, list | tuple | set | deque):
        return all(_is_covered(entry, saved) for entry in value)
    if isinstance(value, dict):
        return all(_is_covered(entry, saved) for entry in value.values())
    is_generator = isinstance(value, np.random.Generator | torch.Generator)
    return is_generator or type(value).__module__.split(".")[0] in _KNOWN_PACKAGES


def _tensors_of(module: nn.Module) -> Iterable[torch.Tensor]:
    return (*module.parameters(), *module.buffers())


def _generators_of(agent: BaseAlgorithm) -> dict[str, np.random.Generator | torch.Generator]:
    own = {name: part for name, part in vars(agent).items() if isinstance(part, np.random.Generator | torch.Generator)}
    return {**own, "action_space": agent.action_space.np_random}


def _state_of(part: Any) -> dict[str, Any]:
    """Return the tensors of a network by name, or those of an optimizer by the number of the parameter."""
    state: dict[str, Any] = part.state_dict()
    # The parameter groups of an optimizer hold only its options, which the agent's constructor sets.
    return {str(index): slot for index, slot in state["state"].items()} if isinstance(part, Optimizer) else state


def _convert(tree: dict[str, Any], leaf: Callable[[Any], Any]) -> dict[str, Any]:
    return {name: _convert(value, leaf) if isinstance(value, dict) else leaf(value) for name, value in tree.items()}


def _to_array(tensor: torch.Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu().numpy())


def _to_tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).clone()  # in PyTorch's own memory, aligned as in the interrupted run


def _is_jax_agent(agent: BaseAlgorithm) -> bool:
    """Return whether an agent is one of SBX's."""
    return any(kind.__module__.startswith("sbx.") for kind in type(agent).__mro__)


def _jax_parts(agent: BaseAlgorithm) -> Iterator[tuple[Any, str, Any]]:
    """Yield the owner, the name and the value of each attribute that consists of JAX's arrays."""
    import jax

    for owner in (agent, agent.policy):
        for name, value in vars(owner).items():
            leaves = jax.tree_util.tree_leaves(value)
            if any(isinstance(leaf, jax.Array) for leaf in leaves):
                yield owner, name, value


def _jax_state(agent: BaseAlgorithm) -> dict[str, Any]:
    """Return a copy of the arrays for `_set_jax_state`."""
    import jax

    return {
        _jax_name(agent, owner, name): {
            str(place): np.array(leaf) for place, leaf in enumerate(jax.tree_util.tree_leaves(value))
        }
        for owner, name, value in _jax_parts(agent)
    }


def _set_jax_state(agent: BaseAlgorithm, state: dict[str, Any]) -> None:
    """Restore a state in an agent with the same options."""
    import jax

    for owner, name, value in list(_jax_parts(agent)):
        saved = state[_jax_name(agent, owner, name)]
        leaves, structure = jax.tree_util.tree_flatten(value)
        if len(saved) != len(leaves):
            raise ValueError(f"{name} has {len(leaves)} arrays, the state has {len(saved)}")
        arrays = [jax.numpy.asarray(saved[str(place)]) for place in range(len(leaves))]
        setattr(owner, name, jax.tree_util.tree_unflatten(structure, arrays))


def _jax_name(agent: BaseAlgorithm, owner: Any, name: str) -> str:
    return name if owner is agent else f"policy.{name}"
