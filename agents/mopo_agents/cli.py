"""The command line `mopo`: every command ends by saying where its result lies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from mopo_agents.cli_import import import_app, refuse_dataset_in, summary
from mopo_agents.config import TrainConfig
from mopo_env.datasets.locate import bundled_folder, find_dataset, find_folder, user_folder
from mopo_env.errors import ConfigError, MopoError
from mopo_env.fit_config import FitConfig
from mopo_env.tasks import COLLECTABLE_RECIPES, ID_PREFIX, TASKS, get_task

__all__ = ["main"]

# What computes is imported inside the commands, so that --help answers at once.
app = tyro.extras.SubcommandApp()


@app.command(name="tasks")
def list_tasks() -> None:
    """List the tasks: ids, settings, and whether their data are here."""
    print(f"{'id':<29}{'h':>2}{'λ':>5}  {'real environment':<25}data")
    for task in TASKS.values():
        if bundled_folder(task.name):
            data = "bundled"
        elif find_folder(task.name):
            data = str(find_folder(task.name))
        else:
            data = f"mopo collect {task.name}" if task.recipe in COLLECTABLE_RECIPES else "none yet"
        print(f"{task.id:<29}{task.horizon:>2}{task.penalty_coef:>5g}  {task.real_env_id:<25}{data}")
    print("Train with `mopo train TASK`; in Python: `import mopo_env; gymnasium.make(ID)`.")


@app.command(name="collect")
def collect_dataset(
    task: Positional[str],
    /,
    *,
    steps: int | None = None,
    seed: int = 0,
    out: Path | None = None,
    minari: str | None = None,
) -> None:
    """Collect a task's dataset in the real environment, by its recipe.

    Args:
        task: A task's name; `mopo tasks` lists them.
        steps: Number of transitions; None: the recipe's own.
        seed: The same seed gives the same data on one machine.
        out: Folder for the dataset; None: where the task's id looks for it.
        minari: Also write a Minari dataset of this id, such as mopo/halfcheetah/mixed-v0.
    """
    folder = out or user_folder() / get_task(task).name
    refuse_dataset_in(folder)
    from mopo_agents.collection import collect
    from mopo_env.datasets.files import save_transitions

    transitions = collect(task, steps=steps, seed=seed)
    save_transitions(transitions, folder)
    print(summary(transitions))
    if minari is not None:
        from mopo_env.datasets.minari import save_minari

        print(f"Minari dataset {minari}: {save_minari(transitions, minari)}")
    print(f"The dataset is in {folder}. Next: mopo fit {folder}")


app.command(import_app, name="import", help="Import data of your own, or D4RL's files.")


@app.command(name="fit")
def fit_dataset(
    dataset: Positional[str],
    /,
    *,
    out: Path | None = None,
    device: str = "cpu",
    config: OmitArgPrefixes[FitConfig] = FitConfig(),  # noqa: B008  # frozen
) -> None:
    """Fit an ensemble of dynamics models to a dataset.

    Args:
        dataset: A task's name, the folder of a dataset, or a Minari id.
        out: Folder that then holds dataset and ensemble; None: the dataset's own folder.
        device: Where to compute, such as cpu or cuda.
        config: How to fit.
    """
    transitions = find_dataset(dataset)
    source = find_folder(dataset)
    folder = out or source
    if folder is None or folder == bundled_folder(dataset.removeprefix(ID_PREFIX)):
        raise ConfigError(f"--out: needed, since {dataset!r} has no folder of its own to write into.")
    from mopo_env.datasets.files import save_transitions
    from mopo_env.ensemble import save_ensemble
    from mopo_env.fit import fit_ensemble

    ensemble = fit_ensemble(transitions, config, device=device)
    if source is None or folder.resolve() != source.resolve():
        save_transitions(transitions, folder)
    save_ensemble(ensemble, folder)
    errors = sorted(ensemble.metadata["holdout_mse"])[: config.num_elites]
    print(
        f"{ensemble.metadata['epochs']} epochs; hold-out mean squared error of the elites, raw units: "
        f"{sum(errors) / len(errors):.4f}"
    )
    print(f"Dataset and ensemble are in {folder}. Next: mopo train TASK --dataset {folder}")


@app.command(name="train")
def train_agent(*, config: OmitArgPrefixes[TrainConfig], out: Path | None = None) -> None:
    """Train an agent in the learned model, or from the dataset alone, and follow it in the real environment.

    Args:
        config: The run.
        out: Folder of the run; None: a new one in runs/.
    """
    from mopo_agents.report import plot_learning_curve, result_table
    from mopo_agents.training import train

    task = get_task(config.task)
    folder = out or _new_folder(Path("runs"), f"{task.name}-{config.agent}-seed{config.seed}")
    result = train(config, folder=folder)
    print(result_table(task, result))
    if result.diverged_epoch is not None:
        print(f"Training diverged in epoch {result.diverged_epoch}: the policy is that of the epoch before.")
    if result.evaluations:
        try:
            print(f"Learning curve: {plot_learning_curve(task, result, folder / 'learning_curve.png')}")
        except MopoError as error:
            print(f"No learning curve was drawn: {error}")
    print(f"Policy, logs and result.json are in {folder}. Next: mopo evaluate {folder}")


@app.command(name="evaluate")
def evaluate_policy(folder: Positional[Path], /, *, task: str | None = None, episodes: int = 10, seed: int = 0) -> None:
    """Run a trained policy in the real environment, with deterministic actions.

    Args:
        folder: A training run, or one of its checkpoints.
        task: Where to evaluate; None: the task it was trained on.
        episodes: How many.
        seed: Of the start states.
    """
    from mopo_agents.evaluation import evaluate
    from mopo_agents.policy_files import load_policy
    from mopo_env.store import json_text, read_artifact, write_file

    policy = load_policy(folder)
    trained_on = read_artifact(folder, "policy")[1].get("task")
    found = get_task(task or str(trained_on))
    evaluation = evaluate(policy, found, episodes=episodes, seed=seed)
    score = "" if evaluation.normalised is None else f", normalised {evaluation.normalised:.1f}"
    print(
        f"{found.id}, {episodes} episodes: return {evaluation.mean:.1f} ± {evaluation.std:.1f} (standard deviation)"
        f"{score}"
    )
    path = folder / f"evaluation-{found.name}-seed{seed}.json"
    content = {"task": found.name, "returns": evaluation.returns, "lengths": evaluation.lengths, "seed": seed}
    write_file(path, json_text(content))
    print(f"The returns of all episodes are in {path}.")


def main() -> None:
    """Run the command line."""
    # Two threads on cores that are shared were measured ten times slower than one; this must precede torch.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        app.cli(prog="mopo", description="Train any Stable-Baselines3 agent on a model learned from a fixed dataset.")
    except MopoError as error:
        print(f"mopo: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("mopo: interrupted", file=sys.stderr)
        sys.exit(130)


def _new_folder(parent: Path, name: str) -> Path:
    folder, number = parent / name, 2
    while folder.exists():
        folder, number = parent / f"{name}-{number}", number + 1
    return folder
