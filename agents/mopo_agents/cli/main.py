"""The command line `mopo`. Every command ends with the place of its result."""

from __future__ import annotations

import os
import re
import signal
import sys
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from mopo_agents._utils.outputs import check_output, refuse_other_files, write_output
from mopo_agents.cli.cache import cache_app
from mopo_agents.cli.data import data_app
from mopo_agents.cli.export import export
from mopo_agents.cli.fit import fit_dataset, fit_termination_rule, model_app
from mopo_agents.cli.imports import summary
from mopo_agents.cli.sweep import sweep_app
from mopo_agents.collection.config import CollectConfig
from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.methods import METHODS
from mopo_agents.runs.state.interruption import Interrupted
from mopo_env._utils.text import harmless
from mopo_env.datasets.folders import bundled_folder, find_folder, user_folder
from mopo_env.datasets.locate import resolve_task
from mopo_env.errors import ConfigError, MopoError
from mopo_env.tasks import TASKS, get_task

__all__ = ["main"]

_DEBUG = "--debug"
_NO_MEMORY = re.compile("can't allocate memory|out of memory", re.IGNORECASE)

# The slow packages are imported inside the commands, so that --help answers at once.
app = tyro.extras.SubcommandApp()


@app.command(name="tasks")
def list_tasks() -> None:
    """List the tasks: ids, settings and data."""
    print(f"{'id':<29}{'h':>2}{'λ':>5}  {'real environment':<25}data")
    for task in TASKS.values():
        folder = "bundled" if bundled_folder(task.name) else find_folder(task.name)
        data = folder or f"mopo collect {task.name}"
        print(f"{task.id:<29}{task.horizon:>2}{task.penalty_coef:>5g}  {task.real_env_id:<25}{data}")
    print("Train with `mopo train TASK`; in Python: `import mopo_env; gymnasium.make(ID)`.")


@app.command(name="methods")
def list_methods() -> None:
    """List the methods of the paper's tables: their options and the paper's returns."""
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


@app.command(name="collect")
def collect_dataset(
    *,
    config: OmitArgPrefixes[CollectConfig],
    out: Path | None = None,
    minari: str | None = None,
    overwrite: bool = False,
) -> None:
    """Collect a task's dataset in the real environment.

    After an interruption, the same command resumes the collection and gives the same data.

    Args:
        config: What to collect.
        out: Folder for the dataset and the behaviour policy. None: the folder in which the task's id finds its data.
        minari: Also write a Minari dataset with this id, such as mopo/halfcheetah/mixed-v0.
        overwrite: Replace the dataset that the folder holds.
    """
    from mopo_agents.collection.recipes import collect
    from mopo_env.datasets.minari.reader import check_new_minari_id, save_minari

    folder = out or user_folder() / get_task(config.task).name
    if minari is not None:
        check_new_minari_id(minari)
    try:
        transitions = collect(config, folder=folder, overwrite=overwrite)
    except KeyboardInterrupt:
        print(f"mopo: the work so far is in {folder}; the same command resumes it", file=sys.stderr)
        raise
    print(summary(transitions))
    if minari is not None:
        print(f"Minari dataset {minari}: {save_minari(transitions, minari)}")
    if (folder / "behaviour").is_dir():
        print(f"The behaviour policy is in {folder / 'behaviour'}.")
    print(f"The dataset is in {folder}. Next: mopo fit {folder}")


app.command(data_app, name="data", help="Show a dataset, or import D4RL's or your own data.")


app.command(name="fit")(fit_dataset)
app.command(model_app, name="model", help="Show how good a fitted model is.")
app.command(name="fit-termination")(fit_termination_rule)


@app.command(name="train")
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


