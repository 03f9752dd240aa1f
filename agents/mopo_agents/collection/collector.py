"""`collect`: a dataset for a task, begun anew or continued where it was interrupted."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mopo_agents.collection.recipes import RECIPES, Order
from mopo_env._utils.options import check_integer, check_number
from mopo_env.datasets.files import save_transitions
from mopo_env.errors import ConfigError
from mopo_env.tasks import get_task
from mopo_env.transitions import Transitions

__all__ = ["collect"]

# D4RL trained with rlkit, which acts at random for the first 1,000 steps.
_RANDOM_STEPS = 1_000


def collect(
    task: str,
    *,
    folder: Path | str | None = None,
    steps: int | None = None,
    behaviour_steps: int = 1_000_000,
    threshold: float | None = None,
    seed: int = 0,
    agent_options: dict[str, Any] | None = None,
    workers: int = 1,
    checkpoint_minutes: float = 1.0,
    progress: bool = True,
) -> Transitions:
    """Collect a task's dataset by its recipe, or finish the collection that was interrupted in this folder.

    The same call goes on where it stopped, and ends with the same bits as one that was never interrupted.

    Args:
        task: A task's name or id.
        folder: Where the dataset goes, the behaviour policy and its training curve (``behaviour/``), and meanwhile what
            an interrupted collection goes on from (``unfinished/``). None: nothing is kept but what is returned.
        steps: Number of transitions; None: the recipe's own. For a replay buffer it is the length of the training, and
            then no threshold ends it.
        behaviour_steps: Training steps until the behaviour policy counts as fully trained; its threshold must be
            reached before.
        threshold: The mean return of the last 10 training episodes at which the behaviour policy is half trained;
            None: the task's.
        seed: Of everything; the same seed gives the same data on one machine.
        agent_options: Passed to SAC, such as ``{"learning_starts": 10_000}``.
        workers: Processes that roll a policy out; the data do not depend on it.
        checkpoint_minutes: Between checkpoints.
        progress: Whether to show progress bars.

    Raises:
        UnknownNameError: If there is no such task.
        ConfigError: If an option is wrong, the folder holds a dataset or an unfinished one of other options, or the
            threshold is not reached; what was done until then stays in the folder.
        StoreError: If the folder cannot be written, or a checkpoint in it is damaged.
        MissingExtraError: If MuJoCo is not installed.
        KeyboardInterrupt: After Ctrl-C, when the step under way is finished and saved.
    """
    found = get_task(task)
    check_integer("behaviour_steps", behaviour_steps)
    check_integer("seed", seed, minimum=0)
    check_integer("workers", workers)
    if steps is not None:
        check_integer("steps", steps, minimum=2)
    if threshold is not None:
        check_number("threshold", threshold)
    check_number("checkpoint_minutes", checkpoint_minutes, minimum=0.0)
    with _folder_or_temporary(folder) as place:
        order = Order(
            task=found,
            folder=place,
            steps=steps,
            behaviour_steps=behaviour_steps,
            threshold=found.behaviour_threshold if threshold is None else threshold,
            seed=seed,
            agent_options={"learning_starts": _RANDOM_STEPS, **(agent_options or {})},
            workers=workers,
            checkpoint_minutes=math.inf if folder is None else checkpoint_minutes,
            progress=progress,
        )
        transitions = RECIPES[str(found.recipe)](order)
        if folder is not None:
            save_transitions(transitions, place)
            shutil.rmtree(order.unfinished)
    return transitions


@contextmanager
def _folder_or_temporary(folder: Path | str | None) -> Iterator[Path]:
    """Yield a folder that holds no dataset yet."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="mopo-collect-") as temporary:
            yield Path(temporary)
        return
    folder = Path(folder)
    if (folder / "dataset.json").exists():
        raise ConfigError(f"{folder} already holds a dataset; choose another folder, or remove it first.")
    yield folder
