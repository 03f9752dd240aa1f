"""The recipes: D4RL's four (paper, section 5.1), and a relabelled replay buffer (section 5.2)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from mopo_agents.agents import agent_name, get_agent_class
from mopo_agents.collection.behaviour import Behaviour, hyperparameters, train_behaviour
from mopo_agents.collection.replay_rows import transitions_from_replay_buffer
from mopo_agents.collection.rollouts import roll_out
from mopo_agents.collection.training_watch import THRESHOLD_EPISODES
from mopo_agents.policies import save_policy
from mopo_agents.runs.state.ownership import claim_folder
from mopo_env._utils.spaces import ActionSpace
from mopo_env._utils.store import library_versions, write_file
from mopo_env.datasets.relabel import relabel
from mopo_env.errors import ConfigError
from mopo_env.real.real_env import make_behaviour_env
from mopo_env.rewards import RewardFunction, ant_angle, halfcheetah_jump
from mopo_env.tasks import Task
from mopo_env.transitions import Episode, Transitions

__all__ = ["RECIPES", "Order"]

_ROLLED_OUT_ROWS = 1_000_000
# Streams of random numbers. The medium half of "med-expert" is the same as "medium" of the same seed.
_RANDOM, _MEDIUM, _EXPERT = range(3)
# Those of RL Baselines3 Zoo for CartPole: with Stable-Baselines3's own DQN learns nothing in so few steps.
_DQN_OPTIONS: dict[str, Any] = {
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "target_update_interval": 10,
    "train_freq": 250,
    "gradient_steps": 125,
    "exploration_fraction": 0.16,
    "exploration_final_eps": 0.04,
    "policy_kwargs": {"net_arch": [256, 256]},
}
# Long before DQN balances the pole for good: the data are of random, bad and middling behaviour.
_MIXED_STEPS = {"cartpole-mixed": 30_000}
# What the real environments of the relabelled tasks pay.
_RELABELLED: dict[str, RewardFunction] = {"halfcheetah-jump": halfcheetah_jump, "ant-angle": ant_angle}


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to collect, and how; the fields are explained in `mopo_agents.collection.collector.collect`."""

    task: Task
    folder: Path
    steps: int | None
    behaviour_steps: int
    threshold: float | None
    seed: int
    agent_options: dict[str, Any]
    workers: int
    checkpoint_minutes: float
    progress: bool

    @property
    def unfinished(self) -> Path:
        """Where an interrupted collection goes on from."""
        return self.folder / "unfinished"

    @property
    def behaviour(self) -> Path:
        """Where the behaviour policy and its training curve are kept."""
        return self.folder / "behaviour"


def _collect_random(order: Order) -> Transitions:
    """Roll uniform random actions out: the recipe "random".

    The paper speaks of a randomly initialised policy.
    """
    rows = order.steps or _ROLLED_OUT_ROWS
    episodes = _roll_out(order, None, rows=rows, stream=_RANDOM)
    return _joined(episodes, order, f"{rows} steps of uniform random actions", {})


def _collect_medium(order: Order) -> Transitions:
    """Train SAC until it reaches the threshold, and roll it out: the recipe "medium"."""
    rows = order.steps or _ROLLED_OUT_ROWS
    behaviour = _train(order, steps=order.behaviour_steps, threshold=order.threshold)
    episodes = _roll_out(order, order.behaviour, rows=rows, stream=_MEDIUM)
    recipe = f"{rows} steps of SAC as it was at the threshold, with stochastic actions"
    return _joined(episodes, order, recipe, _described(behaviour))


