"""`mopo train`: begin or continue a training run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tyro.conf import OmitArgPrefixes

from mopo_agents._utils.outputs import refuse_other_files
from mopo_agents.cli.arguments import Arranged, find_modules_here, typed_value
from mopo_agents.cli.messages import option_of
from mopo_agents.cli.sweep import train_seeds
from mopo_agents.runs.config import TrainConfig
from mopo_env._utils.json_files import read_json
from mopo_env._utils.references import is_reference
from mopo_env.errors import ConfigError, MopoError

# What most users need stands above these. An option that is in no group stands there too.
_GROUPS = {
    "epoch": ("gradient_steps", "rollout_batch_size", "horizon"),
    "agent": (
        *("agent_options", "target_entropy", "standardise", "random_rollouts", "real_ratio", "retain_epochs"),
        "fast",
    ),
    "penalty": ("penalty", "penalty_coef", "mean_penalty", "penalty_members", "penalty_reward", "penalty_units"),
    "envelope": ("envelope", "envelope_margin", "envelope_quantile", "exit_reward", "on_exit"),
    "model": ("ensemble", "allow_other_data", "termination", "member_per", "deterministic", "precision"),
    "evaluation": ("real_env", "evaluate_every", "evaluation_episodes", "score_every", "stop_when_collapsing"),
    "machine": ("device", "threads", "overlap", "save_every", "checkpoint_every"),
}

# These may accompany --resume. The last three only name again what the run has.
_WITH_RESUME = ("device", "threads", "penalty", "termination", "real_env")


def _recorded(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the options of the run that --from names, as defaults."""
    path = typed_value(arguments, "--from")
    if path is None:
        return {"config": {"task": ""}}
    from mopo_agents.runs.resume import recorded_options

    typed = {name: typed_value(arguments, option_of(name)) for name in ("method", "agent", *_WITH_RESUME[2:])}
    return {"config": recorded_options(Path(path), **typed)}


@Arranged(groups=_GROUPS, defaults=_recorded)
def train_agent(
    *,
    config: OmitArgPrefixes[TrainConfig],
    out: Path | None = None,
    resume: Path | None = None,
    from_: Path | None = None,
    seeds: tuple[int, ...] = (),
    workers: int | None = None,
) -> dict[str, Any] | list[dict[str, Any]]:
    """Train an agent in the model, or from the dataset alone.

    It is evaluated if there is a real environment. Ctrl-C lets the epoch finish and saves the run; --resume continues
    it. A second Ctrl-C stops at once.

    Args:
        config: The options of the run.
        out: Folder of the run. None: a new folder in runs/.
        resume: Continue the unfinished run in this folder. It keeps its options; only --device and --threads may be
            given too.
        from_: Take the options of this run, or of its config.json, for a new run. Options beside it come first.
        seeds: Train one run for each of these seeds. The same command continues them. --out is then their folder, runs/
            by default.
        workers: With --seeds: how many runs are done at once. None: one.
    """
    from mopo_agents.runs.report import plot_learning_curve, result_table
    from mopo_agents.runs.resume import resume as resume_run
    from mopo_agents.runs.train import train

    find_modules_here(config.penalty, config.termination, config.real_env)
    if seeds or workers is not None:
        return train_seeds(config, seeds, workers=workers, out=out, resume=resume)
    if resume is not None:
        if from_ is not None:
            raise ConfigError("resume, from: found both. --resume continues a run, --from begins a new one.")
        result = resume_run(resume, **_options_of_resume(config, out))
    elif not config.task:
        raise ConfigError("TASK: found none, expected a task (`mopo tasks` lists them), a folder or a Minari id.")
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
    return {"folder": folder, **read_json(folder / "result.json")}


def _options_of_resume(config: TrainConfig, out: Path | None) -> dict[str, Any]:
    """Return the options that may accompany --resume; refuse the others."""
    default = TrainConfig(task="")
    given = {name: value for name, value in vars(config).items() if value != getattr(default, name)}
    refused = [name for name in given if name not in _WITH_RESUME] + ["out"] * (out is not None)
    refused += [name for name in _WITH_RESUME[2:] if name in given and not is_reference(given[name])]
    if refused:
        raise ConfigError(f"resume: a resumed run keeps its options. Leave out {', '.join(map(option_of, refused))}.")
    return given
