"""The benchmark that needs a GPU runs on a list of made-up ones, and measures nothing where there is none.

The one that judges penalties is checked against shares counted by hand and against a perfect model.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from mopo_env import OraclePenalty, PenalizedModel, TrueDynamics, load_dataset
from mopo_env.models.protocol import GaussianPrediction
from mopo_env.penalties import learned_variance

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "side_by_side.py"
SMALL = ("--dataset", "3000", "--rollouts", "50", "--updates", "2", "--repeats", "1")


def run(*options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, env=environment, check=False
    )


def test_two_devices_and_two_seeds() -> None:
    """The processes wait for each other, answer, and end."""
    done = run("--devices", "cpu", "cpu", "--seeds", "2", *SMALL)
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| 2 ")]
    numbers = [float(cell) for cell in row.strip("| ").split("|")]
    assert len(numbers) == 7
    assert numbers[-1] == pytest.approx(numbers[-2] / 2, abs=0.1)


def test_a_device_that_fails_is_an_error_and_nobody_waits_for_ever() -> None:
    done = run("--devices", "cpu", "cuda:99", "--seeds", "2", *SMALL)
    assert done.returncode != 0
    assert "cuda" in done.stderr.lower()


@pytest.mark.parametrize("script", sorted(SCRIPT.parent.glob("*.py")), ids=lambda path: path.stem)
def test_every_benchmark_finds_what_it_imports(script: Path) -> None:
    """Nothing else runs most of them: one that asks for a name which is gone would fail when its numbers are wanted."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SCRIPT.parent), *sys.path])}
    code = f"import importlib; importlib.import_module({script.stem!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is something to measure")
def test_without_a_gpu_nothing_is_claimed() -> None:
    done = run()
    assert done.returncode == 0, done.stderr
    assert "not measured" in done.stdout


@pytest.fixture
def penalties_off_data(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return importlib.import_module("penalties_off_data")


def test_shares_of_a_cut_by_hand(penalties_off_data: ModuleType) -> None:
    """Of two bad rows it ends one, of three good rows one; a share of no rows has no value."""
    cut, bad = np.array([True, False, True, False, False]), np.array([True, True, False, False, False])
    assert penalties_off_data.cut_shares(cut, bad) == pytest.approx((1 / 2, 1 / 3))
    assert np.isnan(penalties_off_data.cut_shares(cut, np.zeros(5, dtype=bool))[0])


class OffByTwo(TrueDynamics):
    """The simulator, with a reward that is 2 too high and targets whose standard deviations are 4."""

    def predict(self, observations: torch.Tensor, actions: torch.Tensor) -> GaussianPrediction:
        prediction = super().predict(observations, actions)
        prediction.mean[..., -1] += 2.0
        return replace(prediction, target_std=torch.full((12,), 4.0))


def test_a_model_whose_error_is_known(penalties_off_data: ModuleType) -> None:
    """The error of each step is the reward's, in both units, and its states are those of the simulator."""
    rows_of_data = importlib.import_module("common").select_rows(load_dataset("hopper-mixed"), slice(0, 1000))
    oracle = OraclePenalty(truth=TrueDynamics("Hopper-v5"), max_error=1e30, reward=True, units="normalised")
    model = PenalizedModel(OffByTwo("Hopper-v5"), rows_of_data, penalty="none")
    judge = penalties_off_data.Judge(model, oracle, {"learned-variance": learned_variance})
    rows = judge.rollouts(penalties_off_data.make_act("random", model, 0), num_rollouts=20, num_steps=5, seed=0)
    assert set(rows.step) == {0, 1, 2, 3, 4}
    np.testing.assert_allclose(rows.values["true error"], 0.5, atol=1e-4)
    np.testing.assert_allclose(rows.values["true error, raw"], 2.0, atol=1e-4)
    lasting, distance = rows.distances[5]
    assert set(lasting) == set(rows.rollout[rows.step == 4])
    np.testing.assert_allclose(distance, 0.0, atol=1e-3)
    data = judge.data(100)
    for name in ("by_step", "correlations", "cuts"):
        lines = list(getattr(penalties_off_data, name)(data, rows))
        assert "learned-variance" in [line[0] for line in lines]
        assert len({len(line) for line in lines}) == 1
