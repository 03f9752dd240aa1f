"""Train the agent whose experience, or whose policy, a dataset is made of; interrupted, it goes on where it stopped."""

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
from tqdm import tqdm

from mopo_agents._utils.threads import one_torch_thread
from mopo_agents.agents import agent_name
from mopo_agents.collection.behaviour_callback import THRESHOLD_EPISODES, BehaviourCallback, TrainingFinished
from mopo_agents.collection.checkpoint import Checkpoint
from mopo_agents.collection.environment_state import check_environment
from mopo_agents.runs.state.folder import claim_folder
from mopo_agents.runs.state.generators import generators_untouched
from mopo_agents.runs.state.interruption import interruptible
from mopo_env._utils.store import library_versions
from mopo_env.errors import ConfigError

__all__ = ["Behaviour", "hyperparameters", "train_behaviour"]

# An agent that updates every so many steps finishes the rollout in which its last step lies.
_LONGEST_ROLLOUT = 10_000
# Those of them that an agent has; the size of the replay buffer is left out, because it never overflows here.
_HYPERPARAMETERS = (
    "learning_rate",
    "learning_starts",
    "batch_size",
    "tau",
    "gamma",
    "train_freq",
    "gradient_steps",
    "ent_coef",
    "target_entropy",
    "target_update_interval",
    "use_sde",
    "exploration_fraction",
    "exploration_initial_eps",
    "exploration_final_eps",
    "policy_kwargs",
)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """A trained behaviour policy, and the way there.

    Attributes:
        agent: As it stands at the end, with all it saw in its replay buffer.
        steps: The steps that count: no more than were asked for, though the agent may have finished its rollout.
        threshold: The mean return that was asked for, or None.
        threshold_step: The step at whose end it was reached first, or None.
        episode_returns: Undiscounted return of each finished training episode, float64.
        episode_lengths: Steps of each, int64.
    """

    agent: OffPolicyAlgorithm
    steps: int
    threshold: float | None
    threshold_step: int | None
    episode_returns: np.ndarray
    episode_lengths: np.ndarray

    @property
    def best_mean(self) -> float | None:
        """The highest mean return of `THRESHOLD_EPISODES` episodes in a row; None: there were fewer."""
        if len(self.episode_returns) < THRESHOLD_EPISODES:
            return None
        windows = np.lib.stride_tricks.sliding_window_view(self.episode_returns, THRESHOLD_EPISODES)
        return float(windows.mean(axis=1).max())

    def curve(self) -> bytes:
        """Return the training curve as CSV: the step at which each episode ended, its return, its length."""
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

    The threshold is reached by the mean return of the last 10 training episodes. These cost nothing, and they are acted
    by the stochastic policy, as the dataset's episodes are going to be; so the stop is at the return that a dataset
    rolled out from here has. One episode alone is luck, and more than 10 lag behind an agent that is learning.

    Args:
        make_env: Builds the environment.
        steps: To train at most; an agent that updates every k steps ends with the rollout of k in which the last one
            lies.
        seed: Of the agent, the environment and the actions; the same one gives the same run on one machine.
        threshold: A mean return; None: the run does not depend on returns.
        at_threshold: Called when the threshold is reached first, and training goes on; None: it ends there.
        agent_class: Any off-policy agent with a policy called "MlpPolicy".
        agent_options: Passed to the class, such as ``{"learning_starts": 10_000}``.
        folder: For checkpoints; None: there are none, and an interruption loses the run.
        checkpoint_minutes: Between checkpoints; 0: one after every step. It does not change the run.
        title: Of the progress bar.
        progress: Whether to show one.

    Raises:
        ConfigError: If the folder's run was begun with other options or went on for longer, or if the state of the
            environment cannot be kept.
        StoreError: If a checkpoint is damaged or cannot be written.
        KeyboardInterrupt: After Ctrl-C, when the step is finished and saved.
    """
    with generators_untouched(), one_torch_thread(), interruptible() as interrupted:
        env = Monitor(make_env())
        options = {"buffer_size": steps + _LONGEST_ROLLOUT, "device": "cpu", "verbose": 0, **(agent_options or {})}
        agent = agent_class("MlpPolicy", env, seed=seed, **options)
        agent.set_logger(Logger(folder=None, output_formats=[]))  # SB3's own leaves a folder in the temporary one
        notes, checkpoint = None, None
        if folder is not None:
            check_environment(env)  # now, and not by the first checkpoint
            claim_folder(folder, _configuration(agent, env, seed=seed, steps=steps, threshold=threshold))
            checkpoint = Checkpoint(folder)
            notes = checkpoint.restore(agent, env)
            if agent.num_timesteps >= steps + _rollout_length(agent):
                raise ConfigError(
                    f"steps: {folder} has done {agent.num_timesteps:,} already; ask for at least as many."
                )
        callback = BehaviourCallback(
            env,
            threshold=threshold,
            at_threshold=at_threshold,
            threshold_step=None if notes is None else notes["threshold_step"],
            checkpoint=checkpoint,
            checkpoint_seconds=60.0 * checkpoint_minutes,
            interrupted=interrupted,
            bar=tqdm(initial=agent.num_timesteps, total=steps, desc=title, unit="step", disable=not progress),
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


def _rollout_length(agent: OffPolicyAlgorithm) -> int:
    """Return after how many steps an agent updates, at most."""
    frequency: Any = agent.train_freq  # a TrainFreq, once the agent is built
    return int(frequency.frequency) if frequency.unit is TrainFrequencyUnit.STEP else _LONGEST_ROLLOUT


def hyperparameters(agent: OffPolicyAlgorithm) -> dict[str, Any]:
    """Return an agent's options as JSON can hold them; what JSON cannot hold, by its text."""
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
    """Return all that decides a run; longer runs of the same kind start with the same steps."""
    return {
        "environment": "unknown" if env.spec is None else env.spec.id,
        "agent": agent_name(type(agent)),
        "hyperparameters": hyperparameters(agent),
        "seed": seed,
        "threshold": threshold,
        # DQN explores by a schedule over the whole run.
        **({"steps": steps} if hasattr(agent, "exploration_schedule") else {}),
        "versions": library_versions(),
    }
