"""Choose among the policies of several runs by their scores, without a step of the real system."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mopo_agents._utils.csv_tables import read_csv
from mopo_agents.runs.policy_files import checkpoint_folder
from mopo_agents.runs.rows import ScoreRow
from mopo_env._utils.json_files import read_json
from mopo_env.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A policy that was scored: its run, its own folder (None: it was not kept), and its score."""

    run: Path
    folder: Path | None
    row: ScoreRow


def select(runs: Iterable[Path]) -> list[Candidate]:
    """Return all scored policies of some runs, the best first.

    Raises:
        ConfigError: If no policy was scored, or the runs have different data or ensembles: their scores are returns in
            different models then.
        StoreError: If a file is damaged.
    """
    candidates: list[Candidate] = []
    worlds: dict[tuple[Any, Any], Path] = {}
    for run in runs:
        record = read_json(run / "config.json")
        worlds.setdefault((record.get("dataset_fingerprint"), record.get("ensemble_digest")), run)
        rows = read_scores(run)
        last = max((row.epoch for row in rows), default=0)
        for row in rows:
            kept = (checkpoint_folder(run, row.epoch), *([run] if row.epoch == last else []))
            folder = next((path for path in kept if (path / "policy.json").is_file()), None)
            candidates.append(Candidate(run=run, folder=folder, row=row))
    if len(worlds) > 1:
        raise ConfigError(f"{' and '.join(map(str, worlds.values()))}: the runs have different data or ensembles.")
    if not candidates:
        raise ConfigError("no policy was scored: these runs have no scores.csv. Train with --score-every.")
    return sorted(candidates, key=lambda candidate: candidate.row.score, reverse=True)


def read_scores(run: Path) -> Sequence[ScoreRow]:
    """Return the rows of a run's ``scores.csv``; none if there is no such file."""
    numbers = [field.name for field in fields(ScoreRow) if field.name != "epoch"]
    return read_csv(
        run / "scores.csv",
        lambda row: ScoreRow(epoch=int(row["epoch"]), **{name: float(row[name]) for name in numbers if name in row}),
    )
