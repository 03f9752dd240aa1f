"""`mopo train`: begin or continue a training run."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from tyro.conf import OmitArgPrefixes

from mopo_agents._utils.outputs import refuse_other_files
from mopo_agents.runs.config import TrainConfig
from mopo_env.errors import ConfigError, MopoError

__all__ = ["train_agent"]


def train_agent(
    *,
    config: OmitArgPrefixes[TrainConfig] = TrainConfig(task=""),  # noqa: B008  # it is frozen
    out: Path | None = None,
    resume: Path | None = None,
) -> None:
    """Train an agent in the learned model, or from the dataset alone. Evaluate it if there is a real environment.

    Ctrl-C lets the epoch finish and saves the run; --resume continues it. A second Ctrl-C stops at once.

    Args:
        config: The options of the run.
        out: Folder of the run. None: a new folder in runs/.
        resume: Continue the unfinished run in this folder. It keeps its options; only --device and --threads may be
            given too.
    """
    from mopo_agents.runs.report import plot_learning_curve, result_table
    from mopo_agents.runs.resume import resume as resume_run
    from mopo_agents.runs.train import train

    if resume is not None:
        result = resume_run(resume, **_options_of_resume(config, out))
    elif not config.task:
        raise ConfigError(
            "task: found none, expected a task's name (`mopo tasks` lists them), a folder or a Minari id."
        )
    else:
        if out is not None:
            refuse_other_files(out)
        result = train(config, folder=out)
    task, folder = result.run.task, result.folder
    print(result_table(task, result))
    if result.evaluations:
        try:
            print(f"Learning curve: {plot_learning_curve(task, result, folder / 'learning_curve.png')}")
        except MopoError as error:
            print(f"No learning curve was drawn: {error}")
    if result.scores:
        best = max(result.scores, key=lambda row: row.score)
        print(
            f"Scores by the model alone: {result.scores[-1].score:.0f} at the last epoch, best {best.score:.0f} "
            f"at epoch {best.epoch}: --checkpoint best-score"
        )
    following = f" Next: mopo evaluate {folder}" if task.real_env_id is not None else ""
    print(f"Policy, logs and result.json are in {folder}.{following}")


def _options_of_resume(config: TrainConfig, out: Path | None) -> dict[str, Any]:
    """Return the options that may accompany --resume; refuse the others."""
    default = TrainConfig(task="")
    given = [field.name for field in fields(config) if getattr(config, field.name) != getattr(default, field.name)]
    refused = [name for name in given if name not in ("device", "threads")] + ["out"] * (out is not None)
    if refused:
        raise ConfigError(f"resume: a resumed run keeps its options. Leave out {', '.join(refused)}.")
    return {name: getattr(config, name) for name in given}
