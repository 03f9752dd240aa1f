"""The report of one run: a table for the terminal, and the learning curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mopo_agents.figures import Curve, Panel, draw_learning_curves
from mopo_agents.runs.outcome import TrainResult
from mopo_env.figures.canvas import save_figure
from mopo_env.tasks import Task


def result_table(task: Task, result: TrainResult) -> str:
    """Return a Markdown table: returns if there is a real environment, otherwise the rewards in the model."""
    return _model_table(task, result) if task.real_env_id is None else _return_table(task, result)


def _return_table(task: Task, result: TrainResult) -> str:
    rows = [
        ("dataset, mean episode", result.dataset_mean),
        ("dataset, best episode", result.dataset_max),
    ]
    if result.final is not None:
        rows.append((f"policy, mean of {len(result.final.returns)} episodes", result.final.mean))
    lines = ["| " + f"{task.label:<28} |   return | normalised | × dataset mean |", "|---|---:|---:|---:|"]
    for name, value in rows:
        ratio = f"{value / result.dataset_mean:.2f}" if result.dataset_mean > 0 else "–"
        score = task.normalised(value)
        normalised = "–" if score is None else f"{score:.1f}"
        lines.append(f"| {name:<28} | {value:8.1f} | {normalised:>10} | {ratio:>14} |")
    return "\n".join(lines)


def _model_table(task: Task, result: TrainResult) -> str:
    rows: list[tuple[str, float, float | None, float]] = [
        ("dataset", result.dataset_reward, None, result.dataset_terminated)
    ]
    note = "The policy was not evaluated, because there is no real environment."
    if result.model_rows:
        first, last = result.model_rows[0], result.model_rows[-1]
        rows.append(("model, first epoch", first.model_reward, first.penalty, first.terminated))
        rows.append((f"model, epoch {len(result.model_rows)}", last.model_reward, last.penalty, last.terminated))
        note += " The numbers of the model do not show how good the policy is."
    lines = ["| " + f"{task.label:<28} | reward per step | penalty | terminal |", "|---|---:|---:|---:|"]
    for name, reward, penalty, terminated in rows:
        shown = "–" if penalty is None else f"{penalty:.3f}"
        lines.append(f"| {name:<28} | {reward:15.3f} | {shown:>7} | {terminated:8.2%} |")
    return "\n".join([*lines, note])


def plot_learning_curve(task: Task, result: TrainResult, path: Path | str) -> Path:
    """Draw the returns over the updates of a run, and the dataset's mean and best. The band is over episodes."""
    curve = Curve(
        label="policy in the real environment, ± 1 standard deviation over episodes",
        updates=np.array([row.updates for row in result.evaluations], dtype=np.float64),
        values=np.array([[row.return_mean for row in result.evaluations]]),
        band=np.array([row.return_std for row in result.evaluations]),
    )
    panel = Panel(title=task.id, curves=[curve], dataset_mean=result.dataset_mean, dataset_max=result.dataset_max)
    return save_figure(draw_learning_curves(panel), path)
