"""The steps of the recipes: train a behaviour policy, roll a policy out, and make a dataset."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from mopo_agents.agents import agent_name, get_agent_class
from mopo_agents.collection.behaviour import Behaviour, hyperparameters, train_behaviour
from mopo_agents.collection.behaviour_callback import THRESHOLD_EPISODES
from mopo_agents.collection.config import CollectConfig
from mopo_agents.collection.replay_rows import transitions_from_replay_buffer
from mopo_agents.collection.rollouts import roll_out
from mopo_agents.policies import save_policy
from mopo_agents.runs.state.files import claim_folder
from mopo_env._utils.spaces import ActionSpace
from mopo_env._utils.store import library_versions, write_file
from mopo_env.errors import ConfigError
from mopo_env.real.real_env import make_behaviour_env
from mopo_env.tasks import Task, get_task
from mopo_env.transitions import Episode, Transitions

# From RL Baselines3 Zoo for CartPole. With Stable-Baselines3's defaults, DQN learns nothing in so few steps.
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
# D4RL trained with rlkit, which acts at random for the first 1,000 steps.
_RANDOM_STEPS = 1_000
# Streams of random numbers. For one seed, "medium" is also the medium half of "med-expert".
_STREAMS = {"random": 0, "medium": 1, "expert": 2}


@dataclass(frozen=True, kw_only=True)
class Collector:
    """Carries out one collection.

    Attributes:
        behaviour_folder: The folder of the behaviour policy and its training curve.
        unfinished: The folder from which an interrupted collection resumes. None: it cannot resume.
    """

    config: CollectConfig
    behaviour_folder: Path
    unfinished: Path | None
    agent_options: dict[str, Any]
    progress: bool

    @property
    def task(self) -> Task:
        """The task."""
        return get_task(self.config.task)

    @property
    def _agent_class(self) -> Any:  # all tasks have off-policy agents
        return get_agent_class(self.task.agent)

    @property
    def threshold(self) -> float | None:
        """The return at which the behaviour policy is half trained, or None."""
        return self.task.behaviour_threshold if self.config.threshold is None else self.config.threshold

    def initialise(self) -> None:
        """Save the policy of the task's agent as it is before any training."""
        self._unfinished("random")  # refuses another collection's folder before anything is written
        env, seed = make_behaviour_env(self.task.name), self.config.seed
        agent = self._agent_class("MlpPolicy", env, seed=seed, buffer_size=1, device="cpu", **self.agent_options)
        self.save_policy(agent, self.behaviour_folder)

    def train(
        self,
        *,
        steps: int,
        threshold: float | None = None,
        at_threshold: Callable[[OffPolicyAlgorithm], None] | None = None,
    ) -> Behaviour:
        """Train the task's agent in the behaviour environment, and save its policy and its training curve."""
        task, options = self.task, {"learning_starts": _RANDOM_STEPS, **self.agent_options}
        name = "steps" if threshold is None and self.config.steps is not None else "behaviour_steps"
        if steps <= options["learning_starts"]:
            raise ConfigError(
                f"{name}: found {steps}, expected more than the {options['learning_starts']} random steps at the start."
            )
        behaviour = train_behaviour(
            functools.partial(make_behaviour_env, task.name),
            steps=steps,
            seed=self.config.seed,
            threshold=threshold,
            at_threshold=at_threshold,
            agent_class=self._agent_class,
            agent_options={**(_DQN_OPTIONS if task.agent == "DQN" else {}), **options},
            folder=self._unfinished("training"),
            checkpoint_minutes=self.config.checkpoint_minutes,
            title=f"train {task.agent} for {task.name}",
            progress=self.progress,
        )
        write_file(self.behaviour_folder / "training_curve.csv", behaviour.curve())
        if threshold is not None and behaviour.threshold_step is None:
            best = "there were fewer" if behaviour.best_mean is None else f"the best was {behaviour.best_mean:.1f}"
            raise ConfigError(
                f"behaviour_steps: {steps:,} training steps were not enough for {task.name}. The mean return of "
                f"{THRESHOLD_EPISODES} training episodes must reach {threshold:.1f}, but {best}. Repeat the call with "
                "more behaviour_steps to resume where this one stopped. Another seed may learn faster."
            )
        self.save_policy(behaviour.agent, self.behaviour_folder)
        return behaviour

    def save_policy(self, agent: OffPolicyAlgorithm, folder: Path) -> None:
        """Save a behaviour policy with its task, for `mopo evaluate`."""
        save_policy(agent, folder, metadata={"task": self.task.name, "steps": agent.num_timesteps})

    def roll_out(self, policy: Path, *, rows: int, name: str) -> list[Episode]:
        """Roll out a policy to this number of rows."""
        return roll_out(
            functools.partial(make_behaviour_env, self.task.name, disable_env_checker=True),
            policy=policy,
            rows=rows,
            seed=self.config.seed,
            stream=_STREAMS[name],
            workers=self.config.workers,
            folder=self._unfinished(name),
            checkpoint_minutes=self.config.checkpoint_minutes,
            title=f"roll out {name} for {self.task.name}",
            progress=self.progress,
        )

    def from_episodes(self, episodes: list[Episode], recipe: str, behaviour: Behaviour | None = None) -> Transitions:
        """Return the dataset of rolled-out episodes."""
        action_space = make_behaviour_env(self.task.name).action_space
        return Transitions.from_episodes(
            episodes,
            action_space=action_space,  # type: ignore[arg-type]  # a box, because the policy acts in it
            metadata=self._metadata(recipe, behaviour),
        )

    def from_replay_buffer(self, behaviour: Behaviour) -> Transitions:
        """Return the dataset of all transitions of the behaviour policy's training, in order."""
        agent = behaviour.agent
        if not isinstance(agent.action_space, ActionSpace) or not isinstance(agent.replay_buffer, ReplayBuffer):
            raise ConfigError(f"{self.task.behaviour_env_id}: only box and discrete actions can be collected.")
        recipe = (
            f"the replay buffer of {agent_name(type(agent))} after {behaviour.steps} steps, "
            f"the first {agent.learning_starts} at random"
        )
        returns = {"episode_returns": behaviour.episode_returns.round(3).tolist()}
        metadata = {**self._metadata(recipe, behaviour), **returns}
        return transitions_from_replay_buffer(
            agent.replay_buffer, agent.action_space, steps=behaviour.steps, metadata=metadata
        )

    def _unfinished(self, name: str) -> Path | None:
        """Claim the folder of unfinished work for this task and seed, and return the folder of one part of it."""
        if self.unfinished is None:
            return None
        claim_folder(self.unfinished, {"task": self.task.name, "seed": self.config.seed})
        return self.unfinished / name

    def _metadata(self, recipe: str, behaviour: Behaviour | None) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "name": self.task.name,
            "recipe": recipe,
            "real_env_id": self.task.behaviour_env_id,
            "seed": self.config.seed,
            # MuJoCo 3.5.0 changed the contacts of Hopper and Ant.
            "mujoco_version": library_versions().get("mujoco"),
        }
        if behaviour is not None:
            metadata["behaviour"] = {
                "agent": agent_name(type(behaviour.agent)),
                "hyperparameters": hyperparameters(behaviour.agent),
                "steps": behaviour.agent.num_timesteps,
                "threshold": behaviour.threshold,
                "threshold_step": behaviour.threshold_step,
            }
        return metadata
