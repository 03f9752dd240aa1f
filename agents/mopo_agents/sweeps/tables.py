"""The paper's tables and its Figure 1, as plans: which methods on which tasks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.methods import get_method
from mopo_agents.sweeps.plan import Plan, make_job
from mopo_env.datasets.folders import find_folder
from mopo_env.errors import ConfigError, UnknownNameError
from mopo_env.tasks import TASKS

EPOCHS = 500
ROLLOUT_BATCH_SIZE = 50_000


class PaperTable(NamedTuple):
    """The tasks of a table of the paper, and its methods; `mopo-no-lip` is what the paper's code ran as MOPO."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]


_OUT_OF_DISTRIBUTION = ("halfcheetah-jump", "ant-angle")
_OF_D4RL = tuple(name for name, task in TASKS.items() if task.paper_return and name not in _OUT_OF_DISTRIBUTION)

TABLES = {
    "table1": PaperTable(_OF_D4RL, ("ours", "mopo-no-lip", "mbpo", "sac", "bear", "brac-v")),
    "table2": PaperTable(_OUT_OF_DISTRIBUTION, ("ours", "mopo-no-lip", "mbpo", "sac", "bear", "brac-p", "brac-v")),
    "table3": PaperTable(
        ("halfcheetah-mixed", "halfcheetah-jump"),
        (
            *("ours", "mopo", "mopo-no-lip", "mopo-ens-penalty", "mopo-no-lip-ens-penalty", "mopo-no-penalty"),
            *("mbpo", "mbpo-no-ens", "mopo-oracle", "mopo-no-lip-oracle"),
        ),
    ),
    "figure1": PaperTable(("halfcheetah-mixed", "halfcheetah-jump"), ("mbpo", "mbpo-no-ens", "sac")),
}
"""Table 1 also has the batch's mean and largest return; every report has these."""


def plan_of(
    name: str,
    *,
    scale: float,
    seeds: Sequence[int],
    out: Path,
    tasks: Sequence[str] = (),
    methods: Sequence[str] = (),
) -> tuple[Plan, list[str]]:
    """Return the runs of a table, and the tasks that are left out because nobody has collected their data here.

    The arguments are those of `mopo reproduce`.

    Raises:
        UnknownNameError: If there is no such table, task or method.
        ConfigError: If no task is left.
    """
    if name not in TABLES:
        raise UnknownNameError("table", name, TABLES)
    table = TABLES[name]
    asked = tuple(tasks or table.tasks)
    there = [task for task in asked if (folder := find_folder(task)) and (folder / "dataset.json").exists()]
    if not there:
        raise ConfigError(f"{name}: found no data of {', '.join(asked)}. `mopo collect TASK` collects them.")
    epochs = max(1, round(EPOCHS * scale))
    size = max(20_000, round(ROLLOUT_BATCH_SIZE * min(1.0, scale)))
    jobs = []
    for task, method, seed in itertools.product(there, methods or table.methods, seeds):
        rollouts = None if get_method(method).model_free else size
        config = TrainConfig(task=task, method=method, seed=seed, epochs=epochs, rollout_batch_size=rollouts)
        jobs.append(make_job(config, out))
    plan = Plan(path=Path(name), out=out, jobs=tuple(jobs), varied=("task", "method", "seed"))
    return plan, [task for task in asked if task not in there]
