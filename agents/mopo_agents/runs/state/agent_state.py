"""All that decides how an off-policy agent learns on: its tensors and counters, as arrays and numbers.

Stable-Baselines3's own `save` leaves out the replay buffer, the generators and the environment, and what it writes is a
pickle. The replay buffer is not here either, since it only grows: see `mopo_agents.runs.state.checkpoint`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from torch.optim import Optimizer

from mopo_env.errors import StoreError

__all__ = ["agent_state", "set_agent_state"]

# Not every agent has each of them.
_COUNTERS = (
    "num_timesteps",
    "_episode_num",
    "_n_updates",
    "_n_calls",
    "_current_progress_remaining",
    "exploration_rate",
)


def agent_state(agent: OffPolicyAlgorithm) -> dict[str, Any]:
    """Return what `set_agent_state` needs: networks, optimisers, counters, and where the agent stands."""
    modules, variables = agent._get_torch_save_params()
    return {
        "modules": {name: _arrays(_state_of(attrgetter(name)(agent))) for name in modules},
        "variables": {name: _copied(attrgetter(name)(agent)) for name in variables},
        "counters": {name: getattr(agent, name) for name in _COUNTERS if hasattr(agent, name)},
        "last_observations": np.array(agent._last_obs),
        "last_episode_starts": np.array(agent._last_episode_starts),
        "action_generator": agent.action_space.np_random.bit_generator.state,
    }


def set_agent_state(agent: OffPolicyAlgorithm, state: dict[str, Any]) -> None:
    """Put an agent, built with the same options, where another was when its state was taken.

    Raises:
        StoreError: If the state is another kind of agent's.
    """
    modules, variables = agent._get_torch_save_params()
    try:
        for name in modules:
            part = attrgetter(name)(agent)
            if isinstance(part, Optimizer):
                part.load_state_dict(_optimizer_state(part, state["modules"].get(name, {})))
            else:
                part.load_state_dict(_tensors(state["modules"][name]))
        for name in variables:
            with torch.no_grad():
                attrgetter(name)(agent).copy_(torch.from_numpy(state["variables"][name]))
        for name, value in state["counters"].items():
            setattr(agent, name, value)
        agent._last_obs = state["last_observations"]
        agent._last_episode_starts = state["last_episode_starts"]
        agent.action_space.np_random.bit_generator.state = state["action_generator"]
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise StoreError(f"the checkpoint does not fit a {type(agent).__name__}: {error}.") from error


def _state_of(part: Any) -> dict[str, Any]:
    """Return the tensors of a network by name, or those of an optimiser by the number of the parameter."""
    state: dict[str, Any] = part.state_dict()
    # An optimiser's groups hold its options, which the agent's own set again.
    return {str(index): slot for index, slot in state["state"].items()} if isinstance(part, Optimizer) else state


def _arrays(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: _arrays(value) if isinstance(value, dict) else _copied(value) for name, value in tensors.items()}


def _copied(tensor: torch.Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu().numpy())


def _tensors(arrays: dict[str, Any]) -> dict[str, Any]:
    # Copied into memory of PyTorch's own, aligned as in the run that was interrupted.
    return {
        name: _tensors(value) if isinstance(value, dict) else torch.from_numpy(value).clone()
        for name, value in arrays.items()
    }


def _optimizer_state(optimizer: Optimizer, arrays: dict[str, Any]) -> dict[str, Any]:
    slots = {int(index): _tensors(slot) for index, slot in arrays.items()}
    return {"state": slots, "param_groups": optimizer.state_dict()["param_groups"]}
