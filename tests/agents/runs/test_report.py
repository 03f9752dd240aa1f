"""What a run is shown as: numbers that can be checked by hand, and a picture that is one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.runs import cells

from mopo_agents.evaluation import Evaluation
from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.outcome import TrainResult
from mopo_agents.runs.report import plot_learning_curve, result_table
from mopo_agents.runs.resolve import resolve
from mopo_agents.runs.rows import EvaluationRow, ModelRow
from mopo_env.errors import MissingExtraError
from mopo_env.tasks import Task, get_task

TASK = get_task("halfcheetah-mixed")  # D4RL's scale: 0 is −280.178953, 100 is 12135


def result(*, dataset_mean: float = 2000.0, returns: tuple[float, ...] | None = (4000.0, 6000.0)) -> TrainResult:
    rows = [
        EvaluationRow(
            epoch=k, updates=1000 * k, seed=k, seconds=60.0 * k, return_mean=900.0 * k, return_std=50.0, normalised=k
        )
        for k in range(1, 4)
    ]
    agent: Any = None
    final = None if returns is None else Evaluation(returns=returns, lengths=(1000,) * len(returns), normalised=0.0)
    return TrainResult(
        run=resolve(TrainConfig(task=TASK.name)),
        folder=Path("run"),
        agent=agent,
        dataset_mean=dataset_mean,
        dataset_max=4000.0,
        dataset_reward=2.0,
        dataset_terminated=0.01,
        model_rows=(
            ModelRow(reward=1.0, model_reward=1.5, penalty=0.5, terminated=0.02),
            ModelRow(reward=2.75, model_reward=3.0, penalty=0.25, terminated=0.0),
        ),
        evaluations=tuple(rows),
        final=final,
    )


def test_the_table_holds_the_comparison_of_the_paper() -> None:
    """Dataset mean and max beside the policy; on D4RL's scale 2000 is 100·2280.178953/12415.178953 = 18.4 and so on."""
    head, rule, *rows = cells(result_table(TASK, result()))
    assert head == ["halfcheetah-mixed", "return", "normalised", "× dataset mean"]
    assert rule == ["---", "---:", "---:", "---:"]
    assert rows == [
        ["dataset, mean episode", "2000.0", "18.4", "1.00"],
        ["dataset, best episode", "4000.0", "34.5", "2.00"],
        ["policy, mean of 2 episodes", "5000.0", "42.5", "2.50"],
    ]


def test_a_ratio_to_a_negative_mean_is_left_out() -> None:
    """HalfCheetah's random dataset averages −300: twice that is worse and not better."""
    rows = cells(result_table(TASK, result(dataset_mean=-300.0)))[2:]
    assert [row[3] for row in rows] == ["–", "–", "–"]
    assert rows[0][1:3] == ["-300.0", "-0.2"]


def test_a_task_without_references_has_no_normalised_score() -> None:
    """D4RL has none for the out-of-distribution tasks; a number from another reward's scale would mislead."""
    rows = cells(result_table(get_task("halfcheetah-jump"), result()))[2:]
    assert [row[1:] for row in rows] == [["2000.0", "–", "1.00"], ["4000.0", "–", "2.00"], ["5000.0", "–", "2.50"]]


def test_a_run_without_evaluations_shows_the_dataset_alone() -> None:
    assert len(cells(result_table(TASK, result(returns=None)))) == 4


def test_without_a_real_environment_the_table_tells_what_the_model_saw() -> None:
    """Returns of nobody's would be a table of nothing: what is known is how the rollouts compare with the data."""
    *table, last = result_table(Task(name="/somewhere/pump"), result(returns=None)).splitlines()
    head, _, *rows = cells("\n".join(table))
    assert head == ["pump", "reward per step", "penalty", "terminal"]
    assert rows == [
        ["dataset", "2.000", "–", "1.00%"],
        ["model, first epoch", "1.500", "0.500", "2.00%"],
        ["model, epoch 2", "3.000", "0.250", "0.00%"],
    ]
    assert last.startswith("The policy was not evaluated")


def test_the_learning_curve_is_a_picture(tmp_path: Path) -> None:
    """Without a screen, and not an empty sheet: the curve must have left ink."""
    image = pytest.importorskip("matplotlib.image")
    path = plot_learning_curve(TASK, result(), tmp_path / "curve.png")
    assert path == tmp_path / "curve.png"
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = image.imread(path)[..., :3]
    assert pixels.shape[1] == 1350  # 9 inches at 150 dots an inch
    # The curve is drawn in the first colour, which nothing else here has.
    assert (np.abs(pixels - np.array([0x00, 0x72, 0xB2]) / 255).max(axis=2) < 0.02).sum() > 500


def test_a_missing_matplotlib_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def without(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    run = result()
    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtraError, match=r'pip install "mopo-env\[plots\]"'):
        plot_learning_curve(TASK, run, tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()
