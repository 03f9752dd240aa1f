"""The report of one run: a table for the terminal, and the learning curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mopo_agents.runs.outcome import TrainResult
from mopo_env.errors import require_extra
from mopo_env.tasks import Task

__all__ = ["plot_learning_curve", "result_table"]


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
    """Draw the return over the updates of a run, with the dataset's mean and best episode.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    require_extra("matplotlib", "plots")
    # The object-oriented interface needs no screen and changes no global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    updates = [row.updates for row in result.evaluations]
    means = np.array([row.return_mean for row in result.evaluations])
    stds = np.array([row.return_std for row in result.evaluations])
    (line,) = axes.plot(updates, means, marker="o", markersize=3, label="policy in the real environment")
    axes.fill_between(
        updates,
        means - stds,
        means + stds,
        alpha=0.2,
        color=line.get_color(),
        linewidth=0,
        label="± 1 standard deviation over episodes",
    )
    axes.axhline(result.dataset_max, color="0.35", linestyle="--", linewidth=1, label="dataset, best episode")
    axes.axhline(result.dataset_mean, color="0.35", linestyle=":", linewidth=1, label="dataset, mean episode")
    axes.set(xlabel="gradient steps", ylabel="return", title=task.id)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    path = Path(path)
    figure.savefig(path, dpi=150)
    return path
