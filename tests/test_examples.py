"""The examples are the README's code: they run, and the README shows them as they are."""

from __future__ import annotations

import importlib.util
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mopo_agents import load_policy

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SIZES = "EPOCHS, ROLLOUTS, UPDATES, HORIZON = 1, 20, 5, 5"


def run(program: str, path: Path) -> str:
    """Run a program beside the examples' data, and return what it prints."""
    path.write_text(program)
    shutil.copytree(ROOT / "examples" / "data", path.parent / "data")
    result = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=path.parent, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout
    return result.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    """An example that fails is worse than none. Only its sizes are made small here."""
    program = re.sub(r"^EPOCHS, .*$", SIZES, example.read_text(), flags=re.MULTILINE)
    if example.stem == "swap_agents":
        program = program.replace("rollout_batch_size=1000, n_epochs=2, batch_size=1000", "rollout_batch_size=20")
        program = program.replace("EPOCHS * 1000", "EPOCHS * 20").replace("learning_starts=100", "learning_starts=10")
    run(program, tmp_path / example.name)
    left = {path.name for path in tmp_path.iterdir() if path.name not in {"data", "mopo", "minari"}}
    assert left == {example.name} | ({"tank-policy"} if example.stem == "own_data" else set())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_readme_shows_the_example(example: Path) -> None:
    """Code that is copied by hand drifts; code that is compared does not."""
    code = example.read_text().split('"""', 2)[2].strip()
    assert f"```python\n{code}\n```" in (ROOT / "README.md").read_text()


def heated_tank() -> Any:
    """Import the plant that the example does not know."""
    path = ROOT / "examples" / "data" / "heated_tank.py"
    spec = importlib.util.spec_from_file_location("heated_tank", path)
    assert spec is not None
    assert spec.loader is not None
    plant = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plant)
    return plant


def test_the_log_is_what_the_plant_wrote() -> None:
    """Data that nobody can make again are data that nobody can check."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        heated_tank().main()
    assert printed.getvalue() == (ROOT / "examples" / "data" / "heated_tank.csv").read_text()


@pytest.mark.slow
def test_the_policy_of_the_example_beats_the_operator_on_the_real_plant(tmp_path: Path) -> None:
    """The example itself cannot know: it has no plant. Both run it from the same 50 starts."""
    run((ROOT / "examples" / "own_data.py").read_text(), tmp_path / "own_data.py")
    plant, policy = heated_tank(), load_policy(tmp_path / "tank-policy")

    def episodes(behaviour: Callable[[np.random.Generator], Callable[[np.ndarray], np.ndarray]]) -> tuple[float, int]:
        """Return the mean return, and how many runs trip."""
        returns, trips = [], 0
        for seed in range(50):
            random = np.random.default_rng(1000 + seed)
            state, act, rewards, tripped = plant.start(random), behaviour(random), [], False
            while len(rewards) < plant.STEPS and not tripped:
                state, reward, tripped = plant.step(state, act(state), random)
                rewards.append(reward)
            returns.append(sum(rewards))
            trips += tripped
        return float(np.mean(returns)), trips

    def trained(random: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
        return lambda state: policy.predict(state.astype(np.float32), deterministic=True)[0]

    operated, trips_of_operator = episodes(lambda random: plant.Operator(random).act)
    learned, trips_of_policy = episodes(trained)
    assert learned > 1.5 * operated
    assert trips_of_policy < 0.2 * trips_of_operator
