"""Importing the package is quick, and every public name is there when it is used."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import mopo_env

HEAVY = ["torch", "minari", "mujoco", "stable_baselines3", "h5py", "jaxtyping", "tyro", "matplotlib", "mopo_agents"]


def loaded_after(statements: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after some statements."""
    script = (
        f"import json, sys\n{statements}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return set(json.loads(done.stdout))


def test_import_is_light() -> None:
    """Gymnasium imports the package for every `mopo_env:` id, and torch alone takes seconds."""
    loaded = loaded_after("import mopo_env")
    assert "gymnasium" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_data_layer_is_light() -> None:
    """Data can be prepared, stored and read where torch is not wanted."""
    statements = (
        "import numpy as np\n"
        "from mopo_env import Transitions, load_dataset, get_task, relabel, save_transitions\n"
        "Transitions(observations=np.zeros((2, 1)), actions=np.zeros((2, 1)), rewards=np.zeros(2),\n"
        "    next_observations=np.zeros((2, 1)), terminations=np.zeros(2), truncations=np.zeros(2))\n"
        "import mopo_env._utils.store, mopo_env.real.real_env, mopo_env.datasets.minari.reader"
    )
    assert loaded_after(statements).isdisjoint(HEAVY)


def test_environments_need_no_agent_library() -> None:
    """Imports go one way: stable-baselines3 is the business of `mopo_agents`. And an id with its module suffices."""
    statements = "import gymnasium\ngymnasium.make('mopo_env:MOPO-linear-gaussian').reset(seed=0)"
    loaded = loaded_after(f"{statements}\nimport mopo_env.envs.make, mopo_env.models.fit")
    assert "torch" in loaded
    assert loaded.isdisjoint({"stable_baselines3", "mopo_agents", "minari", "mujoco", "h5py"})


@pytest.mark.parametrize("name", mopo_env.__all__)
def test_every_public_name_resolves(name: str) -> None:
    value = getattr(mopo_env, name)
    if name not in ("TASKS", "__version__"):
        assert value.__name__ == name
        assert value.__doc__


def test_all_is_sorted_and_complete() -> None:
    """What can be imported lazily is public, and nothing is listed twice."""
    assert len(set(mopo_env.__all__)) == len(mopo_env.__all__)
    assert {*(name for names in mopo_env._HOMES.values() for name in names), "__version__"} == set(mopo_env.__all__)
    for module, names in mopo_env._HOMES.items():
        assert set(names) <= set(vars(importlib.import_module(module)))


def test_dir_lists_what_is_not_imported_yet() -> None:
    """Completion in a notebook is how names are found."""
    assert dir(mopo_env) == sorted(mopo_env.__all__)


@pytest.mark.parametrize("name", ["Nothing", "penalizedmodelenv", "_nothing", "__path_of_nothing__"])
def test_unknown_attribute(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'mopo_env' has no attribute '{name}'"):
        getattr(mopo_env, name)
    assert not hasattr(mopo_env, name)


def test_submodules_can_be_imported_by_name() -> None:
    """`from mopo_env import tasks` asks `__getattr__` first, whose refusal must not end the search."""
    done = subprocess.run(
        [sys.executable, "-c", "from mopo_env import errors, tasks; print(tasks.__name__)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "mopo_env.tasks\n", done.stderr


def test_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert mopo_env.__version__ == version("mopo-env")
