"""The state of an agent of SBX as arrays: its networks, optimizers and keys are attributes that JAX made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm


def is_jax_agent(agent: BaseAlgorithm) -> bool:
    """Return whether an agent is one of SBX's."""
    return any(kind.__module__.startswith("sbx.") for kind in type(agent).__mro__)


def jax_parts(agent: BaseAlgorithm) -> Iterator[tuple[Any, str, Any]]:
    """Yield the owner, the name and the value of each attribute that consists of JAX's arrays."""
    import jax

    for owner in (agent, agent.policy):
        for name, value in vars(owner).items():
            leaves = jax.tree_util.tree_leaves(value)
            if any(isinstance(leaf, jax.Array) for leaf in leaves):
                yield owner, name, value


def jax_state(agent: BaseAlgorithm) -> dict[str, Any]:
    """Return a copy of the arrays for `set_jax_state`."""
    import jax

    return {
        _key(agent, owner, name): {
            str(place): np.array(leaf) for place, leaf in enumerate(jax.tree_util.tree_leaves(value))
        }
        for owner, name, value in jax_parts(agent)
    }


def set_jax_state(agent: BaseAlgorithm, state: dict[str, Any]) -> None:
    """Restore a state in an agent with the same options."""
    import jax

    for owner, name, value in list(jax_parts(agent)):
        saved = state[_key(agent, owner, name)]
        leaves, structure = jax.tree_util.tree_flatten(value)
        if len(saved) != len(leaves):
            raise ValueError(f"{name} has {len(leaves)} arrays, the state has {len(saved)}")
        arrays = [jax.numpy.asarray(saved[str(place)]) for place in range(len(leaves))]
        setattr(owner, name, jax.tree_util.tree_unflatten(structure, arrays))


def _key(agent: BaseAlgorithm, owner: Any, name: str) -> str:
    return name if owner is agent else f"policy.{name}"
