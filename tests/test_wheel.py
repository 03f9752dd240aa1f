"""What users install works without the checkout; an editable install cannot show what a wheel lacks."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUNDLED = ("halfcheetah-jump", "halfcheetah-mixed", "hopper-mixed", "walker2d-mixed")
USE = """
import gymnasium, mopo_env, mopo_agents
assert {site!r} in mopo_env.__file__ and {site!r} in mopo_agents.__file__, (mopo_env.__file__, mopo_agents.__file__)
env = gymnasium.make("mopo_env:MOPO-halfcheetah-mixed")
env.reset(seed=0)
env.step(env.action_space.sample())
"""
TRAIN = ["train", "halfcheetah-mixed", "--epochs", "2", "--rollout-batch-size", "8", "--gradient-steps", "2"]
TRAIN += ["--evaluate-every", "0", "--score-every", "0", "--out", "run"]


@pytest.mark.slow
def test_the_wheel_is_all_that_is_needed(tmp_path: Path) -> None:
    """Its content, then in a fresh environment elsewhere: `gym.make`, `mopo train`, `mopo evaluate` and `pip check`.

    The dependencies are those of this environment, which a path file lends to the fresh one.
    """

    def call(*command: object) -> str:
        done = subprocess.run(
            [*map(str, command)],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"mopo_env", "mopo_agents"}
    assert {"mopo_env/py.typed", "mopo_agents/py.typed", "mopo_env/datasets/d4rl_files.json"} <= set(names)
    for task in BUNDLED:
        for part in ("dataset", "ensemble"):
            folder = f"mopo_env/bundled/{task}/{part}"
            assert f"{folder}.json" in names
            assert any(name.startswith(f"{folder}-") and name.endswith(".safetensors") for name in names)
    assert not [name for name in names if "test_" in name or "/tests/" in name or name.endswith(".pyc")]

    venv.create(tmp_path / "fresh", with_pip=True)
    python = tmp_path / "fresh" / "bin" / "python"
    call(python, "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools")  # an old one, which hides the lent one
    call(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    (site,) = (tmp_path / "fresh" / "lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_paths()["purelib"])
    assert "No broken requirements found" in call(python, "-m", "pip", "check")
    call(python, "-c", USE.format(site=str(site)))
    mopo = tmp_path / "fresh" / "bin" / "mopo"
    call(mopo, *TRAIN)
    assert "1 episodes: return" in call(mopo, "evaluate", "run", "--episodes", "1")
