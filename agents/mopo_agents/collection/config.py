"""`CollectConfig`: all options of a collection, for Python and the command line."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional

from mopo_env._utils.options import check_fields, check_integer, check_number
from mopo_env.tasks import get_task


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """What to collect, and how.

    Attributes:
        task: Name or id of a task (`mopo tasks` lists them).
        steps: Number of transitions. None: the recipe's number. If the dataset is a replay buffer, this is the length
            of the training, and the threshold is ignored.
        behaviour_steps: Training steps of a fully trained behaviour policy. "medium" and "mixed" stop earlier, at the
            threshold.
        threshold: The behaviour policy is half trained when the mean return of its last 10 training episodes reaches
            this value. None: the task's.
        seed: On one machine, the same seed gives the same data.
        workers: Processes that roll a policy out. The data do not depend on this number.
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
        """Refuse every option of a wrong type or outside its range, by a `ConfigError` that names it."""
        get_task(self.task)
        check_fields(self, check_integer, "steps", optional=True, minimum=2)
        check_fields(self, check_integer, "behaviour_steps", "workers")
        check_fields(self, check_integer, "seed", minimum=0)
        check_fields(self, check_number, "threshold", optional=True)
        check_fields(self, check_number, "checkpoint_minutes", minimum=0.0)
