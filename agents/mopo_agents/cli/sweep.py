"""The commands of `mopo sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tyro.conf import Positional

from mopo_agents.cli.results import Failed

__all__ = ["run_sweep", "show_sweep"]


def run_sweep(plan: Positional[Path], /, *, workers: int = 1, retries: int = 2) -> list[dict[str, Any]]:
    """Do the jobs of a plan, on processes of this machine.

    The same command continues after an interruption. What is done is not done again.

    Args:
        plan: A TOML file with options and grids.
        workers: Number of processes; one for each free core.
        retries: How often a process that died is replaced.
    """
    from mopo_agents.sweeps.local import run_local
    from mopo_agents.sweeps.plan import read_plan

    found = read_plan(plan)
    print(f"{len(found.jobs)} jobs into {found.out}")
    failed = run_local(
        found.jobs, found.out, workers=workers, retries=retries, notify=lambda line: print(line, flush=True)
    )
    rows = _show(found.path)
    if failed:
        raise Failed(rows)
    return rows


def show_sweep(plan: Positional[Path], /, *, csv: Path | None = None, overwrite: bool = False) -> list[dict[str, Any]]:
    """Show how far the jobs of a plan are, and what they gave.

    Args:
        plan: A TOML file with options and grids.
        csv: Also write the table to this file.
        overwrite: Replace the file.
    """
    return _show(plan, csv, overwrite=overwrite)


def _show(path: Path, table: Path | None = None, *, overwrite: bool = False) -> list[dict[str, Any]]:
    from mopo_agents._utils.outputs import check_output, write_output
    from mopo_agents.sweeps.plan import read_plan
    from mopo_agents.sweeps.status import csv_of, result_rows

    check_output(table, "--csv", overwrite=overwrite)
    rows = result_rows(read_plan(path))
    for row in rows:
        real = "" if row["last_return"] is None else f", return {row['last_return']:.1f}"
        score = "" if row["best_score"] is None else f", best score {row['best_score']:.1f}"
        print(f"{row['state']:>8} {row['epoch']:>5}/{row['epochs']}  {Path(row['folder']).name}{real}{score}")
    counts = {state: sum(row["state"] == state for row in rows) for state in ("done", "diverged", "begun", "open")}
    print(", ".join(f"{count} {state}" for state, count in counts.items() if count))
    if table is not None:
        write_output(table, csv_of(rows).encode())
        print(f"The table is in {table}.")
    return rows
