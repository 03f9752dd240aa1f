"""The examples run, the README's code runs, and the README and the pages show the examples as they are."""

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
# Where each example is shown whole.
SHOWN_IN = {
    "own_data": "docs/own_data.md",
    "quickstart": "README.md",
    "swap_agents": "docs/python.md",
    "toy_penalty": "docs/python.md",
}
SIZES = "EPOCHS, ROLLOUTS, UPDATES, HORIZON = 1, 20, 5, 5"


def run(program: str, path: Path) -> str:
    """Run a program beside the examples' data, and return what it prints."""
    path.write_text(program)
    shutil.copytree(ROOT / "examples" / "data", path.parent / "data")
    result = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=path.parent, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout
    return result.stdout


def small(program: str) -> str:
    """Return a program with small sizes; nothing else is changed."""
    changed = re.sub(r"^EPOCHS, .*$", SIZES, program, flags=re.MULTILINE)
    changed = changed.replace("rollout_batch_size=1000, n_epochs=2, batch_size=1000", "rollout_batch_size=20")
    return changed.replace("EPOCHS * 1000", "EPOCHS * 20").replace("learning_starts=100", "learning_starts=10")


def test_every_example_is_shown() -> None:
    """An example that no page shows is not found."""
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(SHOWN_IN)


@pytest.mark.parametrize("example", sorted(SHOWN_IN.keys() - {"quickstart"}))
def test_example_runs(example: str, tmp_path: Path) -> None:
    """An example that fails is worse than none."""
    run(small((ROOT / "examples" / f"{example}.py").read_text()), tmp_path / f"{example}.py")
    left = {path.name for path in tmp_path.iterdir() if path.name not in {"data", "mopo", "minari"}}
    assert left == {f"{example}.py"} | ({"tank-policy"} if example == "own_data" else set())


def test_the_code_of_the_readme_runs(tmp_path: Path) -> None:
    """From top to bottom as one program, which begins with the quickstart; what its last block makes can be stepped."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    check = "penalized_model.penalty(penalized_model.model.predict(*[torch.zeros(2, n) for n in (17, 6)]))"
    printed = run(small("\n".join([*blocks, "import torch", f"print({check}.shape)"])), tmp_path / "readme.py")
    assert printed.endswith("torch.Size([2])\n")


@pytest.mark.parametrize(("example", "page"), SHOWN_IN.items())
def test_the_page_shows_the_example(example: str, page: str) -> None:
    """Code that is copied by hand drifts; code that is compared does not."""
    code = (ROOT / "examples" / f"{example}.py").read_text().split('"""', 2)[2].strip()
    assert f"```python\n{code}\n```" in (ROOT / page).read_text()


def plant_of(name: str) -> Any:
    """Import a plant, which the example does not use."""
    path = ROOT / "examples" / "data" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    plant = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plant)
    return plant


@pytest.mark.parametrize("name", ["heated_room", "heated_tank"])
def test_the_log_is_what_the_plant_wrote(name: str) -> None:
    """Data can be checked only if they can be made again."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        plant_of(name).main()
    assert printed.getvalue() == (ROOT / "examples" / "data" / f"{name}.csv").read_text()


@pytest.mark.slow
def test_the_policy_of_the_example_beats_the_operator_on_the_real_plant(tmp_path: Path) -> None:
    """The example has no plant, so this test runs both on it from the same 50 starts."""
    run((ROOT / "examples" / "own_data.py").read_text(), tmp_path / "own_data.py")
    plant, policy = plant_of("heated_tank"), load_policy(tmp_path / "tank-policy")

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
