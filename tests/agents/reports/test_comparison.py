"""Runs side by side: means and deviations by hand, the paper's number where it belongs, nothing averaged wrongly."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from helpers.damage import rewrite_json
from helpers.runs import leave_run

from mopo_agents._utils.csv_tables import csv_text
from mopo_agents.reports.comparison import Row, compare, group_runs, over_tasks


@pytest.fixture
def three_seeds(tmp_path: Path) -> list[Path]:
    """Last returns 10, 20 and 60, none the best: their mean is 30, their deviation √((400 + 100 + 900) / 2) = √700."""
    return [
        leave_run(tmp_path / "runs" / f"run{seed}", returns=(99.0, *[0.0] * 4, *[5.0] * 9, last), seed=seed)
        for seed, last in enumerate([10.0, 20.0, 60.0])
    ]


def test_seeds_are_one_row(three_seeds: list[Path]) -> None:
    """The last ten evaluations hold nine fives and the last: 5.5, 6.5 and 10.5, of mean 7.5."""
    (row,), left_out = compare(three_seeds)
    assert left_out == []
    assert (row.task, row.method, row.agent, row.seeds) == ("halfcheetah-mixed", "mopo", "SAC", 3)
    assert (row.last, row.last_std) == (pytest.approx(30.0), pytest.approx(700**0.5))
    assert (row.last_10, row.last_10_std) == (pytest.approx(7.5), pytest.approx(7**0.5))
    assert row.normalised_last == pytest.approx(100 * (30 + 280.178953) / (12135 + 280.178953))
    assert row.normalised_last_10 == pytest.approx(100 * (7.5 + 280.178953) / (12135 + 280.178953))
    assert (row.dataset_mean, row.dataset_max) == (1500.0, 2700.0)
    assert row.paper == 6418.3
    assert (row.updates, row.seconds, row.machine) == (15_000, 900, "an abacus, 1 thread")
    assert row.last_10_iqm == pytest.approx(7.5)
    assert (row.iqm_low, row.iqm_high) == pytest.approx((5.5, 10.5))


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    (row,), _ = compare([leave_run(tmp_path / "run", returns=(3.0,))])
    assert (row.last, row.last_std, row.last_10_std, row.iqm_low) == (3.0, None, None, None)


def test_what_differs_in_its_identity_is_not_averaged(tmp_path: Path) -> None:
    """The identity alone decides: these two look the same in every column."""
    runs = [leave_run(tmp_path / name, seed=seed, identity=name) for seed, name in enumerate("ab")]
    rows, left_out = compare(runs)
    assert ([(row.identity, row.seeds) for row in rows], left_out) == ([("a", 1), ("b", 1)], [])


def test_a_diverged_seed_stays_in_its_row(tmp_path: Path) -> None:
    """To leave it out, or in a row of its own, would make a method that diverges look better than it is."""
    good = leave_run(tmp_path / "a", returns=(1.0, 20.0))
    diverged = leave_run(tmp_path / "b", seed=1, returns=(-40.0,), diverged_epoch=1)
    (row,), _ = compare([diverged, good])
    assert (row.seeds, row.diverged, row.updates) == (2, 1, 2000)
    assert (row.last, row.last_10) == (-10.0, pytest.approx(-14.75))
    assert row.failures == "1 diverged"


def test_a_repetition_is_no_further_seed(tmp_path: Path) -> None:
    """Twice the same run would halve the standard error for nothing."""
    first, again = leave_run(tmp_path / "a", returns=(1.0,)), leave_run(tmp_path / "b", returns=(2.0,))
    (row,), left_out = compare([first, again])
    assert (row.seeds, row.last) == (1, 1.0)
    assert left_out == [f"{again}: repeats seed 0 of {first}."]


def test_bad_runs_are_named_and_the_others_reported(tmp_path: Path) -> None:
    good, unfinished, damaged = (leave_run(tmp_path / name) for name in "abc")
    (unfinished / "result.json").unlink()
    (damaged / "result.json").write_text("{")
    rows, left_out = compare([unfinished, good, damaged])
    assert len(rows) == 1
    assert [str(unfinished) in left_out[0], str(damaged) in left_out[1], len(left_out)] == [True, True, 2]
    assert "unfinished" in left_out[0]


def test_the_papers_number_belongs_to_the_method_as_it_is(tmp_path: Path) -> None:
    """Beside other options, or a method the paper did not run on the task, it would mislead."""
    runs = [
        leave_run(tmp_path / "a", method="mbpo"),
        leave_run(tmp_path / "b", method="mbpo", changed={"horizon": 1}),
        leave_run(tmp_path / "f", method="mbpo", changed={"learning_rate": 0.1}),
        leave_run(tmp_path / "c", method="mopo-oracle", task="hopper-mixed"),
        leave_run(tmp_path / "d", method="mopo-no-penalty", task="halfcheetah-jump"),
        leave_run(tmp_path / "e", method="mine", task="my-task"),
    ]
    papers = {(row.task, row.method): row.paper for row in compare(runs)[0]}
    assert papers == {
        ("halfcheetah-mixed", "mbpo"): 5598.4,
        ("halfcheetah-mixed", "mbpo, horizon=1"): None,
        ("halfcheetah-mixed", "mbpo, learning_rate=0.1"): None,
        ("hopper-mixed", "mopo-oracle"): None,
        ("halfcheetah-jump", "mopo-no-penalty"): -980.8,
        ("my-task", "mine"): None,
    }


def test_tasks_and_methods_come_in_the_papers_order(tmp_path: Path) -> None:
    settings = [("ant-angle", "mopo"), ("halfcheetah-mixed", "mbpo"), ("halfcheetah-mixed", "mopo"), ("zoo", "mopo")]
    runs = [leave_run(tmp_path / str(k), task=task, method=method) for k, (task, method) in enumerate(settings)]
    found = [(row.task, row.method) for row in compare(runs)[0]]
    assert found == [settings[2], settings[1], settings[0], settings[3]]


def test_returns_elsewhere_have_no_normalised_score(tmp_path: Path) -> None:
    """D4RL's scale is of the robot; an evaluation in another environment says so by having none."""
    folder = leave_run(tmp_path / "run", real_env="Walker2d-v5")
    rewrite_json(folder / "result.json", lambda result: result["evaluations"][-1].update(normalised=None))
    (row,), _ = compare([folder])
    assert (row.normalised_last, row.normalised_last_10) == (None, None)