def _collect_med_expert(order: Order) -> Transitions:
    """Roll out SAC as it was at the threshold, then as it is fully trained, half and half: "med-expert"."""
    rows = order.steps or 2 * _ROLLED_OUT_ROWS
    medium = order.behaviour / "medium"

    def keep(agent: OffPolicyAlgorithm) -> None:
        save_policy(agent, medium, metadata={"task": order.task.name, "steps": agent.num_timesteps})

    behaviour = _train(order, steps=order.behaviour_steps, threshold=order.threshold, at_threshold=keep)
    episodes = _roll_out(order, medium, rows=rows // 2, stream=_MEDIUM)
    episodes += _roll_out(order, order.behaviour, rows=rows - rows // 2, stream=_EXPERT)
    recipe = (
        f"{rows // 2} steps of SAC as it was at the threshold, then {rows - rows // 2} of it fully trained, "
        "with stochastic actions"
    )
    return _joined(episodes, order, recipe, _described(behaviour))


def _collect_mixed(order: Order) -> Transitions:
    """Train SAC until it reaches the threshold, or for a given number of steps, and keep all it saw: "mixed"."""
    steps = order.steps or _MIXED_STEPS.get(order.task.name)
    if steps is None:
        behaviour = _train(order, steps=order.behaviour_steps, threshold=order.threshold)
    else:
        behaviour = _train(order, steps=steps)
    return _replay_buffer(order, behaviour)


def _collect_replay(order: Order) -> Transitions:
    """Train SAC under one reward, keep all it saw, and relabel it with another: the recipe "replay".

    The paper trains for 1,000,000 steps. The metadata keep the returns under the reward that SAC was trained with.
    """
    recorded = _replay_buffer(order, _train(order, steps=order.steps or order.behaviour_steps))
    kept = {
        "behaviour_env_id": order.task.behaviour_env_id,
        "behaviour_returns": recorded.metadata["episode_returns"],
        "real_env_id": order.task.real_env_id,
    }
    relabelled = relabel(recorded, _RELABELLED[order.task.name])
    return replace(relabelled, metadata={**relabelled.metadata, **kept})


RECIPES: dict[str, Callable[[Order], Transitions]] = {
    "random": _collect_random,
    "medium": _collect_medium,
    "mixed": _collect_mixed,
    "med-expert": _collect_med_expert,
    "replay": _collect_replay,
}


def _train(
    order: Order,
    *,
    steps: int,
    threshold: float | None = None,
    at_threshold: Callable[[OffPolicyAlgorithm], None] | None = None,
) -> Behaviour:
    """Train SAC where the task's data are recorded, and keep its policy and its training curve."""
    name = "steps" if threshold is None and order.steps is not None else "behaviour_steps"
    random_steps = order.agent_options["learning_starts"]
    if steps <= random_steps:
        raise ConfigError(f"{name}: found {steps}, expected more than the {random_steps} random steps at the start.")
    agent_class = get_agent_class(order.task.agent)
    if not issubclass(agent_class, OffPolicyAlgorithm):
        raise ConfigError(f"{order.task.name}: {order.task.agent} keeps no replay buffer, so it cannot collect.")
    _claim(order)
    behaviour = train_behaviour(
        functools.partial(make_behaviour_env, order.task.name),
        steps=steps,
        seed=order.seed,
        threshold=threshold,
        at_threshold=at_threshold,
        agent_class=agent_class,
        agent_options={**(_DQN_OPTIONS if order.task.agent == "DQN" else {}), **order.agent_options},
        folder=order.unfinished / "training",
        checkpoint_minutes=order.checkpoint_minutes,
        title=f"train {order.task.agent} for {order.task.name}",
        progress=order.progress,
    )
    write_file(order.behaviour / "training_curve.csv", behaviour.curve())
    if threshold is not None and behaviour.threshold_step is None:
        best = "there were fewer" if behaviour.best_mean is None else f"the best was {behaviour.best_mean:.1f}"
        raise ConfigError(
            f"behaviour_steps: {steps:,} training steps were not enough for {order.task.name}. The mean return of "
            f"{THRESHOLD_EPISODES} training episodes must reach {threshold:.1f}, and {best}. The same call with "
            "more behaviour_steps goes on where this one stopped; another seed may learn faster."
        )
    save_policy(
        behaviour.agent,
        order.behaviour,
        metadata={"task": order.task.name, "steps": behaviour.agent.num_timesteps},
    )
    return behaviour


def _roll_out(order: Order, policy: Path | None, *, rows: int, stream: int) -> list[Episode]:
    _claim(order)
    name = ("random", "medium", "expert")[stream]
    return roll_out(
        functools.partial(make_behaviour_env, order.task.name, disable_env_checker=True),
        policy=policy,
        rows=rows,
        seed=order.seed,
        stream=stream,
        workers=order.workers,
        folder=order.unfinished / name,
        checkpoint_minutes=order.checkpoint_minutes,
        title=f"roll out {name} for {order.task.name}",
        progress=order.progress,
    )


def _claim(order: Order) -> None:
    claim_folder(order.unfinished, {"task": order.task.name, "seed": order.seed})


def _replay_buffer(order: Order, behaviour: Behaviour) -> Transitions:
    """Return all that the agent saw, in order."""
    agent = behaviour.agent
    if not isinstance(agent.action_space, ActionSpace) or not isinstance(agent.replay_buffer, ReplayBuffer):
        raise ConfigError(f"{order.task.behaviour_env_id}: only box and discrete actions can be collected.")
    recipe = (
        f"the replay buffer of {agent_name(type(agent))} after {behaviour.steps} steps, "
        f"the first {agent.learning_starts} at random"
    )
    metadata = {
        **_metadata(order, recipe),
        **_described(behaviour),
        "episode_returns": behaviour.episode_returns.round(3).tolist(),
    }
    return transitions_from_replay_buffer(
        agent.replay_buffer, agent.action_space, steps=behaviour.steps, metadata=metadata
    )


def _joined(episodes: list[Episode], order: Order, recipe: str, behaviour: dict[str, Any]) -> Transitions:
    action_space = make_behaviour_env(order.task.name).action_space
    return Transitions.from_episodes(
        episodes,
        action_space=action_space,  # type: ignore[arg-type]  # a box, or the policy could not have acted
        metadata={**_metadata(order, recipe), **behaviour},
    )


def _metadata(order: Order, recipe: str) -> dict[str, Any]:
    return {
        "name": order.task.name,
        "recipe": recipe,
        "real_env_id": order.task.behaviour_env_id,
        "seed": order.seed,
        # MuJoCo 3.5.0 changed the contacts of Hopper and Ant.
        "mujoco_version": library_versions().get("mujoco"),
    }


def _described(behaviour: Behaviour) -> dict[str, Any]:
    """Return what the metadata say of the behaviour policy."""
    return {
        "behaviour": {
            "agent": agent_name(type(behaviour.agent)),
            "hyperparameters": hyperparameters(behaviour.agent),
            "steps": behaviour.agent.num_timesteps,
            "threshold": behaviour.threshold,
            "threshold_step": behaviour.threshold_step,
        }
    }
