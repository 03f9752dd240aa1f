"""Save and load trained policies as plain tensors; loading a file runs no code from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from mopo_agents._utils.trees import flatten, unflatten
from mopo_agents.agents import AGENTS, agent_name, get_agent_class
from mopo_agents.evaluation import Policy
from mopo_agents.runs.state.generators import generators_untouched
from mopo_agents.sb3.mixins import plain_class
from mopo_agents.sb3.standardise import Standardise
from mopo_env._utils.spaces import space_from_tensors, space_tensors
from mopo_env._utils.store import read_artifact, write_artifact
from mopo_env._utils.tensors import fill_module
from mopo_env.errors import ConfigError, MopoError, StoreError

_NAME = "policy"
_EXTRACTOR = "features_extractor_class"
# What a file may ask for. A policy has a few layers and some hundred thousand weights.
_LARGEST_FILE = 2**30
_MOST_WEIGHTS = 2**28
_MOST_LAYERS = 100


@dataclass(frozen=True)
class SavedPolicy:
    """A copy of an agent's policy as it is saved: its tensors, and their description as JSON data."""

    tensors: dict[str, np.ndarray]
    description: dict[str, Any]

    def write(self, folder: Path | str, metadata: dict[str, Any] | None = None) -> Path:
        """Write the policy as `save_policy` does."""
        try:
            return write_artifact(folder, _NAME, self.tensors, {**(metadata or {}), **self.description})
        except StoreError as error:
            if "cannot be kept as JSON" in str(error):
                raise ConfigError(f"policy_kwargs cannot be saved here: {error} Use the agent's own save().") from error
            raise


def save_policy(agent: BaseAlgorithm, folder: Path | str, *, metadata: dict[str, Any] | None = None) -> Path:
    """Write an agent's policy into a folder.

    Args:
        agent: A trained agent with box observations and box or discrete actions.
        folder: Where to write; created if missing.
        metadata: Extra information to save, in any form that JSON supports.

    Returns:
        The path of the manifest, ``policy.json``.

    Raises:
        ConfigError: If JSON cannot represent the policy's class or options, such as your own network class.
        StoreError: If the folder cannot be written.
    """
    return copy_policy(agent).write(folder, metadata)


def copy_policy(agent: BaseAlgorithm) -> SavedPolicy:
    """Return a copy of an agent's policy that later training does not change.

    Raises:
        ConfigError: If JSON cannot represent the policy's class.
    """
    tensors = {
        **{f"weights/{name}": np.array(array) for name, array in policy_weights(agent).items()},
        **_space_tensors("observation", agent.observation_space),
        **_space_tensors("action", agent.action_space),
    }
    # A2C and QRDQN set the optimizer's class here. JSON cannot represent it, and acting does not need it.
    options = {name: value for name, value in agent.policy_kwargs.items() if not name.startswith("optimizer_")}
    if options.get(_EXTRACTOR) is Standardise:  # the one class that is saved, by its name
        options[_EXTRACTOR] = Standardise.__name__
    return SavedPolicy(
        tensors, {"agent": agent_name(type(agent)), "policy": _policy_name(agent), "policy_options": options}
    )


def load_policy(folder: Path | str, *, agent: type[BaseAlgorithm] | None = None) -> Policy:
    """Read a policy from `save_policy`.

    Args:
        folder: A training run's folder, or one of its checkpoints.
        agent: The agent's class, if it is not in `AGENTS`.

    Returns:
        An object with Stable-Baselines3's `predict`.

    Raises:
        StoreError: If files are missing or damaged, do not fit the agent, describe a network that is too large, or
            hold numbers that are not finite.
        MissingExtraError: If the agent's package is not installed.
    """
    tensors, metadata = read_artifact(folder, _NAME, largest=_LARGEST_FILE)
    try:
        name, options = metadata["agent"], dict(metadata["policy_options"])
        if options.get(_EXTRACTOR) == Standardise.__name__:
            options[_EXTRACTOR] = Standardise
        if agent is None and name not in AGENTS:
            raise StoreError(
                f"{folder}: the policy belongs to the agent {name!r}, which is not one of mopo_agents.AGENTS. "
                "In Python, import its class and pass it to load_policy(folder, agent=…)."
            )
        spaces = [space_from_tensors(name, tensors) for name in ("observation", "action")]
        weights = {key.removeprefix("weights/"): array for key, array in tensors.items() if key.startswith("weights/")}
        _check_sizes(options, spaces)
        agent_class = get_agent_class(agent or name)
        policy_class: type[BasePolicy] = agent_class.policy_aliases[metadata["policy"]]
        with generators_untouched():  # the initial weights of a network are drawn, then overwritten
            if agent_class.__module__.startswith("sbx."):
                return _load_jax_policy(agent_class, policy_class, spaces, options, weights)
            policy = _without_memory(policy_class, *spaces, lambda _: 0.0, **options)
        fill_module(policy, weights, what=f"{folder}: the policy")
    except MopoError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, AssertionError) as error:
        raise StoreError(f"{folder}: the policy's tensors do not fit its agent: {error}") from error
    policy.set_training_mode(False)
    return policy


