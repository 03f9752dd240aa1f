"""Runs are read back as they were left; what cannot be is named with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.runs import leave_run

from mopo_agents.runs.results import find_runs, read_run
from mopo_env._utils.json_files import json_text
from mopo_env.errors import StoreError

Change = Callable[[dict[str, Any], dict[str, Any]], Any]


def test_a_run_is_read_as_it_was_left(tmp_path: Path) -> None:
    run = read_run(leave_run(tmp_path / "run", seed=3, agent="TD3"))
    assert (run.task, run.method, run.agent, run.seed, run.dataset) == ("halfcheetah-mixed", "mopo", "TD3", 3, "abc")
    assert (run.epochs, run.diverged, run.has_scale, run.paper) == (15, False, True, 6418.3)
    assert (run.dataset_mean, run.dataset_max, run.returns) == (1500.0, 2700.0, (100.0, 200.0))
    assert (run.updates, run.seconds) == (2000, 120.0)


def test_what_was_changed_is_shown_with_the_method(tmp_path: Path) -> None:
    """Runs of other options must not pass for the paper's method; how they are evaluated is said, and is no method."""
    changed = {"penalty_coef": 2.0, "penalty": "none", "policy_kwargs": {"net_arch": [16]}}
    run = read_run(leave_run(tmp_path / "run", changed=changed, evaluation_episodes=3))
    shown = 'penalty_coef=2.0, penalty=none, policy_kwargs={"net_arch": [16]}, evaluation_episodes=3'
    assert (run.method, run.label, run.paper) == ("mopo", f"mopo, {shown}", None)
    assert read_run(leave_run(tmp_path / "other", evaluation_episodes=3)).paper == 6418.3


@pytest.mark.parametrize(
    ("config", "setting", "paper"),
    [
        ({}, "halfcheetah-mixed", 6418.3),
        ({"dataset": "/data/pump"}, "halfcheetah-mixed on pump", None),
        ({"dataset": "/data/big", "dataset_task": "halfcheetah-mixed"}, "halfcheetah-mixed on big", 6418.3),
        ({"dataset": "/data/big", "dataset_task": "halfcheetah-medium"}, "halfcheetah-mixed on big", None),
        ({"real_env": "HalfCheetah-v4"}, "halfcheetah-mixed in HalfCheetah-v4", 6418.3),
        ({"real_env": "Walker2d-v5"}, "halfcheetah-mixed in Walker2d-v5", None),
        ({"task": "/data/pump"}, "pump", None),
        ({"task": "/data/pump", "real_env": "Pump-v0"}, "pump in Pump-v0", None),
    ],
)
def test_other_data_do_not_look_like_the_tasks(
    config: dict[str, Any], setting: str, paper: float | None, tmp_path: Path
) -> None:
    """A return on one's own recording, or in another environment, is no result on the task of that name."""
    run = read_run(leave_run(tmp_path / "run", **config))
    assert (run.setting, run.paper) == (setting, paper)


def test_a_run_without_evaluations_has_the_models_numbers(tmp_path: Path) -> None:
    """Own data have no real environment: reward, penalty and scores are all there is."""
    run = read_run(leave_run(tmp_path / "run", returns=(), scores=(10.0, 30.0)))
    assert (run.returns, run.has_scale) == ((), False)
    assert (run.model_reward, run.penalty, run.dataset_reward) == (1.25, 0.5, 1.5)
    assert [row.score for row in run.scores] == [10.0, 30.0]
    assert run.machine == "an abacus, 1 thread"


@pytest.mark.parametrize(
    ("returns", "scores", "collapsed"),
    [
        ((3636.0, 3000.0, -1288.0), (), True),
        ((2000.0, 2900.0, 2400.0), (), False),  # of 1400 over the data, 500 are lost
        ((2800.0, 2830.0, 2805.0), (), False),  # noise on a plateau, where little was gained since the first
        ((900.0, 1000.0, 910.0), (), True),  # never as good as the data, and back at the first
        ((900.0,), (), False),
        ((), (0.0, 10.0, 4.0), True),
        ((), (0.0, 10.0, 8.0), False),
        ((1600.0, 2000.0), (0.0, 10.0, 4.0), False),  # the real environment knows better than the model
        ((), (), False),
    ],
)
def test_what_has_collapsed(
    returns: tuple[float, ...], scores: tuple[float, ...], collapsed: bool, tmp_path: Path
) -> None:
    """The mean of the data is 1500. A report that shows a collapse as a low mean would hide what can be mended."""
    assert read_run(leave_run(tmp_path / "run", returns=returns, scores=scores)).collapsed is collapsed


DAMAGE: dict[str, tuple[Change, str]] = {
    "nothing to show": (
        lambda config, result: (result["evaluations"].clear(), result.update(model_last_epoch=None)),
        "was never evaluated, and has no model",
    ),
    "a number is missing": (lambda config, result: result.pop("dataset_mean"), "KeyError: 'dataset_mean'"),
    "a number is none": (lambda config, result: result.update(dataset_max="NaN"), "found 'NaN' where a number"),
    "a number is a list": (lambda config, result: result.update(seconds=[1]), "TypeError"),
    "evaluations are a number": (lambda config, result: result.update(evaluations=7), "TypeError"),
    "an evaluation without return": (lambda config, result: result["evaluations"][0].pop("return_mean"), "KeyError"),
    "no seed": (lambda config, result: config.pop("seed"), "KeyError: 'seed'"),
    "no task": (lambda config, result: config.pop("task"), "KeyError: 'task'"),
    "changes are a list": (lambda config, result: config.update(changed=[1]), "TypeError"),
    "no identity": (lambda config, result: config.pop("identity"), "KeyError: 'identity'"),
    "changes are missing": (lambda config, result: config.pop("changed"), "KeyError: 'changed'"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_named_with_its_reason(damage: str, tmp_path: Path) -> None:
    folder = leave_run(tmp_path / "run")
    contents = [json.loads((folder / name).read_text()) for name in ("config.json", "result.json")]
    change, message = DAMAGE[damage]
    change(contents[0], contents[1])
    for name, content in zip(("config.json", "result.json"), contents, strict=True):
        (folder / name).write_bytes(json_text(content))
    with pytest.raises(StoreError, match=message) as refusal:
        read_run(folder)
    assert str(folder) in str(refusal.value)


@pytest.mark.parametrize("body", ["", "{", "[1]", "\x00\x01", '{"evaluations": NaN}', "7"])
@pytest.mark.parametrize("name", ["config.json", "result.json"])
def test_a_damaged_file_is_named(name: str, body: str, tmp_path: Path) -> None:
    folder = leave_run(tmp_path / "run")
    (folder / name).write_text(body)
    with pytest.raises(StoreError) as refusal:
        read_run(folder)
    assert str(folder) in str(refusal.value)


def test_runs_are_found_by_themselves_and_in_their_folder(tmp_path: Path) -> None:
    runs = [leave_run(tmp_path / "runs" / name) for name in ("b", "a", "c")]
    (tmp_path / "runs" / "notes").mkdir()
    assert find_runs([tmp_path / "runs"]) == sorted(runs)
    assert find_runs([runs[2], runs[0]]) == [runs[2], runs[0]]
    assert find_runs([runs[2], tmp_path / "runs"]) == [runs[2], runs[1], runs[0]], "none twice"


@pytest.mark.parametrize("where", ["nowhere", "empty", "file"])
def test_what_is_no_run_is_refused(where: str, tmp_path: Path) -> None:
    """A misspelt folder must not be a report without it."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=f"{where}: found no config.json, expected a training run"):
        find_runs([tmp_path / where])
