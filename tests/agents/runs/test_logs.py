"""``progress.csv``: rows with new columns, and many of them."""

from __future__ import annotations

import csv
import tracemalloc
from pathlib import Path

import pytest

from mopo_agents.runs.logs import ProgressTable


def test_a_new_column_is_empty_in_the_rows_before(tmp_path: Path) -> None:
    """Stable-Baselines3 logs some numbers only after the first update. What stands already is not lost."""
    table = ProgressTable(tmp_path / "progress.csv")
    for row in ({"a": 1, "b": "x, y"}, {"b": 2}, {"c": 0.5, "a": 3}, {"a": 4}):
        table.write(row, dict.fromkeys(row, ()))
    with (tmp_path / "progress.csv").open(newline="") as stream:
        found = [list(row.values()) for row in csv.DictReader(stream)]
    assert found == [["1", "x, y", ""], ["", "2", ""], ["3", "", "0.5"], ["4", "", ""]]
    again = ProgressTable(tmp_path / "again.csv", table.text)
    again.write({"c": 1}, {"c": ()})
    assert again.text == table.text + ",,1\n"
    assert (tmp_path / "again.csv").read_text() == again.text


def test_rows_are_kept_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As mappings, the rows of twelve thousand epochs were thirty megabytes of a process of 460."""
    monkeypatch.setattr("mopo_agents.runs.logs.write_file", lambda *_: None)
    table = ProgressTable(tmp_path / "progress.csv")
    row = {f"rollout/number_{column}": 1 / (column + 3) for column in range(18)}
    tracemalloc.start()
    for epoch in range(2000):
        table.write({"mopo/epoch": epoch, **row}, dict.fromkeys([*row, "mopo/epoch"], ()))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1.5 * len(table.text)
