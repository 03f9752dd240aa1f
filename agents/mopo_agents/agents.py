"""The agents by name, and how to make one for MOPO or for a dataset alone."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from gymnasium.spaces import Discrete
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy

from mopo_agents.baselines.offline import DatasetEnv, OfflineAgent
from mopo_agents.replay_buffer import MixedReplayBuffer
from mopo_agents.sb3.compose import compose, off_policy_options
from mopo_agents.sb3.mixins import fast_path as fast_path
from mopo_agents.sb3.mixins import plain_class
from mopo_agents.sb3.standardise import standardised
from mopo_agents.vec_env import PenalizedModelVecEnv
from mopo_env._utils.devices import check_device
from mopo_env._utils.spaces import ActionSpace
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, UnknownNameError, require_extra
from mopo_env.transitions import Transitions


@dataclass(frozen=True)
class AgentSource:
    """The module and name of an agent's class, and the extra of ``mopo-env`` that installs it, if any."""

    module: str
    class_name: str
    extra: str | None = None


AGENTS: dict[str, AgentSource] = {
    "SAC": AgentSource("stable_baselines3", "SAC"),
    "TD3": AgentSource("stable_baselines3", "TD3"),
    "DDPG": AgentSource("stable_baselines3", "DDPG"),
    "PPO": AgentSource("stable_baselines3", "PPO"),
    "A2C": AgentSource("stable_baselines3", "A2C"),
    "DQN": AgentSource("stable_baselines3", "DQN"),
    "TQC": AgentSource("sb3_contrib", "TQC", "contrib"),
    "CrossQ": AgentSource("sb3_contrib", "CrossQ", "contrib"),
    "QRDQN": AgentSource("sb3_contrib", "QRDQN", "contrib"),
    "SBX-SAC": AgentSource("sbx", "SAC", "sbx"),
    "SBX-TD3": AgentSource("sbx", "TD3", "sbx"),
    "SBX-DDPG": AgentSource("sbx", "DDPG", "sbx"),
    "SBX-TQC": AgentSource("sbx", "TQC", "sbx"),
    "SBX-CrossQ": AgentSource("sbx", "CrossQ", "sbx"),
    "RAVL": AgentSource("mopo_agents.pessimism", "RAVL"),
    "MOBILE": AgentSource("mopo_agents.pessimism", "MOBILE"),
    "BC": AgentSource("mopo_agents.baselines", "BC"),
    "BEAR": AgentSource("mopo_agents.baselines", "BEAR"),
    "BRAC-p": AgentSource("mopo_agents.baselines", "BRACp"),
    "BRAC-v": AgentSource("mopo_agents.baselines", "BRACv"),
    "offline-SAC": AgentSource("mopo_agents.baselines", "OfflineSAC"),
}


def get_agent_class(agent: str | type[BaseAlgorithm]) -> type[BaseAlgorithm]:
    """Return an agent's class, given its name or the class itself.

    Raises:
        UnknownNameError: If no agent has this name.
        MissingExtraError: If its package is not installed; the message contains the pip command.
        ConfigError: If it is neither a name nor a Stable-Baselines3 class.
    """
    if isinstance(agent, str):
        by_lower_case = {name.lower(): source for name, source in AGENTS.items()}
        if agent.lower() not in by_lower_case:
            raise UnknownNameError("agent", agent, AGENTS)
        source = by_lower_case[agent.lower()]
        agent = getattr(require_extra(source.module, source.extra or "all"), source.class_name)
    if not (isinstance(agent, type) and issubclass(agent, BaseAlgorithm)):
        raise ConfigError(
            f"agent: expected a name or a subclass of Stable-Baselines3's BaseAlgorithm, found {agent!r}."
        )
    return agent


def agent_name(agent_class: type[BaseAlgorithm]) -> str:
    """Return a class's name in `AGENTS`, or else its full name; mixins of this package are ignored."""
    agent_class = plain_class(agent_class)
    for name, source in AGENTS.items():
        if agent_class.__name__ == source.class_name and f"{agent_class.__module__}.".startswith(f"{source.module}."):
            return name
    return f"{agent_class.__module__}.{agent_class.__qualname__}"


