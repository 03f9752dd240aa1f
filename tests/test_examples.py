"""The examples are the README's code: they run, and the README shows them as they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SIZES = "EPOCHS, ROLLOUTS, UPDATES, HORIZON = 1, 20, 5, 5"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    """An example that fails is worse than none. Only its sizes are made small here."""
    program = re.sub(r"^EPOCHS, .*$", SIZES, example.read_text(), flags=re.MULTILINE)
    if example.stem == "swap_agents":
        program = program.replace("rollout_batch_size=1000, n_epochs=2, batch_size=1000", "rollout_batch_size=20")
        program = program.replace("EPOCHS * 1000", "EPOCHS * 20").replace("learning_starts=100", "learning_starts=10")
    small = tmp_path / example.name
    small.write_text(program)
    result = subprocess.run([sys.executable, str(small)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout
    assert sorted(path.name for path in tmp_path.iterdir() if path.name not in {"mopo", "minari"}) == [small.name]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_readme_shows_the_example(example: Path) -> None:
    """Code that is copied by hand drifts; code that is compared does not."""
    code = example.read_text().split('"""', 2)[2].strip()
    assert f"```python\n{code}\n```" in (ROOT / "README.md").read_text()