def _check_sizes(options: dict[str, Any], spaces: Sequence[Any]) -> None:
    """Refuse the options of a network that is too large, before any part of it is made."""
    architecture = options.get("net_arch") or []
    networks = list(architecture.values()) if isinstance(architecture, dict) else [architecture]
    copies, quantiles, recurrent = (options.get(name) or 1 for name in ("n_critics", "n_quantiles", "n_lstm_layers"))
    ends = quantiles * sum(space.shape[0] if isinstance(space, Box) else int(space.n) for space in spaces)
    weights = sum(copies * one * other for widths in networks for one, other in pairwise([ends, *widths, ends]))
    layers = max(recurrent, copies * max(map(len, networks), default=0))
    if layers > _MOST_LAYERS or weights > _MOST_WEIGHTS:
        raise ValueError(
            f"found the options of {layers:,} layers and {weights:,} weights, expected at most {_MOST_LAYERS:,} and "
            f"{_MOST_WEIGHTS:,}"
        )


def _without_memory(policy_class: type[BasePolicy], *arguments: Any, **options: Any) -> BasePolicy:
    """Make a policy whose tensors have shapes but no content. No memory is taken, whatever the sizes are."""
    # Policies move their networks to `self.device`, which is the CPU as long as they have none.
    on_meta = type(policy_class.__name__, (policy_class,), {"device": torch.device("meta")})
    with torch.device("meta"):
        policy: BasePolicy = on_meta(*arguments, **options)
    policy.__class__ = policy_class
    return policy


def _policy_name(agent: BaseAlgorithm) -> str:
    for name, policy_class in agent.policy_aliases.items():
        if type(agent.policy) is policy_class:
            return name
    raise ConfigError(
        f"policy: a {type(agent.policy).__name__} cannot be saved here, because {type(agent).__name__} does not know "
        "this class by name. Use the agent's own save()."
    )


def _space_tensors(name: str, space: Space[Any]) -> dict[str, np.ndarray]:
    if not isinstance(space, Box | Discrete):
        raise ConfigError(f"{name}_space: only box and discrete spaces can be saved, found {space}.")
    return space_tensors(name, space)


def policy_weights(agent: BaseAlgorithm) -> dict[str, np.ndarray]:
    """Return the arrays of an agent's policy by name. They may share memory with the agent."""
    if plain_class(type(agent)).__module__.startswith("sbx."):
        return {name: np.asarray(array) for name, array in flatten(_jax_actor_state(agent.policy)).items()}
    return {name: tensor.detach().cpu().numpy() for name, tensor in agent.policy.state_dict().items()}


def _jax_actor_state(policy: Any) -> dict[str, Any]:
    """Return the state of an SBX actor: its parameters and, for CrossQ, the running batch statistics."""
    from flax.serialization import to_state_dict

    state = policy.actor_state
    parts = {"params": state.params, "batch_stats": getattr(state, "batch_stats", None)}
    return {name: to_state_dict(part) for name, part in parts.items() if part is not None}


def _load_jax_policy(
    agent_class: Any, policy_class: Any, spaces: Sequence[Any], options: dict[str, Any], weights: dict[str, np.ndarray]
) -> Policy:
    """Make an SBX agent, which alone can make its networks, and load the weights into its policy."""
    from flax.serialization import from_state_dict

    env: gym.Env[Any, Any] = gym.Env()
    env.observation_space, env.action_space = spaces
    agent: BaseAlgorithm = agent_class(policy_class, env, policy_kwargs=options, buffer_size=1, seed=0, device="cpu")
    policy: Any = agent.policy
    template = _jax_actor_state(policy)
    expected = {name: (np.shape(array), np.asarray(array).dtype) for name, array in flatten(template).items()}
    if expected != {name: (array.shape, array.dtype) for name, array in weights.items()}:
        raise ValueError("the names, shapes or types of the tensors differ from those of the agent's network")
    if any(not np.isfinite(array).all() for array in weights.values()):
        raise ValueError("a weight is not finite. Train it again")
    nested = unflatten(weights)
    parts = {name: from_state_dict(getattr(policy.actor_state, name), nested[name]) for name in template}
    policy.actor_state = policy.actor_state.replace(**parts)
    return agent