@app.command(name="evaluate")
def evaluate_policy(
    folder: Positional[Path],
    /,
    *,
    checkpoint: str = "last",
    task: str | None = None,
    real_env: str | None = None,
    episodes: int = 10,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Evaluate a trained policy in the real environment, with deterministic actions.

    Args:
        folder: A training run, finished or not, or one of its checkpoints.
        checkpoint: last, the name of a checkpoint such as epoch-00050, best-score for the saved policy that the model
            alone thinks best of, or best for the one with the highest return in evaluations.csv. The highest of many
            noisy returns is too high: evaluate it with another seed.
        task: Evaluate on this task. None: the task on which the policy was trained.
        real_env: Evaluate in this Gymnasium environment instead of the task's own, such as Hopper-v4 for a policy that
            was trained on D4RL's data.
        episodes: Number of episodes.
        seed: Seed of the start states. The last seed in evaluations.csv repeats the run's last evaluation.
        overwrite: Replace an earlier evaluation with the same seed and other returns.
    """
    from mopo_agents.evaluation import evaluate
    from mopo_agents.policies import load_policy
    from mopo_agents.runs.policy_files import find_policy
    from mopo_env._utils.store import json_text, read_artifact, write_file

    run, folder = folder, find_policy(folder, checkpoint)
    policy, saved = load_policy(folder), read_artifact(folder, "policy")[1]
    trained_on = task or saved.get("task")
    if trained_on is None and real_env is None:
        raise ConfigError(
            f"--real-env: expected an environment, because the policy in {folder} was trained on data without one. "
            "Pass a Gymnasium id, or module:id for your own environment."
        )
    found = resolve_task(trained_on, real_env=real_env)
    evaluation = evaluate(policy, found, episodes=episodes, seed=seed)
    score = "" if evaluation.normalised is None else f", normalised {evaluation.normalised:.1f}"
    where = found.id if real_env is None or found.id == real_env else f"{found.id} in {real_env}"
    if folder != run:
        print(f"The policy is that of epoch {saved.get('epoch')}, in {folder}.")
    print(
        f"{where}, {episodes} episodes: return {evaluation.mean:.1f} ± {evaluation.std:.1f} (standard deviation){score}"
    )
    names = [found.label] if real_env is None or found.label == real_env else [found.label, real_env]
    label = re.sub(r"[^-.\w]", "-", "-".join(names))
    path = folder / f"evaluation-{label}-seed{seed}.json"
    content = {
        "task": found.name,
        "real_env": found.real_env_id,
        "returns": evaluation.returns,
        "lengths": evaluation.lengths,
        "seed": seed,
    }
    body = json_text(content)
    if path.exists() and path.read_bytes() != body and not overwrite:
        raise ConfigError(
            f"{path} holds an evaluation with other returns, and is kept. Choose another --seed, or pass --overwrite "
            "to replace it."
        )
    write_file(path, body)
    print(f"The returns of all episodes are in {path}.")


app.command(name="export")(export)


@app.command(name="select")
def select_policy(folders: Positional[list[Path]], /, *, rows: int = 10) -> None:
    """Rank the policies of runs by their scores in the model, without a step of the real system.

    Args:
        folders: Training runs on the same data and ensemble.
        rows: How many policies to show.
    """
    from mopo_agents.runs.select import select

    candidates = select(folders)
    print(f"{'score':>10}{'worst member':>14}{'left data':>11}{'epoch':>7}  run")
    for candidate in candidates[:rows]:
        row, kept = candidate.row, "" if candidate.folder else " (policy not kept)"
        print(f"{row.score:>10.1f}{row.worst_member:>14.1f}{row.left:>11.0%}{row.epoch:>7}  {candidate.run}{kept}")
    best = next((candidate for candidate in candidates if candidate.folder), None)
    if best is not None:
        print(f"The best policy that was kept is in {best.folder}. It has never been in the real system.")


@app.command(name="report")
def report_runs(*runs: Positional[Path], csv: Path | None = None, overwrite: bool = False) -> None:
    """Compare training runs in a table. Runs that differ only in their seed share one row.

    Args:
        runs: Folders of runs, or folders that hold runs. Default: runs/.
        csv: Also write the table to this file, unrounded and with more columns. A pipe or a device is written to.
        overwrite: Replace the file of --csv if it exists.
    """
    check_output(csv, "--csv", overwrite=overwrite)
    from mopo_agents.runs.comparison import compare, markdown
    from mopo_agents.runs.results import csv_text, find_runs

    rows, left_out = compare(find_runs(runs or (Path("runs"),)))
    for reason in left_out:
        print(f"left out: {reason}", file=sys.stderr)
    if not rows:
        raise ConfigError(f"runs: found {len(left_out)}, but none of them can be reported.")
    print(markdown(rows))
    print(
        "\nReturns are in the real environment: last is the last evaluation, last 10 the mean of the last ten (or of "
        "all, if there are fewer). ± is one standard deviation over seeds. A diverged seed counts with the policy of "
        "the epoch before.\nThe paper's returns are on the paper's data, and only for methods without changes. "
        "Identity is the beginning of the digest in config.json."
    )
    if csv is not None:
        write_output(csv, csv_text(rows).encode())
        print(f"All columns are in {csv}.")


app.command(sweep_app, name="sweep", help="Do many runs from one plan, and show how far they are.")


app.command(cache_app, name="cache", help="Show or clear what can be made again.")


def main() -> None:
    """Run the command line."""
    # On shared cores, two threads were measured ten times slower than one. Set this before torch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    arguments = sys.argv[1:]
    debug = _DEBUG in arguments
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            app.cli(
                args=[argument for argument in arguments if argument != _DEBUG],
                prog="mopo",
                description="Train any Stable-Baselines3 agent on a model learned from a fixed dataset. With --debug, "
                "an error shows where it was raised.",
            )
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe. Without this, Python reports it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt as error:
        print("mopo: interrupted", *getattr(error, "__notes__", []), sep="\nmopo: ", file=sys.stderr)
        sys.exit(128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT))
    except Exception as error:
        message = _message(error)
        if debug or message is None:
            raise
        print(f"mopo: {harmless(message)}", file=sys.stderr)
        sys.exit(2)


def _show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    text = warnings.formatwarning(message, category, filename, lineno, line)
    print(harmless(text), end="", file=file or sys.stderr)


def _message(error: Exception) -> str | None:
    """Return what the user can act upon, or None: the error is a defect of ours, whose traceback is needed."""
    if isinstance(error, MopoError):
        return str(error)
    again = "Run the same command with --debug to see where."
    # PyTorch reports memory that it cannot get as a RuntimeError.
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        return f"there is not enough memory. {again}"
    if isinstance(error, OSError):
        file = f"{error.filename}: " if error.filename is not None else ""
        return f"{file}{error.strerror or str(error) or type(error).__name__}. {again}"
    return None
