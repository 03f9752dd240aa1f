"""Which mixins are put before an agent's class."""

from __future__ import annotations

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from mopo_agents.sb3.batched_rollouts import BatchedRollouts
from mopo_agents.sb3.fast_sac.update import FastSAC
from mopo_agents.sb3.mixins import RandomRollouts, with_mixins
from mopo_agents.sb3.overlap import OverlappedRollouts
from mopo_agents.sb3.value_agents import ValueAgent, is_value_agent
from mopo_env.errors import ConfigError

__all__ = ["compose"]


def compose(
    agent_class: type[BaseAlgorithm], *, fast: bool = True, random_rollouts: bool = False, overlap: bool = False
) -> type[BaseAlgorithm]:
    """Return the class of an agent that rolls out in a model; its name tells what was put before it.

    Args:
        agent_class: Any off-policy or on-policy class.
        fast: Whether rollouts and updates may run by faster code with the same results. A class that changes what
            would be replaced keeps its own.
        random_rollouts: Whether uniform random actions roll the model out.
        overlap: Whether rollouts run beside the updates.

    Raises:
        ConfigError: If the class cannot have one of them.
    """
    name, off_policy = agent_class.__name__, issubclass(agent_class, OffPolicyAlgorithm)
    if random_rollouts and not off_policy:
        raise ConfigError(
            f"random_rollouts: {name} is not off-policy and learns from its own actions only. "
            "Choose an off-policy agent such as SAC, or set random_rollouts to False."
        )
    batched = fast and off_policy and BatchedRollouts.fits(agent_class)
    if overlap and not batched:
        reason = f"{name} has a loop of its own" if fast else "it runs by the fast path, which is turned off"
        raise ConfigError(f"overlap: {reason}; leave overlap out.")
    rollouts = OverlappedRollouts if overlap else BatchedRollouts
    wanted: dict[type[BaseAlgorithm], bool] = {
        ValueAgent: is_value_agent(agent_class),
        FastSAC: fast and FastSAC.fits(agent_class),
        RandomRollouts: random_rollouts,
        rollouts: batched,
    }
    return with_mixins(agent_class, [mixin for mixin, is_wanted in wanted.items() if is_wanted])
