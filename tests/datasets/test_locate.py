"""A task name, a path and a Minari id each find a dataset and a task; else the message says what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mopo_env.datasets import folders
from mopo_env.datasets.files import save_transitions
from mopo_env.datasets.folders import bundled_folder, find_folder, user_folder
from mopo_env.datasets.locate import load_dataset, resolve_task
from mopo_env.datasets.minari.reader import save_minari
from mopo_env.errors import ConfigError, DatasetError, StoreError, UnknownNameError
from mopo_env.tasks import TASKS, Task
from mopo_env.terminations.learned import LearnedTermination, save_termination
from mopo_env.toys import LinearGaussianSystem
from mopo_env.transitions import Transitions

TASK = "hopper-mixed"


def data(seed: int) -> Transitions:
    return LinearGaussianSystem().transitions(num_episodes=2, num_steps=5, seed=seed)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-in for the folder of data that come with the package."""
    monkeypatch.setattr(folders, "_BUNDLED", tmp_path / "bundle")
    return tmp_path / "bundle"


class TestUserFolder:
    """Where collected data go."""

    def test_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MOPO_DATASETS_PATH", "some/where")
        assert user_folder() == Path("some/where")

    @pytest.mark.parametrize("value", [None, ""])
    def test_default(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str | None) -> None:
        """An empty variable means unset, not the current folder."""
        monkeypatch.setenv("HOME", str(tmp_path))
        if value is None:
            monkeypatch.delenv("MOPO_DATASETS_PATH")
        else:
            monkeypatch.setenv("MOPO_DATASETS_PATH", value)
        assert user_folder() == tmp_path / ".mopo" / "datasets"


class TestFound:
    """Each kind of name leads to its data."""

    def test_task_in_the_users_folder(self, bundle: Path) -> None:
        save_transitions(data(1), user_folder() / TASK)
        assert bundled_folder(TASK) is None
        assert find_folder(TASK) == user_folder() / TASK
        assert load_dataset(TASK).fingerprint == data(1).fingerprint

    def test_bundled_data_come_first(self, bundle: Path) -> None:
        """An id must mean the same data on every machine."""
        save_transitions(data(1), user_folder() / TASK)
        save_transitions(data(2), bundle / TASK)
        assert bundled_folder(TASK) == bundle / TASK
        assert load_dataset(TASK).fingerprint == data(2).fingerprint

    def test_folder_by_path_or_text(self, tmp_path: Path) -> None:
        folder = tmp_path / "my data"
        save_transitions(data(3), folder)
        for name in (folder, str(folder), "my data", Path("my data")):
            assert load_dataset(name).fingerprint == data(3).fingerprint

    def test_home_is_expanded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        save_transitions(data(3), tmp_path / "data")
        assert find_folder("~/data") == tmp_path / "data"

    def test_a_path_is_never_taken_for_a_task(self, bundle: Path) -> None:
        """`Path(TASK)` is the way to say that one means a folder of that name."""
        save_transitions(data(2), bundle / TASK)
        save_transitions(data(4), Path(TASK))
        assert load_dataset(Path(TASK)).fingerprint == data(4).fingerprint
        assert load_dataset(TASK).fingerprint == data(2).fingerprint

    def test_minari_id(self) -> None:
        save_minari(data(5), "mopo/toy-v0")
        assert load_dataset("mopo/toy-v0").fingerprint == data(5).fingerprint

    def test_folder_comes_before_a_minari_id(self) -> None:
        save_minari(data(5), "mopo/toy-v0")
        save_transitions(data(6), Path("mopo/toy-v0"))
        assert load_dataset("mopo/toy-v0").fingerprint == data(6).fingerprint


class TestNotFound:
    """The message says how to get the data."""

    def test_task_without_data(self, bundle: Path) -> None:
        assert find_folder(TASK) is None
        with pytest.raises(DatasetError) as caught:
            load_dataset(TASK)
        for part in (f"'{TASK}'", str(user_folder() / TASK), f"`mopo collect {TASK}`", "dataset="):
            assert part in str(caught.value)

    @pytest.mark.parametrize("name", ["nothing", "mopo/nothing-v3", "../nothing-v0", Path("nothing"), ""])
    def test_any_other_name(self, name: str | Path) -> None:
        with pytest.raises(DatasetError) as caught:
            load_dataset(name)
        for part in (repr(str(name)), "no task,", "dataset.json", "`mopo tasks`", "`minari list local`"):
            assert part in str(caught.value)

    def test_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(DatasetError, match="no folder with a dataset"):
            load_dataset(tmp_path / "empty")

    def test_damaged_data_are_not_called_missing(self, tmp_path: Path) -> None:
        """Otherwise a user would collect for an hour what one download repairs."""
        (tmp_path / "damaged").mkdir()
        (tmp_path / "damaged" / "dataset.json").write_text("{")
        with pytest.raises(StoreError, match="damaged"):
            load_dataset(tmp_path / "damaged")


# ---------------------------------------------------------------- tasks by any name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_transitions(data(0), tmp_path / "pump")
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
    save_minari(data(0), "plant/pump-v0")
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


@pytest.mark.parametrize("name", [{}, 5, None])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"^task: "):
        resolve_task(name)


def test_an_environment_that_is_no_id_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^real_env: .* found 5"):
        resolve_task("hopper-mixed", real_env=5)  # type: ignore[arg-type]
