"""Finding a dataset by task name, path or Minari id, and saying what to do when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from mopo_env.datasets import folders, load_dataset, save_transitions
from mopo_env.datasets.folders import bundled_folder, find_folder, user_folder
from mopo_env.datasets.minari.reader import save_minari
from mopo_env.errors import DatasetError, StoreError
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
        for part in (repr(str(name)), "no task", "dataset.json", "`mopo tasks`", "`minari list local`"):
            assert part in str(caught.value)

    def test_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(DatasetError, match="no folder that holds a dataset"):
            load_dataset(tmp_path / "empty")

    def test_damaged_data_are_not_called_missing(self, tmp_path: Path) -> None:
        """Otherwise a user would collect for an hour what one download repairs."""
        (tmp_path / "damaged").mkdir()
        (tmp_path / "damaged" / "dataset.json").write_text("{")
        with pytest.raises(StoreError, match="damaged"):
            load_dataset(tmp_path / "damaged")
