"""The examples run, the README's code runs, and the README and the pages show the examples as they are."""

from __future__ import annotations

import importlib.util
import io
import json
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
from helpers.documents import small

from mopo_agents import load_policy
from mopo_agents.sweeps.plan import read_plan

ROOT = Path(__file__).resolve().parent.parent
# Where each example is shown whole.
SHOWN_IN = {
    "cartpole": "docs/discrete.md",
    "own_data": "docs/own_data.md",
    "quickstart": "README.md",
    "swap_agents": "docs/python.md",
    "toy_penalty": "docs/python.md",
}
INCLUDED = {"custom_penalty", "pendulum", "random_forest", "relabelled_reward"}  # by docs/examples.md


def run(program: str, path: Path) -> str:
    """Run a program beside the examples' data, and return what it prints."""
    path.write_text(program)
    shutil.copytree(ROOT / "examples" / "data", path.parent / "data")
    result = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=path.parent, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout
    return result.stdout


def test_every_example_is_shown() -> None:
    """An example that no page shows is not found."""
    page = (ROOT / "docs" / "examples.md").read_text()
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == {*SHOWN_IN, *INCLUDED}
    assert {*re.findall(r"{literalinclude} \.\./examples/(\w+)\.py", page)} == INCLUDED
    assert all(f"`{path.name}`" in page for path in (ROOT / "examples").glob("*.*"))


@pytest.mark.parametrize("example", sorted(INCLUDED))
def test_example_on_its_page_runs(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, which has imported most of what it needs."""
    if example == "random_forest":
        pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    path = ROOT / "examples" / f"{example}.py"
    exec(compile(small(path.read_text()), path, "exec"), {"__file__": str(path)})  # noqa: S102


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells are plain Python, so that no Jupyter is needed here; it is stored without outputs."""
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    cells = json.loads((ROOT / "examples" / "story.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    found: dict[str, Any] = {}
    for cell in code:
        exec(small("".join(cell["source"])), found)  # noqa: S102
        plt.close("all")
    assert len(found["returns"]) == 1


def test_the_plan_is_a_plan() -> None:
    """Its eight runs differ in what the comment above it says."""
    plan = read_plan(ROOT / "examples" / "sweep.toml")
    assert len(plan.jobs) == 8
    assert plan.varied == ("task", "method", "seed", "horizon", "penalty_coef")


@pytest.mark.parametrize("example", sorted(SHOWN_IN.keys() - {"quickstart", "cartpole"}))
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
