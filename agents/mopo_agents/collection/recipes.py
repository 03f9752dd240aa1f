"""`collect` and the recipes: D4RL's four (paper, section 5.1), and a relabelled replay buffer (section 5.2)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mopo_agents.collection.collector import Collector
from mopo_agents.collection.config import CollectConfig
from mopo_agents.runs.state.folder import remove_folder
from mopo_env.datasets.files import save_transitions
from mopo_env.datasets.relabel import relabel
from mopo_env.errors import ConfigError
from mopo_env.rewards import RewardFunction, ant_angle, halfcheetah_jump
from mopo_env.transitions import Transitions

__all__ = ["RECIPES", "collect"]

_ROLLED_OUT_ROWS = 1_000_000
# Streams of random numbers. The medium half of "med-expert" is the same as "medium" of the same seed.
_RANDOM: dict[str, Any] = {"name": "random", "stream": 0}
_MEDIUM: dict[str, Any] = {"name": "medium", "stream": 1}
_EXPERT: dict[str, Any] = {"name": "expert", "stream": 2}
# Long before DQN balances the pole for good: the data are of random, bad and middling behaviour.
_MIXED_STEPS = {"cartpole-mixed": 30_000}
# What the real environments of the relabelled tasks pay.
_RELABELLED: dict[str, RewardFunction] = {"halfcheetah-jump": halfcheetah_jump, "ant-angle": ant_angle}


def collect(
    config: CollectConfig,
    *,
    folder: Path | str | None = None,
    agent_options: dict[str, Any] | None = None,
    progress: bool = True,
) -> Transitions:
    """Collect a task's dataset by its recipe, or finish the collection that was interrupted in this folder.

    The same call goes on where it stopped, and ends with the same bits as one that was never interrupted.

    Args:
        config: What to collect.
        folder: Where the dataset goes, the behaviour policy and its training curve (``behaviour/``), and meanwhile what
            an interrupted collection goes on from (``unfinished/``). None: nothing is kept but what is returned.
        agent_options: Passed to the behaviour policy's class, such as ``{"learning_starts": 10_000}``.
        progress: Whether to show progress bars.

    Raises:
        ConfigError: If the folder holds a dataset or an unfinished one of other options, there are too few steps, or
            the threshold is not reached; what was done until then stays in the folder.
        StoreError: If the folder cannot be written, or a checkpoint in it is damaged.
        MissingExtraError: If MuJoCo is not installed.
        KeyboardInterrupt: After Ctrl-C, when the step under way is finished and saved.
    """

    def transitions(behaviour_folder: Path, unfinished: Path | None) -> Transitions:
        collector = Collector(
            config=config,
            behaviour_folder=behaviour_folder,
            unfinished=unfinished,
            agent_options=agent_options or {},
            progress=progress,
        )
        return RECIPES[str(collector.task.recipe)](collector)

    if folder is None:
        with tempfile.TemporaryDirectory(prefix="mopo-collect-") as temporary:
            return transitions(Path(temporary), None)
    folder = Path(folder)
    unfinished = folder / "unfinished"
    # With unfinished work beside it, the dataset is that of a process that was killed while it tidied up.
    if (folder / "dataset.json").exists() and not unfinished.exists():
        remove_folder(unfinished)
        raise ConfigError(f"{folder} already holds a dataset; choose another folder, or remove it first.")
    collected = transitions(folder / "behaviour", unfinished)
    save_transitions(collected, folder)
    remove_folder(unfinished)
    return collected


def _collect_random(collector: Collector) -> Transitions:
    """Roll uniform random actions out: the recipe "random".

    The paper speaks of a randomly initialised policy.
    """
    rows = collector.config.steps or _ROLLED_OUT_ROWS
    episodes = collector.roll_out(None, rows=rows, **_RANDOM)
    return collector.from_episodes(episodes, f"{rows} steps of uniform random actions")


def _collect_medium(collector: Collector) -> Transitions:
    """Train SAC until it reaches the threshold, and roll it out: the recipe "medium"."""
    rows = collector.config.steps or _ROLLED_OUT_ROWS
    behaviour = collector.train(steps=collector.config.behaviour_steps, threshold=collector.threshold)
    episodes = collector.roll_out(collector.behaviour_folder, rows=rows, **_MEDIUM)
    recipe = f"{rows} steps of SAC as it was at the threshold, with stochastic actions"
    return collector.from_episodes(episodes, recipe, behaviour)


def _collect_med_expert(collector: Collector) -> Transitions:
    """Roll out SAC as it was at the threshold, then as it is fully trained, half and half: "med-expert"."""
    rows = collector.config.steps or 2 * _ROLLED_OUT_ROWS
    medium = collector.behaviour_folder / "medium"
    behaviour = collector.train(
        steps=collector.config.behaviour_steps,
        threshold=collector.threshold,
        at_threshold=lambda agent: collector.save_policy(agent, medium),
    )
    episodes = collector.roll_out(medium, rows=rows // 2, **_MEDIUM)
    episodes += collector.roll_out(collector.behaviour_folder, rows=rows - rows // 2, **_EXPERT)
    recipe = (
        f"{rows // 2} steps of SAC as it was at the threshold, then {rows - rows // 2} of it fully trained, "
        "with stochastic actions"
    )
    return collector.from_episodes(episodes, recipe, behaviour)


def _collect_mixed(collector: Collector) -> Transitions:
    """Train SAC until it reaches the threshold, or for a given number of steps, and keep all it saw: "mixed"."""
    steps = collector.config.steps or _MIXED_STEPS.get(collector.task.name)
    if steps is None:
        behaviour = collector.train(steps=collector.config.behaviour_steps, threshold=collector.threshold)
    else:
        behaviour = collector.train(steps=steps)
    return collector.from_replay_buffer(behaviour)


def _collect_replay(collector: Collector) -> Transitions:
    """Train SAC under one reward, keep all it saw, and relabel it with another: the recipe "replay".

    The paper trains for 1,000,000 steps. The metadata keep the returns under the reward that SAC was trained with.
    """
    task, config = collector.task, collector.config
    recorded = collector.from_replay_buffer(collector.train(steps=config.steps or config.behaviour_steps))
    kept = {
        "behaviour_env_id": task.behaviour_env_id,
        "behaviour_returns": recorded.metadata["episode_returns"],
        "real_env_id": task.real_env_id,
    }
    relabelled = relabel(recorded, _RELABELLED[task.name])
    return replace(relabelled, metadata={**relabelled.metadata, **kept})


RECIPES: dict[str, Callable[[Collector], Transitions]] = {
    "random": _collect_random,
    "medium": _collect_medium,
    "mixed": _collect_mixed,
    "med-expert": _collect_med_expert,
    "replay": _collect_replay,
}
