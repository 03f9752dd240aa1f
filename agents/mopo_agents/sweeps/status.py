"""How far the jobs of a plan are, and what they gave."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from mopo_agents._utils.csv_tables import read_csv
from mopo_agents.runs.folder import is_finished, state_folder
from mopo_agents.runs.select import read_scores
from mopo_agents.sweeps.plan import Job, Plan
from mopo_env._utils.json_files import read_json
from mopo_env.errors import require_extra

State = Literal["done", "diverged", "begun", "open"]


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """How far a job is: its state, its finished epochs, and what it gave until now; None: nothing.

    Attributes:
        state: done, diverged, begun (running or interrupted), or open.
        last_10_return: The mean of the last ten returns in the real environment, or of all if there are fewer.
        best_score: The best score by the model alone.
    """

    state: State
    epoch: int
    last_return: float | None
    last_10_return: float | None
    best_score: float | None


def status_of(job: Job) -> JobStatus:
    """Look at a job's folder."""
    state: State = "begun" if (job.folder / "config.json").is_file() else "open"
    epoch = len(read_csv(job.folder / "progress.csv", dict))
    if is_finished(job.folder):
        result = read_json(job.folder / "result.json")
        state, epoch = "done" if result["diverged_epoch"] is None else "diverged", result["epochs"]
    elif state == "open" and state_folder(job.folder).is_dir():
        state = "begun"
    returns = read_csv(job.folder / "evaluations.csv", lambda row: float(row["return_mean"]))
    return JobStatus(
        state=state,
        epoch=epoch,
        last_return=returns[-1] if returns else None,
        last_10_return=fmean(returns[-10:]) if returns else None,
        best_score=max((row.score for row in read_scores(job.folder)), default=None),
    )


def result_rows(plan: Plan) -> list[dict[str, Any]]:
    """Return a row for each job: what it varies, how far it is, and what it gave."""
    rows = []
    for job in plan.jobs:
        varied = {name: getattr(job.config, name) for name in plan.varied}
        varied = {name: json.dumps(value) if isinstance(value, Mapping) else value for name, value in varied.items()}
        rows.append({**varied, **vars(status_of(job)), "epochs": job.config.epochs, "folder": str(job.folder)})
    return rows


def parquet_of(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as a Parquet file."""
    pyarrow, parquet = require_extra("pyarrow", "tables"), require_extra("pyarrow.parquet", "tables")
    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), stream)
    return stream.getvalue()