def test_runs_without_a_model_have_no_number_of_rollouts(tmp_path: Path) -> None:
    rows, _ = compare([leave_run(tmp_path / "run", method="bear", agent="BEAR", rollout_batch_size=None)])
    assert (rows[0].name, rows[0].paper) == ("bear (BEAR)", 4211.3)
    assert next(csv.DictReader(io.StringIO(csv_text(rows))))["rollout_batch_size"] == ""


def test_the_csv_holds_every_column_unrounded(three_seeds: list[Path]) -> None:
    rows, _ = compare(three_seeds)
    (line,) = csv.DictReader(io.StringIO(csv_text(rows)))
    assert list(line) == list(Row.__dataclass_fields__)
    assert float(line["last_std"]) == rows[0].last_std
    assert line["dataset"] == "abc"
    assert int(line["seeds"]) == 3


def test_over_tasks_the_bootstrap_is_stratified(tmp_path: Path) -> None:
    """On D4RL's scale 12135 is 100 on HalfCheetah, and 3234.3 on Hopper; a task without a scale has no part in it."""
    settings = [("halfcheetah-mixed", 12135.0), ("hopper-mixed", -20.272305), ("halfcheetah-jump", 1.0)]
    runs = [leave_run(tmp_path / task, task=task, returns=(value,)) for task, value in settings]
    (overall,) = over_tasks(group_runs(runs)[0])
    assert overall.tasks == ("halfcheetah-mixed", "hopper-mixed")
    assert (overall.runs, overall.iqm, overall.low, overall.high) == pytest.approx((2, 50.0, 50.0, 50.0))
    assert over_tasks(group_runs(runs[1:])[0]) == [], "one task is no mean over tasks"
