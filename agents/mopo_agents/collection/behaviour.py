"""Train the agent whose replay buffer or policy gives a dataset. An interrupted training resumes where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFrequencyUnit

from mopo_agents._utils.machine import torch_threads
from mopo_agents.agents import agent_name
from mopo_agents.collection.behaviour_callback import THRESHOLD_EPISODES, BehaviourCallback, TrainingFinished
from mopo_agents.collection.checkpoint import Checkpoint
from mopo_agents.collection.environment_state import check_environment
from mopo_agents.runs.state.files import claim_folder
from mopo_agents.runs.state.generators import generators_untouched
from mopo_agents.runs.state.interruption import interruptible
from mopo_env._utils.progress import progress_bar
from mopo_env._utils.store import library_versions
from mopo_env.errors import ConfigError

# An agent finishes its rollout, so it may take more steps than asked. The replay buffer has room for this many.
_LONGEST_ROLLOUT = 10_000
# An agent has only some of these. The size of the replay buffer is omitted because the buffer never overflows here.
_HYPERPARAMETERS = (
    *("learning_rate", "learning_starts", "batch_size", "tau", "gamma", "train_freq", "gradient_steps", "ent_coef"),
    *("target_entropy", "target_update_interval", "use_sde"),
    *("exploration_fraction", "exploration_initial_eps", "exploration_final_eps", "policy_kwargs"),
)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """A trained behaviour policy, and the record of its training.

    Attributes:
        agent: The agent at the end, with all its transitions in the replay buffer.
        steps: The training steps, without those beyond `steps` with which the agent finished its rollout.
        threshold: The mean return at which the policy is half trained, or None.
        threshold_step: The step at which the mean return first reached the threshold, or None.
        episode_returns: Undiscounted return of each finished training episode, float64.
        episode_lengths: Number of steps of each of these episodes, int64.
    """

    agent: OffPolicyAlgorithm
    steps: int
    threshold: float | None
    threshold_step: int | None
    episode_returns: np.ndarray
    episode_lengths: np.ndarray

    @property
    def best_mean(self) -> float | None:
        """The highest mean return of `THRESHOLD_EPISODES` consecutive episodes; None if there are fewer episodes."""
        if len(self.episode_returns) < THRESHOLD_EPISODES:
            return None
        windows = np.lib.stride_tricks.sliding_window_view(self.episode_returns, THRESHOLD_EPISODES)
        return float(windows.mean(axis=1).max())

    def curve(self) -> bytes:
        """Return the training curve as CSV: the last step, the return and the length of each episode."""
        columns = (self.episode_lengths.cumsum(), self.episode_returns, self.episode_lengths)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return "".join(["step,return,length\n", *(f"{end},{value},{length}\n" for end, value, length in rows)]).encode()


def train_behaviour(
    make_env: Callable[[], gym.Env[Any, Any]],
    *,
    steps: int,
    seed: int = 0,
    threshold: float | None = None,
    at_threshold: Callable[[OffPolicyAlgorithm], None] | None = None,
    agent_class: type[OffPolicyAlgorithm] = SAC,
    agent_options: dict[str, Any] | None = None,
    folder: Path | None = None,
    checkpoint_minutes: float = 1.0,
    title: str = "train",
    progress: bool = True,
) -> Behaviour:
    """Train an agent with its own `learn`, from the start or from the checkpoint of the same run.

    The threshold applies to the mean return of the last 10 training episodes. They cost nothing extra and use the
    stochastic policy, so a dataset that is rolled out at the threshold has about this return. One episode would be
    too noisy, and more than 10 would lag behind the agent.

    Args:
        make_env: Builds the environment.
        steps: Training steps. An agent that updates every k steps still finishes its rollout of k.
        seed: Seed of the agent, the environment and the actions. On one machine, it determines the run.
        threshold: A mean return. None: the run does not depend on returns.
        at_threshold: Called at the threshold, before training continues. None: training ends at the threshold.
        agent_class: Any off-policy agent with a policy called "MlpPolicy".
        agent_options: Arguments of the class, such as ``{"learning_starts": 10_000}``.
        folder: The folder of the checkpoints. None: an interruption loses the run.
        checkpoint_minutes: Minutes between checkpoints; 0: after every step. The run does not depend on it.
        title: The title of the progress bar.
        progress: Whether to show it.

    Raises:
        ConfigError: If the folder's run has other options or more steps, or the environment's state cannot be saved.
        StoreError: If a checkpoint is damaged or cannot be written.
        KeyboardInterrupt: After Ctrl-C, when the step is finished and saved.
    """
    with generators_untouched(), torch_threads(1), interruptible() as interrupted:
        env = Monitor(make_env())
        options = {"buffer_size": steps + _LONGEST_ROLLOUT, "device": "cpu", "verbose": 0, **(agent_options or {})}
        agent = agent_class("MlpPolicy", env, seed=seed, **options)
        agent.set_logger(Logger(folder=None, output_formats=[]))  # SB3's own logger would leave a temporary folder
        notes, checkpoint = None, None
        if folder is not None:
            check_environment(env)  # fails now, not at the first checkpoint
            claim_folder(folder, _configuration(agent, env, seed=seed, steps=steps, threshold=threshold))
            checkpoint = Checkpoint(folder)
            notes = checkpoint.restore(agent, env)
            frequency: Any = agent.train_freq  # a TrainFreq, once the agent is built
            in_steps = frequency.unit is TrainFrequencyUnit.STEP
            if agent.num_timesteps >= steps + (frequency.frequency if in_steps else _LONGEST_ROLLOUT):
                raise ConfigError(
                    f"steps: {folder} has done {agent.num_timesteps:,} already. Ask for at least as many as that."
                )
        callback = BehaviourCallback(
            env,
            threshold=threshold,
            at_threshold=at_threshold,
            threshold_step=None if notes is None else notes["threshold_step"],
            checkpoint=checkpoint,
            checkpoint_seconds=60.0 * checkpoint_minutes,
            interrupted=interrupted,
            bar=progress_bar(initial=agent.num_timesteps, total=steps, desc=title, unit="step", show=progress),
        )
        try:
            if not callback.is_finished and agent.num_timesteps < steps:
                agent.learn(
                    steps - agent.num_timesteps,
                    callback=callback,
                    log_interval=None,  # type: ignore[arg-type]  # SB3 accepts None
                    reset_num_timesteps=notes is None,
                )
        except TrainingFinished:
            pass
        finally:
            callback.bar.close()
            env.close()
    steps = min(steps, agent.num_timesteps)
    lengths = np.array(env.episode_lengths, dtype=np.int64)
    counted = int(np.searchsorted(lengths.cumsum(), steps, side="right"))
    return Behaviour(
        agent=agent,
        steps=steps,
        threshold=threshold,
        threshold_step=callback.threshold_step,
        episode_returns=np.array(env.episode_returns[:counted], dtype=np.float64),
        episode_lengths=lengths[:counted],
    )


def hyperparameters(agent: OffPolicyAlgorithm) -> dict[str, Any]:
    """Return an agent's options as JSON data; other objects become text."""
    found = {name: getattr(agent, name) for name in _HYPERPARAMETERS if hasattr(agent, name)}
    if "train_freq" in found:
        found["train_freq"] = [agent.train_freq.frequency, agent.train_freq.unit.value]  # type: ignore[union-attr]
    found["net_arch"] = getattr(agent.policy, "net_arch", None)
    return {
        name: value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)
        for name, value in found.items()
    }


def _configuration(
    agent: OffPolicyAlgorithm, env: gym.Env[Any, Any], *, seed: int, steps: int, threshold: float | None
) -> dict[str, Any]:
    """Return everything that decides the run. `steps` is usually not part of it: a longer run has the same start."""
    return {
        "environment": "unknown" if env.spec is None else env.spec.id,
        "agent": agent_name(type(agent)),
        "hyperparameters": hyperparameters(agent),
        "seed": seed,
        "threshold": threshold,
        # DQN's exploration schedule depends on the length of the run.
        **({"steps": steps} if hasattr(agent, "exploration_schedule") else {}),
        "versions": library_versions(),
    }
