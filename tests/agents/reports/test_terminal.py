"""The table for the terminal: 80 columns whatever the names, and nothing that passes for more than it is."""

from __future__ import annotations

from pathlib import Path

from helpers.runs import leave_run

from mopo_agents.reports.comparison import compare, group_runs, make_row, over_tasks
from mopo_agents.reports.terminal import terminal_table


def test_the_numbers_stand_under_their_names(tmp_path: Path) -> None:
    runs = [leave_run(tmp_path / str(seed), seed=seed, returns=(value,)) for seed, value in enumerate([1000.0, 3000.0])]
    heading, head, line = terminal_table(compare(runs)[0]).splitlines()
    assert heading == "halfcheetah-mixed · data: mean 1500, best episode 2700"
    assert head.split() == ["seeds", "last", "10", "IQM", "[95", "%]", "last", "norm.", "paper"]
    assert line.split() == [
        "mopo",
        "2",
        *["2000", "±", "1414", "2000", "[1000,", "3000]", "2000", "±", "1414", "18.4", "6418"],
    ]


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    line = terminal_table(compare([leave_run(tmp_path / "run")])[0]).splitlines()[-1]
    assert line.split() == ["mopo", "1", "150", "–", "200", "3.46", "6418"]


def test_it_fits_80_columns(tmp_path: Path) -> None:
    """With long names, large numbers of either sign, failures, several tasks, and a run that was not evaluated."""
    long = {"changed": {"penalty_options": {"alpha": 0.5}, "horizon": 50, "exit_reward": -1906.5}, "agent": "CrossQ"}
    wide = {"task": "walker2d-med-expert", **long}
    runs = [leave_run(tmp_path / f"a{seed}", seed=seed, returns=(9.0, -12000.0 * seed), **wide) for seed in range(3)]
    runs += [leave_run(tmp_path / f"b{seed}", seed=seed, diverged_epoch=2, **long) for seed in range(2)]
    runs.append(leave_run(tmp_path / "c", returns=(), scores=(5.0,), task="/data/a-pump-with-a-long-name"))
    groups, _ = group_runs(runs)
    table = terminal_table([make_row(group) for group in groups], over_tasks(groups))
    assert max(map(len, table.splitlines())) <= 80
    assert "of 2: 2 diverged" in table
    assert "collapsed" in table
    assert "Over tasks" in table


def test_a_run_that_was_not_evaluated_shows_what_the_model_says(tmp_path: Path) -> None:
    run = leave_run(tmp_path / "run", returns=(), scores=(1.0, 250.0))
    heading, _, line = terminal_table(compare([run])[0]).splitlines()
    assert heading == "halfcheetah-mixed · not evaluated · data: mean reward 1.50 a step"
    assert line.split() == ["mopo", "1", "1.25", "0.50", "250", "25%"]
