"""Save and load trained policies as plain tensors: reading one runs no code of its author's choice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
from mopo_env.errors import ConfigError, MopoError, StoreError

__all__ = ["load_policy", "save_policy"]

_NAME = "policy"
_EXTRACTOR = "features_extractor_class"


def save_policy(agent: BaseAlgorithm, folder: Path | str, *, metadata: dict[str, Any] | None = None) -> Path:
    """Write an agent's policy into a folder.

    Args:
        agent: A trained agent whose spaces are boxes, or whose actions are numbered.
        folder: Created when missing.
        metadata: What to remember beside it; anything JSON can hold.

    Returns:
        The path of the manifest, ``policy.json``.

    Raises:
        ConfigError: If the policy is of a class, or has options, that JSON cannot hold, such as a network of one's own.
        StoreError: If the folder cannot be written.
    """
    tensors = {
        **{f"weights/{name}": array for name, array in _weights(agent).items()},
        **_space_tensors("observation", agent.observation_space),
        **_space_tensors("action", agent.action_space),
    }
    # A2C and QRDQN choose an optimizer's class here, which has no form in JSON and no part in acting.
    options = {name: value for name, value in agent.policy_kwargs.items() if not name.startswith("optimizer_")}
    description = {
        "agent": agent_name(type(agent)),
        "policy": _policy_name(agent),
        "policy_options": _with_names(options),
    }
    try:
        return write_artifact(folder, _NAME, tensors, {**(metadata or {}), **description})
    except StoreError as error:
        if "cannot be kept as JSON" in str(error):
            raise ConfigError(f"policy_kwargs cannot be saved here: {error} Use the agent's own save().") from error
        raise


def load_policy(folder: Path | str, *, agent: type[BaseAlgorithm] | None = None) -> Policy:
    """Read a policy that `save_policy` wrote.

    Args:
        folder: Where it lies: a training run's folder, or one of its checkpoints.
        agent: The agent's class, where it is not one known by name.

    Returns:
        An object with Stable-Baselines3's `predict`.

    Raises:
        StoreError: If the files are missing or damaged, or do not fit the agent.
        MissingExtraError: If the agent's package is not installed.
    """
    tensors, metadata = read_artifact(folder, _NAME)
    try:
        name, options = metadata["agent"], _with_classes(metadata["policy_options"])
        if agent is None and name not in AGENTS:
            raise StoreError(
                f"{folder}: the policy belongs to the agent {name!r}, which has no name here. "
                "Import its class yourself and pass it as agent=."
            )
        spaces = [space_from_tensors(name, tensors) for name in ("observation", "action")]
        weights = {key.removeprefix("weights/"): array for key, array in tensors.items() if key.startswith("weights/")}
        agent_class = get_agent_class(agent or name)
        with generators_untouched():  # the first weights of a network are drawn, and thrown away here
            if agent_class.__module__.startswith("sbx."):
                return _load_jax_policy(agent_class, spaces, options, weights)
            policy_class: type[BasePolicy] = agent_class.policy_aliases[metadata["policy"]]
            policy = policy_class(*spaces, lambda _: 0.0, **options)
        policy.load_state_dict({key: torch.from_numpy(array) for key, array in weights.items()})
    except MopoError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, AssertionError) as error:
        raise StoreError(f"{folder}: the policy's tensors do not fit its agent: {error}") from error
    policy.set_training_mode(False)
    return policy


def _policy_name(agent: BaseAlgorithm) -> str:
    """Return the name under which the agent's class knows its policy."""
    for name, policy_class in agent.policy_aliases.items():
        if type(agent.policy) is policy_class:
            return name
    raise ConfigError(
        f"policy: a {type(agent.policy).__name__} cannot be saved here, since {type(agent).__name__} has no name "
        "for it. Use the agent's own save()."
    )


def _with_names(options: dict[str, Any]) -> dict[str, Any]:
    """Replace the one class that JSON may stand for by its name."""
    named = {_EXTRACTOR: Standardise.__name__} if options.get(_EXTRACTOR) is Standardise else {}
    return {**options, **named}


def _with_classes(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, **({_EXTRACTOR: Standardise} if options.get(_EXTRACTOR) == Standardise.__name__ else {})}


def _space_tensors(name: str, space: Space[Any]) -> dict[str, np.ndarray]:
    if not isinstance(space, Box | Discrete):
        raise ConfigError(f"only policies with box or discrete spaces can be saved, found {space}.")
    return space_tensors(name, space)


def _weights(agent: BaseAlgorithm) -> dict[str, np.ndarray]:
    if plain_class(type(agent)).__module__.startswith("sbx."):
        return {name: np.asarray(array) for name, array in flatten(_jax_actor_state(agent.policy)).items()}
    return {name: tensor.detach().cpu().numpy() for name, tensor in agent.policy.state_dict().items()}


def _jax_actor_state(policy: Any) -> dict[str, Any]:
    """Return what an SBX actor needs to act: its parameters and, for CrossQ, the running batch statistics."""
    from flax.serialization import to_state_dict

    state = policy.actor_state
    parts = {"params": state.params, "batch_stats": getattr(state, "batch_stats", None)}
    return {name: to_state_dict(part) for name, part in parts.items() if part is not None}


def _load_jax_policy(
    agent_class: type[BaseAlgorithm], spaces: Sequence[Any], options: dict[str, Any], weights: dict[str, np.ndarray]
) -> Policy:
    from flax.serialization import from_state_dict

    from mopo_agents.agents import make_agent
    from mopo_env.envs.penalized_model import PenalizedModel
    from mopo_env.toys import StubEnsemble
    from mopo_env.transitions import Transitions

    observation_space, action_space = spaces
    rows = np.zeros((2, *observation_space.shape), dtype=np.float32)
    nothing = Transitions(
        observations=rows,
        actions=np.stack([np.clip(0.0, action_space.low, action_space.high)] * 2),
        rewards=np.zeros(2),
        next_observations=rows,
        terminations=np.zeros(2, dtype=bool),
        truncations=np.zeros(2, dtype=bool),
        observation_space=observation_space,
        action_space=action_space,
    )
    model = StubEnsemble(rows.shape[1], action_space.shape[0], mean=lambda s, a: (s, torch.zeros(len(s))))
    agent = make_agent(
        agent_class, PenalizedModel(model, nothing), horizon=1, rollout_batch_size=1, policy_kwargs=options
    )
    policy: Any = agent.policy
    state = policy.actor_state
    nested = unflatten(weights)
    template = _jax_actor_state(policy)
    expected = {name: np.shape(array) for name, array in flatten(template).items()}
    if expected != {name: array.shape for name, array in weights.items()}:
        raise ValueError("the names or shapes of the tensors differ from those of the agent's network")
    parts = {name: from_state_dict(getattr(state, name), nested[name]) for name in template}
    policy.actor_state = state.replace(**parts)
    return agent
