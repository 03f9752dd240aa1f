"""The commands of `mopo sweep`, `mopo tune` and `mopo train --seeds`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from mopo_agents.sweeps.backends import Backend
from mopo_env.errors import ConfigError

if TYPE_CHECKING:
    from mopo_agents.runs.config import TrainConfig
    from mopo_agents.sweeps.plan import Plan

__all__ = ["command_of", "search_options", "sweep_app", "train_seeds"]

sweep_app = tyro.extras.SubcommandApp()


@sweep_app.command(name="run")
def run_sweep(plan: Positional[Path], /, *, backend: OmitArgPrefixes[Backend] = Backend()) -> None:  # noqa: B008
    """Do the jobs of a plan, on this machine, on Ray or on Slurm.

    The same command continues after an interruption. What is done is not done again.

    Args:
        plan: A TOML file with options and grids.
        backend: Where the jobs are done.
    """
    from mopo_agents.sweeps.plan import read_plan

    _do(read_plan(plan), backend)


@sweep_app.command(name="status")
def show_status(
    plan: Positional[Path], /, *, csv: Path | None = None, parquet: Path | None = None, overwrite: bool = False
) -> None:
    """Show how far the jobs of a plan are, and what they gave.

    Args:
        plan: A TOML file with options and grids.
        csv: Also write the table to this file.
        parquet: Also write the table to this file, as Parquet.
        overwrite: Replace the files.
    """
    from mopo_agents._utils.outputs import check_output, write_output
    from mopo_agents.sweeps.plan import read_plan
    from mopo_agents.sweeps.status import csv_of, parquet_of

    check_output(csv, "--csv", overwrite=overwrite)
    check_output(parquet, "--parquet", overwrite=overwrite)
    rows = _show(read_plan(plan))
    if csv is not None:
        write_output(csv, csv_of(rows).encode())
    if parquet is not None:
        write_output(parquet, parquet_of(rows))


def search_options(plan: Positional[Path], /, *, backend: OmitArgPrefixes[Backend] = Backend()) -> None:  # noqa: B008
    """Search the best options of a run with Optuna, by the score of the model alone or by the real return.

    The same command continues after an interruption.

    Args:
        plan: A TOML file with an objective, options and ranges.
        backend: Where the runs are done.
    """
    from mopo_agents.sweeps.tune import best_job, read_search, tune

    search = read_search(plan)
    print(f"{search.trials} trials into {search.out}")
    job, value = best_job(tune(search, backend, notify=lambda line: print(line, flush=True)), search)
    print(f"The best {search.objective} is {value:.1f}, in {job.folder}. To train it again:\n{command_of(job.config)}")


def train_seeds(
    config: TrainConfig, seeds: Sequence[int], *, workers: int | None, out: Path | None, resume: Path | None
) -> None:
    """Train one run for each seed, as a plan would.

    Raises:
        ConfigError: If another option says something else about seeds or folders.
    """
    from mopo_agents.sweeps.plan import Plan, make_job

    if not seeds:
        raise ConfigError("--workers: found it without --seeds. One run computes in one process.")
    if not config.task:
        raise ConfigError("task: found none, expected a task's name (`mopo tasks`), a folder or a Minari id.")
    if resume is not None:
        raise ConfigError("--resume, --seeds: found both. The command that began the seeds continues them, too.")
    if config.seed:
        raise ConfigError("--seed, --seeds: found both. Leave one out.")
    if out is not None and (out / "config.json").exists():
        raise ConfigError(f"--out: {out} holds a run, but with --seeds it is the folder of several runs.")
    out = out or Path("runs")
    jobs = {job.key: job for job in (make_job(replace(config, seed=seed), out) for seed in seeds)}
    _do(Plan(path=out, out=out, jobs=tuple(jobs.values()), varied=("seed",)), Backend(workers=workers))
    print(f"Next: mopo report {' '.join(str(job.folder) for job in jobs.values())}")


def command_of(config: TrainConfig) -> str:
    """Return the command line of a run."""
    from mopo_agents.runs.config import ROLES, TrainConfig

    default, words = TrainConfig(task=config.task), ["mopo", "train", config.task]
    for name in ROLES:
        value, usual = getattr(config, name), getattr(default, name)
        option = name.replace("_", "-")
        if value == usual:
            continue
        if isinstance(usual, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:  # one word, because a number below zero would be read as an option
            words.append(f"--{option}={json.dumps(value) if isinstance(value, Mapping) else value}")
    return shlex.join(words)


def _do(plan: Plan, backend: Backend) -> None:
    from mopo_agents.sweeps.execute import run_jobs

    print(f"{len(plan.jobs)} jobs into {plan.out}")
    failed = run_jobs(plan.jobs, plan.out, backend, notify=lambda line: print(line, flush=True))
    _show(plan)
    if failed:
        sys.exit(1)


def _show(plan: Plan) -> list[dict[str, object]]:
    from mopo_agents.sweeps.status import result_rows

    rows = result_rows(plan)
    for row in rows:
        real = "" if row["last_return"] is None else f", return {row['last_return']:.1f}"
        score = "" if row["best_score"] is None else f", best score {row['best_score']:.1f}"
        print(f"{row['state']:>8} {row['epoch']:>5}/{row['epochs']}  {Path(row['folder']).name}{real}{score}")
    counts = {state: sum(row["state"] == state for row in rows) for state in ("done", "diverged", "begun", "open")}
    print(", ".join(f"{count} {state}" for state, count in counts.items() if count))
    return rows