def make_agent(
    agent: str | type[BaseAlgorithm],
    penalized_model: PenalizedModel,
    *,
    horizon: int,
    rollout_batch_size: int = 50_000,
    gradient_steps: int | None = None,
    real_ratio: float | None = None,
    retain_epochs: int | None = None,
    random_rollouts: bool = False,
    standardise: bool = False,
    overlap: bool = False,
    fast: bool = True,
    policy: str | type[BasePolicy] = "MlpPolicy",
    seed: int = 0,
    device: str = "cpu",
    **agent_options: Any,
) -> BaseAlgorithm:
    """Make a Stable-Baselines3 agent whose own `learn` is MOPO's loop (paper, Algorithm 2, lines 3 to 11).

    One call of its `collect_rollouts` takes h steps in b rollouts, and one call of its `train` does the updates. So
    ``agent.learn(epochs * b * h, log_interval=None)`` runs `epochs` epochs.

    With `fast`, off-policy agents get a batched `collect_rollouts`. A SAC with only Stable-Baselines3's own parts also
    gets a `train` with explicit gradients. Both give the same results to rounding. `fast_path` tells which code runs;
    so do the name of the agent's class and, with ``verbose=1``, the log of `learn`.

    Args:
        agent: A name in `AGENTS`, or any off-policy or on-policy class.
        penalized_model: The model to train in. Off-policy agents also get rows of its dataset in their batches.
        horizon: h.
        rollout_batch_size: b.
        gradient_steps: Updates in an epoch, for off-policy agents; default: 1000.
        real_ratio: f, the share of real rows in a batch, for off-policy agents; default: 0.05.
        retain_epochs: Epochs whose model rows the buffer keeps, for off-policy agents; default: 5.
        random_rollouts: Whether rollouts take uniform random actions instead of the agent's, as in the paper's
            out-of-distribution tasks (Appendix C.1); for off-policy agents.
        standardise: Whether the policy scales observations by the dataset's mean and standard deviation; for agents of
            Stable-Baselines3 and sb3-contrib.
        overlap: Whether the rollouts of an epoch run on a second core during the updates of the previous epoch; their
            policy is then one epoch older.
        fast: Whether faster code with the same results may replace the agent's own.
        policy: A name in the agent's `policy_aliases`, or a policy class.
        seed: Seed of the agent, its environment and its buffer.
        device: Device of the agent's networks.
        **agent_options: Options of the class, such as ``learning_rate``. They override the options set here, and so
            does each entry of ``replay_buffer_kwargs``.

    Raises:
        UnknownNameError: If no agent has this name.
        ConfigError: If an option is wrong, or the agent does not support it.
    """
    agent_class = get_agent_class(agent)
    if issubclass(agent_class, OfflineAgent):
        raise ConfigError(
            f"agent: {agent_name(agent_class)} learns from a dataset alone, without a model. "
            "Use make_offline_agent(agent, transitions)."
        )
    check_device(device)
    _check_action_space(penalized_model.action_space)
    name = agent_class.__name__
    options: dict[str, Any] = {"seed": seed, "device": device}
    numbers: dict[str, Any] = dict(gradient_steps=gradient_steps, real_ratio=real_ratio, retain_epochs=retain_epochs)
    if issubclass(agent_class, OnPolicyAlgorithm):
        if given := [option for option, value in numbers.items() if value is not None]:
            raise ConfigError(
                f"{', '.join(given)}: {name} is on-policy and has no replay buffer. "
                "Leave them out, or choose an off-policy agent such as SAC."
            )
        options |= {"n_steps": horizon}
    elif issubclass(agent_class, OffPolicyAlgorithm):
        options |= off_policy_options(agent_class, horizon, rollout_batch_size, seed, agent_options, **numbers)
    else:
        raise ConfigError(f"agent: {name} is neither an off-policy nor an on-policy algorithm.")
    _check_policy(agent_class, policy)
    env = PenalizedModelVecEnv(penalized_model, num_envs=rollout_batch_size, horizon=horizon, seed=seed)
    if standardise:
        kwargs = standardised(agent_class, agent_options.get("policy_kwargs"), penalized_model.transitions)
        agent_options = {**agent_options, "policy_kwargs": kwargs}
    options |= copy.deepcopy(agent_options)
    agent_class = compose(agent_class, fast=fast, random_rollouts=random_rollouts, overlap=overlap)
    try:
        model = agent_class(policy, env, **options)
    except AssertionError as error:
        if "action spaces" not in str(error):  # Stable-Baselines3 checks its arguments by assertions
            raise
        discrete = isinstance(penalized_model.action_space, Discrete)
        fitting = "DQN, QRDQN, PPO or A2C" if discrete else "SAC, TD3, TQC or PPO"
        raise ConfigError(
            f"agent: {name} cannot choose actions of {penalized_model.action_space}; {fitting} can."
        ) from error
    if isinstance(model, OffPolicyAlgorithm) and isinstance(model.replay_buffer, MixedReplayBuffer):
        model.replay_buffer.attach(penalized_model.transitions, mini_batch_size=model.batch_size)
    return model


