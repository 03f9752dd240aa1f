"""`mopo tasks` and `mopo methods`: what can be trained."""

from __future__ import annotations

import textwrap
from typing import Any

from mopo_agents.runs.methods import METHODS, Method
from mopo_env.datasets.folders import bundled_folder, find_folder
from mopo_env.tasks import TASKS


def list_tasks() -> list[dict[str, Any]]:
    """List the tasks: ids, settings and data."""
    print(f"{'id':<29}{'h':>2}{'λ':>5}  {'real environment':<27}data")
    rows, own = [], []
    for task in TASKS.values():
        folder = bundled_folder(task.name) or find_folder(task.name)
        data = "none yet" if folder is None else "bundled" if bundled_folder(task.name) else "collected"
        print(f"{task.id:<29}{task.horizon:>2}{task.penalty_coef:>5g}  {task.real_env_id:<27}{data}")
        own += [f"{task.id}: {folder}"] * (data == "collected")
        rows.append({"id": task.id, "task": task, "data": folder})
    print(*own, "For data that are none yet: `mopo collect TASK`. Train with `mopo train TASK`;", sep="\n")
    print("in Python: `import mopo_env; gymnasium.make(ID)`.")
    return rows


def list_methods() -> list[Method]:
    """List the methods of the paper's tables, and their options."""
    shown = ("halfcheetah-mixed", "halfcheetah-jump")
    print(f"{'method':<25}{'in the paper, with its returns':<35}{'mixed':>9}{'jump':>9}")
    for method in METHODS.values():
        returns = "".join(f"{method.paper_returns.get(task, '–'):>9}" for task in shown)
        options = [*(f"fit {key}={value}" for key, value in method.fit.items())]
        options += [f"{key}={value}" for key, value in method.train.items()]
        options += ["its own h or λ by task"] * bool(method.by_task) + ["no model"] * method.model_free
        print(f"{method.name:<25}{method.title:<35}{returns}")
        print(textwrap.fill(", ".join(options) or "sets nothing", 80, initial_indent="    ", subsequent_indent="    "))
    print(
        "The returns are the paper's, on halfcheetah-mixed and halfcheetah-jump. h and\nλ are the task's unless the "
        "method sets them. Train with `mopo train TASK\n--method METHOD`. A method's own ensemble is fitted once and "
        "kept."
    )
    return list(METHODS.values())
