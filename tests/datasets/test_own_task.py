"""Tasks by any name: the paper's by theirs, and anything that holds data as a task of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mopo_env.datasets.files import save_transitions
from mopo_env.datasets.locate import resolve_task
from mopo_env.datasets.minari.reader import save_minari
from mopo_env.errors import ConfigError, UnknownNameError
from mopo_env.tasks import TASKS, Task
from mopo_env.terminations.learned import LearnedTermination, save_termination
from mopo_env.toys import LinearGaussianSystem


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_transitions(LinearGaussianSystem().transitions(num_episodes=2, num_steps=5, seed=0), tmp_path / "pump")
    return tmp_path / "pump"


@pytest.mark.parametrize("name", ["hopper-mixed", "MOPO-hopper-mixed", TASKS["hopper-mixed"]])
def test_the_papers_tasks_are_found_by_name_id_and_as_themselves(name: Any) -> None:
    assert resolve_task(name) is TASKS["hopper-mixed"]


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_folder_with_data_is_a_task(folder: Path, as_type: type) -> None:
    """Short rollouts and λ = 1; nothing of the paper's, no environment, and no score on anybody's scale."""
    task = resolve_task(as_type(folder))
    assert task == Task(name=str(folder), horizon=5, penalty_coef=1.0, termination="never", rollout_policy="agent")
    assert (task.recipe, task.real_env_id, task.paper_return, task.normalised(10.0)) == (None, None, None, None)
    assert (task.label, task.id) == ("pump", "pump")


def test_a_relative_path_is_made_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's record must name the data wherever it is read; and "." has no name of its own."""
    monkeypatch.chdir(folder)
    assert resolve_task(".") == resolve_task("../pump") == resolve_task(folder)
    assert resolve_task(".").label == "pump"


def test_a_folder_may_be_called_like_a_task(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bare name is the task's; as a path it is the folder's, and must not fall back to the task later on."""
    folder.rename(folder.parent / "hopper-mixed")
    monkeypatch.chdir(folder.parent)
    assert resolve_task("hopper-mixed") is TASKS["hopper-mixed"]
    for path in ("./hopper-mixed", Path("hopper-mixed")):
        own = resolve_task(path)
        assert (own.recipe, own.label, resolve_task(own.name)) == (None, "hopper-mixed", own)


def test_a_minari_dataset_is_a_task() -> None:
    save_minari(LinearGaussianSystem().transitions(num_episodes=2, num_steps=5, seed=0), "plant/pump-v0")
    task = resolve_task("plant/pump-v0")
    assert (task.name, task.label, task.recipe) == ("plant/pump-v0", "pump-v0", None)


def test_a_learned_rule_is_the_default_where_there_is_one(folder: Path, tmp_path: Path) -> None:
    """Beside the dataset, or beside the ensemble if that lies elsewhere."""
    rule = LearnedTermination(2, 1, hidden_sizes=(2,), num_members=1)
    save_termination(rule, tmp_path / "model")
    assert resolve_task(folder).termination == "never"
    assert resolve_task(folder, ensemble=tmp_path / "model").termination == "learned"
    save_termination(rule, folder)
    assert resolve_task(folder).termination == "learned"
    assert resolve_task("hopper-mixed", ensemble=folder).termination == "hopper"


def test_the_caller_names_the_real_environment(folder: Path) -> None:
    """Never a file: making an environment runs its code."""
    task = resolve_task(folder, real_env="Pendulum-v1")
    assert task == replace(resolve_task(folder), real_env_id="Pendulum-v1")
    assert resolve_task(real_env="Pendulum-v1").real_env_id == "Pendulum-v1"


def test_the_normalised_scale_belongs_to_one_environment() -> None:
    """D4RL's references were taken in version 2 of Hopper: other versions are near, another robot is not."""
    older = resolve_task("hopper-mixed", real_env="Hopper-v4")
    assert older.real_env_id == "Hopper-v4"
    assert older.normalised(3234.3) == pytest.approx(100.0)
    assert resolve_task("hopper-mixed", real_env="Walker2d-v4").normalised(3234.3) is None
    assert TASKS["hopper-mixed"].real_env_id == "Hopper-v5"


def test_a_name_of_nothing_lists_the_nearest_and_what_else_it_may_be(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"folder of a dataset or local Minari id 'hoper-mixed'.*'hopper-mixed'"):
        resolve_task("hoper-mixed")
    (tmp_path / "empty").mkdir()
    for name in (tmp_path / "empty", "x" * 5000, "~nobody/data", "plant/pump-v9"):
        with pytest.raises(UnknownNameError, match="Known: ant-angle"):
            resolve_task(name)


@pytest.mark.parametrize(("arguments", "name"), [(({},), "task"), ((5,), "task"), ((None,), "task")])
def test_what_is_no_name_is_refused(arguments: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: "):
        resolve_task(*arguments)


def test_an_environment_that_is_no_id_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^real_env: .* found 5"):
        resolve_task("hopper-mixed", real_env=5)  # type: ignore[arg-type]