def make_offline_agent(
    agent: str | type[BaseAlgorithm],
    transitions: Transitions,
    *,
    gradient_steps: int = 1000,
    standardise: bool = False,
    policy: str | type[BasePolicy] = "MlpPolicy",
    seed: int = 0,
    device: str = "cpu",
    **agent_options: Any,
) -> OfflineAgent:
    """Make an agent that learns from a dataset alone, for comparison with MOPO.

    ``agent.learn(epochs * gradient_steps)`` runs `epochs` epochs of updates.

    Args:
        agent: ``"BC"``, ``"BEAR"``, ``"BRAC-p"``, ``"BRAC-v"`` or ``"offline-SAC"``, or a subclass of `OfflineAgent`.
        transitions: D_env.
        gradient_steps: Updates in an epoch.
        standardise: Whether all networks see observations scaled by the dataset's mean and standard deviation.
        policy: A name in the agent's `policy_aliases`, or a policy class.
        seed: Seed of the agent and its batches.
        device: Device of the agent's networks.
        **agent_options: Options of the class, such as ``learning_rate``.

    Raises:
        UnknownNameError: If no agent has this name.
        ConfigError: If an option is wrong, the agent needs an environment, or the actions are discrete or unbounded.
    """
    agent_class = get_agent_class(agent)
    if not issubclass(agent_class, OfflineAgent):
        raise ConfigError(
            f"agent: {agent_name(agent_class)} learns from steps in an environment. "
            "Use make_agent(agent, penalized_model)."
        )
    check_device(device)
    _check_policy(agent_class, policy)
    if standardise:
        kwargs = standardised(agent_class, agent_options.get("policy_kwargs"), transitions)
        agent_options = {**agent_options, "policy_kwargs": kwargs}
    options = {"gradient_steps": gradient_steps, "seed": seed, "device": device, **copy.deepcopy(agent_options)}
    return agent_class(policy, DatasetEnv(transitions), **options)


def _check_policy(agent_class: type[BaseAlgorithm], policy: str | type[BasePolicy]) -> None:
    known = agent_class.policy_aliases
    if policy not in known if isinstance(policy, str) else not isinstance(policy, type):
        raise ConfigError(
            f"policy: {agent_class.__name__} has {', '.join(known) or 'no policy of its own'}, found {policy!r}. "
            "Pass one of these names, or a policy class, as policy=…"
        )


def _check_action_space(space: ActionSpace) -> None:
    if isinstance(space, Discrete):
        if space.start != 0:
            raise ConfigError(f"agents number actions from 0, and the dataset from {space.start}. Number them anew.")
    elif not space.is_bounded():
        raise ConfigError(
            f"agents scale actions to −1…1, so every action needs finite bounds, and the dataset has {space}. Import "
            "the data with bounds: action_low=… and action_high=… (--action-low and --action-high)."
        )
