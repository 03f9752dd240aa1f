"""`CollectConfig`: every choice of a collection, for Python and the command line alike."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional

from mopo_env._utils.options import check_fields, check_integer, check_number
from mopo_env.tasks import get_task

__all__ = ["CollectConfig"]


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """What to collect, and how.

    Attributes:
        task: A task's name or id; `mopo tasks` lists them.
        steps: Number of transitions; None: the recipe's own. For a replay buffer it is the length of the training, and
            then no threshold ends it.
        behaviour_steps: Training steps until the behaviour policy counts as fully trained; "medium" and "mixed" stop
            before, at the threshold.
        threshold: The mean return of the last 10 training episodes at which the behaviour policy is half trained; None:
            the task's.
        seed: The same seed gives the same data on one machine.
        workers: Processes that roll a policy out; the data do not depend on it.
        checkpoint_minutes: Minutes between checkpoints.
    """

    task: Positional[str]
    steps: int | None = None
    behaviour_steps: int = 1_000_000
    threshold: float | None = None
    seed: int = 0
    workers: int = 1
    checkpoint_minutes: float = 1.0

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            UnknownNameError: If there is no such task.
            ConfigError: If an option has the wrong type or lies outside its range; the message names it.
        """
        get_task(self.task)
        check_fields(self, check_integer, "steps", optional=True, minimum=2)
        check_fields(self, check_integer, "behaviour_steps", "workers")
        check_fields(self, check_integer, "seed", minimum=0)
        check_fields(self, check_number, "threshold", optional=True)
        check_fields(self, check_number, "checkpoint_minutes", minimum=0.0)
