"""The commands of many runs: `mopo sweep`, `mopo tune`, `mopo reproduce` and `mopo train --seeds`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import OmitArgPrefixes, Positional

from mopo_agents.cli.messages import Failed
from mopo_agents.sweeps.backends import Backend
from mopo_env.errors import ConfigError

if TYPE_CHECKING:
    from mopo_agents.runs.config import TrainConfig
    from mopo_agents.sweeps.plan import Plan


def run_sweep(plan: Positional[Path], /, *, backend: OmitArgPrefixes[Backend] = Backend()) -> list[dict[str, Any]]:  # noqa: B008
    """Do the jobs of a plan, on this machine, on Ray or on Slurm.

    The same command continues after an interruption. What is done is not done again.

    Args:
        plan: A TOML file with options and grids.
        backend: Where the jobs are done.
    """
    from mopo_agents.sweeps.plan import read_plan

    return _do(read_plan(plan), backend)


def show_sweep(
    plan: Positional[Path], /, *, csv: Path | None = None, parquet: Path | None = None, overwrite: bool = False
) -> list[dict[str, Any]]:
    """Show how far the jobs of a plan are, and what they gave.

    Args:
        plan: A TOML file with options and grids.
        csv: Also write the table to this file.
        parquet: Also write the table to this file, as Parquet.
        overwrite: Replace the files.
    """
    from mopo_agents._utils.csv_tables import csv_text
    from mopo_agents._utils.outputs import check_output, write_output
    from mopo_agents.sweeps.plan import read_plan
    from mopo_agents.sweeps.status import parquet_of

    check_output(csv, "--csv", overwrite=overwrite)
    check_output(parquet, "--parquet", overwrite=overwrite)
    rows = _show(read_plan(plan))
    if csv is not None:
        write_output(csv, csv_text(rows).encode())
    if parquet is not None:
        write_output(parquet, parquet_of(rows))
    return rows


def search_options(
    plan: Positional[Path],
    /,
    *,
    backend: OmitArgPrefixes[Backend] = Backend(),  # noqa: B008
) -> dict[str, Any]:
    """Search the best options of a run with Optuna.

    They are judged by the score of the model alone, or by the real return. The same command
    continues after an interruption.

    Args:
        plan: A TOML file with an objective, options and ranges.
        backend: Where the runs are done.
    """
    from mopo_agents.sweeps.tune import best_job, read_search, tune

    search = read_search(plan)
    print(f"{search.trials} trials into {search.out}")
    job, value = best_job(tune(search, backend, notify=lambda line: print(line, flush=True)), search)
    command = command_of(job.config)
    print(f"The best {search.objective} is {value:.1f}, in {job.folder}. To train it again:\n{command}")
    return {"objective": search.objective, "value": value, "folder": job.folder, "command": command}


def train_seeds(
    config: TrainConfig, seeds: Sequence[int], *, workers: int | None, out: Path | None, resume: Path | None
) -> list[dict[str, Any]]:
    """Train one run for each seed, as a plan would. Refuse options that say something else of seeds or folders."""
    from mopo_agents.sweeps.plan import Plan, make_job

    if not seeds:
        raise ConfigError("workers: found it without --seeds. One run computes in one process.")
    if not config.task:
        raise ConfigError("TASK: found none, expected a task (`mopo tasks` lists them), a folder or a Minari id.")
    if resume is not None:
        raise ConfigError("resume, seeds: found both. The command that began the seeds continues them, too.")
    if config.seed:
        raise ConfigError("seed, seeds: found both. Leave one out.")
    if out is not None and (out / "config.json").exists():
        raise ConfigError(f"out: {out} holds a run, but with --seeds it is the folder of several runs.")
    out = out or Path("runs")
    jobs = {job.key: job for job in (make_job(replace(config, seed=seed), out) for seed in seeds)}
    rows = _do(Plan(path=out, out=out, jobs=tuple(jobs.values()), varied=("seed",)), Backend(workers=workers))
    print(f"Next: mopo report {' '.join(str(job.folder) for job in jobs.values())}")
    return rows


def reproduce_table(
    table: Positional[str],
    /,
    *,
    scale: float = 1.0,
    seeds: tuple[int, ...] = (0, 1, 2),
    tasks: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
    out: Path | None = None,
    backend: OmitArgPrefixes[Backend] = Backend(),  # noqa: B008
) -> list[dict[str, Any]]:
    """Train and compare the runs of a table of the paper.

    The same command continues after an interruption. What is done is not done again.

    Args:
        table: table1, table2, table3 or figure1.
        scale: Share of the paper's 500 epochs. Of its b = 50,000 too, but never less than 20,000. At 1, a run of SAC in
            the model takes some two hours on a core.
        seeds: One run for each.
        tasks: Only these. Default: all of the table whose data are here.
        methods: These instead of the table's.
        out: Folder of the runs. None: results/TABLE.
        backend: Where the runs are done.
    """
    from mopo_agents.reports.comparison import compare
    from mopo_agents.reports.terminal import terminal_table
    from mopo_agents.sweeps.tables import plan_of

    out = out or Path("results") / table
    plan, missing = plan_of(table, scale=scale, seeds=seeds, out=out, tasks=tasks, methods=methods)
    if missing:
        print(f"Left out, because their data are not here (`mopo collect TASK`): {', '.join(missing)}.")
    rows = _do(plan, backend)
    print(terminal_table(compare([job.folder for job in plan.jobs])[0]))
    print(f"Next: mopo report {out} --html {out}.html")
    return rows


def command_of(config: TrainConfig) -> str:
    """Return the command line of a run."""
    from mopo_agents.runs.config import ROLES, TrainConfig

    default, words = TrainConfig(task=config.task), ["mopo", "train", config.task]
    for name in ROLES:
        value, usual = getattr(config, name), getattr(default, name)
        option = f"--{name.replace('_', '-')}"
        if value == usual:
            continue
        if isinstance(value, Mapping):
            words += [option, *(f"{key}={json.dumps(entry)}" for key, entry in value.items())]
        elif isinstance(usual, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
        else:  # one word, because a number below zero would be read as an option
            words.append(f"{option}={value}")
    return shlex.join(words)


def _do(plan: Plan, backend: Backend) -> list[dict[str, Any]]:
    from mopo_agents.sweeps.execute import run_jobs

    print(f"{len(plan.jobs)} jobs into {plan.out}")
    failed = run_jobs(plan.jobs, plan.out, backend, notify=lambda line: print(line, flush=True))
    rows = _show(plan)
    if failed:
        raise Failed(rows)
    return rows


def _show(plan: Plan) -> list[dict[str, Any]]:
    from mopo_agents.sweeps.status import result_rows

    rows = result_rows(plan)
    for row in rows:
        real = "" if row["last_return"] is None else f", return {row['last_return']:.1f}"
        score = "" if row["best_score"] is None else f", best score {row['best_score']:.1f}"
        print(f"{row['state']:>8} {row['epoch']:>5}/{row['epochs']}  {Path(row['folder']).name}{real}{score}")
    counts = {state: sum(row["state"] == state for row in rows) for state in ("done", "diverged", "begun", "open")}
    print(", ".join(f"{count} {state}" for state, count in counts.items() if count))
    return rows
