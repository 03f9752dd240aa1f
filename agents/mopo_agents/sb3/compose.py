"""Which mixins and which options an agent gets for MOPO."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from mopo_agents.replay_buffer import MixedReplayBuffer
from mopo_agents.sb3.batched_rollouts import BatchedRollouts
from mopo_agents.sb3.fast_sac.update import FastSAC
from mopo_agents.sb3.mixins import RandomRollouts, with_mixins
from mopo_agents.sb3.overlap import OverlappedRollouts
from mopo_agents.sb3.value_agents import VALUE_AGENT_OPTIONS, ValueAgent, is_value_agent
from mopo_env._utils.options import check_integer
from mopo_env.errors import ConfigError


def compose(
    agent_class: type[BaseAlgorithm], *, fast: bool = True, random_rollouts: bool = False, overlap: bool = False
) -> type[BaseAlgorithm]:
    """Return an agent's class with the mixins it needs; the name of the new class lists them.

    The options are those of `make_agent`. A class that overrides what `fast` would replace keeps its own methods.

    Raises:
        ConfigError: If the class does not support one of the options.
    """
    name, off_policy = agent_class.__name__, issubclass(agent_class, OffPolicyAlgorithm)
    if random_rollouts and not off_policy:
        raise ConfigError(
            f"random_rollouts: {name} is not off-policy, so it can learn only from its own actions. "
            "Choose an off-policy agent such as SAC, or set random_rollouts to False."
        )
    batched = fast and off_policy and BatchedRollouts.fits(agent_class)
    if overlap and not batched:
        reason = f"{name} has its own rollout loop" if fast else "it needs the fast path, but fast is False"
        raise ConfigError(f"overlap: {reason}. Leave overlap out.")
    rollouts = OverlappedRollouts if overlap else BatchedRollouts
    wanted: dict[type[BaseAlgorithm], bool] = {
        ValueAgent: is_value_agent(agent_class),
        FastSAC: fast and FastSAC.fits(agent_class),
        RandomRollouts: random_rollouts,
        rollouts: batched,
    }
    return with_mixins(agent_class, [mixin for mixin, is_wanted in wanted.items() if is_wanted])


def off_policy_options(
    agent_class: type[BaseAlgorithm],
    horizon: int,
    rollout_batch_size: int,
    seed: int,
    agent_options: dict[str, Any],
    *,
    gradient_steps: int | None,
    real_ratio: float | None,
    retain_epochs: int | None,
) -> dict[str, Any]:
    """Return MOPO's options for an off-policy agent.

    The arguments are those of `make_agent`. ``replay_buffer_kwargs`` moves from `agent_options` to the result.
    """
    gradient_steps = 1000 if gradient_steps is None else check_integer("gradient_steps", gradient_steps)
    retain_epochs = 5 if retain_epochs is None else check_integer("retain_epochs", retain_epochs)
    buffer = agent_options.get("replay_buffer_class", MixedReplayBuffer)
    if not (isinstance(buffer, type) and issubclass(buffer, MixedReplayBuffer)):
        raise ConfigError(f"replay_buffer_class: must be MixedReplayBuffer or a subclass, found {buffer!r}.")
    ours = {"real_ratio": 0.05 if real_ratio is None else real_ratio, "seed": seed}
    return {
        "replay_buffer_class": buffer,
        "replay_buffer_kwargs": {**ours, **(agent_options.pop("replay_buffer_kwargs", None) or {})},
        "buffer_size": retain_epochs * rollout_batch_size * horizon,
        "train_freq": (horizon, "step"),
        "gradient_steps": gradient_steps,
        "learning_starts": 0,
        "batch_size": 256,
        **(VALUE_AGENT_OPTIONS if is_value_agent(agent_class) else {}),
    }
