"""The benchmark that needs a GPU runs on a list of made-up ones, and measures nothing where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

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
