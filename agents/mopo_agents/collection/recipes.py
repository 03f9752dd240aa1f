"""`collect` and its recipes: D4RL's four (paper, section 5.1), and a relabelled replay buffer (section 5.2)."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mopo_agents._utils.outputs import check_room
from mopo_agents.collection.collector import Collector
from mopo_agents.collection.config import CollectConfig
from mopo_agents.runs.state.files import remove_folder
from mopo_env._utils.locks import folder_lock
from mopo_env.datasets.files import save_transitions
from mopo_env.datasets.relabel import relabel
from mopo_env.errors import ConfigError
from mopo_env.rewards import RewardFunction, ant_angle, halfcheetah_jump
from mopo_env.tasks import get_task
from mopo_env.transitions import Transitions

_ROLLED_OUT_ROWS = 1_000_000
# Of the dataset and of the unfinished work together; the robots have up to 27 observations.
_BYTES_PER_ROW = 300
# At this step, DQN does not yet balance the pole reliably, so the data show random, bad and medium behaviour.
_MIXED_STEPS = {"cartpole-mixed": 30_000}
# The rewards of the relabelled tasks' real environments.
_RELABELLED: dict[str, RewardFunction] = {"halfcheetah-jump": halfcheetah_jump, "ant-angle": ant_angle}


def collect(
    config: CollectConfig,
    *,
    folder: Path | str | None = None,
    agent_options: dict[str, Any] | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Transitions:
    """Collect a task's dataset, or resume the collection that was interrupted in this folder.

    A resumed collection gives bit for bit the same data as one without an interruption.

    Args:
        config: The options of the collection.
        folder: The folder of the dataset, of the behaviour policy and its training curve (``behaviour/``), and of
            unfinished work (``unfinished/``). None: nothing is saved.
        agent_options: Arguments of the behaviour policy's class, such as ``{"learning_starts": 10_000}``.
        overwrite: Whether to replace the dataset that the folder holds, at the end.
        progress: Whether to show progress bars.

    Raises:
        ConfigError: If the folder holds a dataset or unfinished work with other options, there are too few steps, or
            the policy does not reach the threshold. The finished work stays in the folder.
        StoreError: If the folder cannot be written or its disk is full, another process collects into it, or a
            checkpoint in it is damaged.
        MissingExtraError: If MuJoCo is not installed.
        KeyboardInterrupt: After Ctrl-C, when the running step is finished and saved.
    """
    recipe = RECIPES[str(get_task(config.task).recipe)]
    collector = functools.partial(Collector, config=config, agent_options=agent_options or {}, progress=progress)
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="mopo-collect-") as temporary:
            return recipe(collector(behaviour_folder=Path(temporary), unfinished=None))
    folder = Path(folder)
    unfinished = folder / "unfinished"
    with folder_lock(folder):
        # A dataset beside unfinished work is from a process that was killed between saving the one and removing the
        # other, or that replaces it.
        if (folder / "dataset.json").exists() and not unfinished.exists():
            remove_folder(unfinished)
            if not overwrite:
                raise ConfigError(
                    f"{folder} already holds a dataset. Choose another folder, or pass overwrite=True (--overwrite) "
                    "to replace it."
                )
        check_room(folder, (config.steps or _ROLLED_OUT_ROWS) * _BYTES_PER_ROW)
        collected = recipe(collector(behaviour_folder=folder / "behaviour", unfinished=unfinished))
        # If this fails, the checkpoints in `unfinished` still hold the work.
        save_transitions(collected, folder)
        remove_folder(unfinished)
    return collected


def _collect_random(collector: Collector) -> Transitions:
    """Recipe "random": roll out a randomly initialised policy."""
    rows = collector.config.steps or _ROLLED_OUT_ROWS
    collector.initialise()
    episodes = collector.roll_out(collector.behaviour_folder, rows=rows, name="random")
    return collector.from_episodes(episodes, f"{rows} steps of SAC as it was initialised, with stochastic actions")


def _collect_medium(collector: Collector) -> Transitions:
    """Recipe "medium": train SAC until it reaches the threshold, then roll it out."""
    rows = collector.config.steps or _ROLLED_OUT_ROWS
    behaviour = collector.train(steps=collector.config.behaviour_steps, threshold=collector.threshold)
    episodes = collector.roll_out(collector.behaviour_folder, rows=rows, name="medium")
    recipe = f"{rows} steps of SAC as it was at the threshold, with stochastic actions"
    return collector.from_episodes(episodes, recipe, behaviour)


def _collect_med_expert(collector: Collector) -> Transitions:
    """Recipe "med-expert": one half from SAC at the threshold, one half from fully trained SAC."""
    rows = collector.config.steps or 2 * _ROLLED_OUT_ROWS
    medium = collector.behaviour_folder / "medium"
    behaviour = collector.train(
        steps=collector.config.behaviour_steps,
        threshold=collector.threshold,
        at_threshold=lambda agent: collector.save_policy(agent, medium),
    )
    episodes = collector.roll_out(medium, rows=rows // 2, name="medium")
    episodes += collector.roll_out(collector.behaviour_folder, rows=rows - rows // 2, name="expert")
    recipe = (
        f"{rows // 2} steps of SAC as it was at the threshold, then {rows - rows // 2} of it fully trained, "
        "with stochastic actions"
    )
    return collector.from_episodes(episodes, recipe, behaviour)


def _collect_mixed(collector: Collector) -> Transitions:
    """Recipe "mixed": train SAC up to the threshold, or for a number of steps, and keep its replay buffer."""
    steps = collector.config.steps or _MIXED_STEPS.get(collector.task.name)
    if steps is None:
        behaviour = collector.train(steps=collector.config.behaviour_steps, threshold=collector.threshold)
    else:
        behaviour = collector.train(steps=steps)
    return collector.from_replay_buffer(behaviour)


def _collect_replay(collector: Collector) -> Transitions:
    """Recipe "replay": train SAC with one reward, keep its replay buffer, and relabel it with another reward.

    The paper trains for 1,000,000 steps. The metadata hold the returns of the reward that SAC was trained with.
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
