"""`mopo tasks` and `mopo methods`: what can be trained."""

from __future__ import annotations

from typing import Any

from mopo_agents.runs.methods import METHODS, Method
from mopo_env.datasets.folders import bundled_folder, find_folder
from mopo_env.tasks import TASKS

__all__ = ["list_methods", "list_tasks"]


def list_tasks() -> list[dict[str, Any]]:
    """List the tasks: ids, settings and data."""
    print(f"{'id':<29}{'h':>2}{'λ':>5}  {'real environment':<25}data")
    rows = []
    for task in TASKS.values():
        folder = "bundled" if bundled_folder(task.name) else find_folder(task.name)
        data = folder or f"mopo collect {task.name}"
        print(f"{task.id:<29}{task.horizon:>2}{task.penalty_coef:>5g}  {task.real_env_id:<25}{data}")
        rows.append({"id": task.id, "task": task, "data": data})
    print("Train with `mopo train TASK`; in Python: `import mopo_env; gymnasium.make(ID)`.")
    return rows


def list_methods() -> list[Method]:
    """List the methods of the paper's tables, and their options."""
    shown = ("halfcheetah-mixed", "halfcheetah-jump")
    print(f"{'method':<25}{'in the paper':<34}{shown[0]:>18}{shown[1]:>18}  what it sets")
    for method in METHODS.values():
        returns = "".join(f"{method.paper_returns.get(task, '–'):>18}" for task in shown)
        options = [*(f"fit {key}={value}" for key, value in method.fit.items())]
        options += [f"{key}={value}" for key, value in method.train.items()]
        options += ["its own h or λ by task"] * bool(method.by_task) + ["no model"] * method.model_free
        print(f"{method.name:<25}{method.title:<34}{returns}  {', '.join(options) or 'nothing'}")
    print(
        "The returns are the paper's, which has no bc. h and λ are the task's unless the last column sets them. Train "
        "with `mopo train TASK --method METHOD`. If a method needs its own ensemble, it is fitted once and kept."
    )
    return list(METHODS.values())
