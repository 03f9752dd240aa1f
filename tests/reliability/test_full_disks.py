"""A disk without room: noticed before the long work where it can be, and else nothing is lost without a word."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.agents import files, halfcheetah_rows, write_log
from helpers.runs import TASK

from mopo_agents.runs import method_ensembles
from mopo_env._utils import store
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.errors import StoreError
from mopo_env.models.ensemble import load_ensemble

Mopo = Callable[..., tuple[int, str, str]]

TINY_FIT = ["--max-epochs=1", "--hidden-sizes", "8", "--weight-decay", "0", "0", "--num-members=2", "--num-elites=1"]
LOG = ["--observations", "mm", "speed", "--actions", "push", "--reward", "pay", "--episode", "run"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    save_transitions(halfcheetah_rows(), tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def commands(data: Path, tmp_path: Path) -> dict[str, list[object]]:
    """Commands whose work is long, but for the folder of their result."""
    return {
        "fit": ["fit", data, *TINY_FIT],
        "collect": ["collect", TASK],
        "import-table": ["data", "import-table", write_log(tmp_path / "log.csv"), *LOG],
    }


LONG = ["fit", "collect", "import-table"]
WORK = [
    "mopo_env.models.fit.fit_ensemble",
    "mopo_agents.collection.recipes.Collector.train",
    "mopo_env.datasets.tables.reader.load_table",
]


@pytest.fixture
def _work_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: Any, **__: Any) -> Any:
        raise AssertionError("the long work began")

    for name in WORK:
        monkeypatch.setattr(name, work)


@pytest.mark.usefixtures("_work_is_forbidden")
@pytest.mark.parametrize("name", LONG)
class TestBeforeTheWork:
    """Hours of work whose result has no place are refused in the first second."""

    def test_no_room(
        self, mopo: Mopo, commands: dict[str, list[object]], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
        code, out, err = mopo(*commands[name], "--out", tmp_path / "new")
        assert (code, out) == (2, "")
        assert err.startswith(f"mopo: {tmp_path / 'new'}: found 0 MB of free disk, but the result needs ")
        assert not (tmp_path / "new").exists()

    def test_no_folder(self, mopo: Mopo, commands: dict[str, list[object]], name: str, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        code, out, err = mopo(*commands[name], "--out", tmp_path / "file" / "new")
        assert (code, out) == (2, "")
        assert err == f"mopo: {tmp_path / 'file' / 'new'}: cannot be written: Not a directory.\n"

    def test_no_permission(
        self, mopo: Mopo, commands: dict[str, list[object]], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where nothing can be created; root may write everywhere, so the system's answer is given here."""
        real = Path.mkdir

        def mkdir(self: Path, *arguments: Any, **options: Any) -> None:
            if self.name == "new":
                raise PermissionError(13, "Permission denied", str(self))
            real(self, *arguments, **options)

        monkeypatch.setattr(Path, "mkdir", mkdir)
        code, out, err = mopo(*commands[name], "--out", tmp_path / "new")
        assert (code, out) == (2, "")
        assert err == f"mopo: {tmp_path / 'new'}: cannot be written: Permission denied.\n"


def fill(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Let writing fail in these folders, as on a full disk."""
    real = store.write_file

    def write(path: Path, body: bytes) -> None:
        if any(folder in path.parents for folder in folders):
            raise StoreError(f"{path}: cannot be written: No space left on device. What was there is intact.")
        real(path, body)

    monkeypatch.setattr(store, "write_file", write)


def test_a_fit_that_cannot_be_saved_is_rescued(
    mopo: Mopo, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk filled up during the fit."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fill(monkeypatch, tmp_path / "new")
    code, _, err = mopo("fit", data, *TINY_FIT, "--out", tmp_path / "new")
    assert code == 2
    (rescued,) = tmp_path.glob("mopo-rescued-*")
    assert f"{tmp_path / 'new'}/dataset-" in err
    assert f"No space left on device. What was there is intact. The result is safe in {rescued}: make room" in err
    assert load_ensemble(rescued).hidden_sizes == (8,)
    assert load_transitions(rescued).fingerprint == load_transitions(data).fingerprint
    assert not (tmp_path / "new").exists()


def test_a_fit_that_cannot_be_saved_anywhere_says_so(
    mopo: Mopo, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "full"))
    (tmp_path / "full").mkdir()
    fill(monkeypatch, data, tmp_path / "full")
    before = files(data)
    code, _, err = mopo("fit", data, *TINY_FIT)
    assert code == 2
    assert f"{data}/ensemble-" in err
    assert "Nor can the temporary folder" in err
    assert "run the same command again" in err
    assert files(data) == before


def test_a_full_cache_costs_only_time(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ensemble of a method can be used although it cannot be kept."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fill(monkeypatch, tmp_path / "cache")
    options = {"max_epochs": 1, "hidden_sizes": (4,), "weight_decay": (0.0, 0.0)}
    folder = method_ensembles.ensemble_with(options, data, progress=False)
    assert folder is not None
    assert folder.name.startswith("mopo-ensemble-")
    assert load_ensemble(folder).hidden_sizes == (4,)
    assert not (tmp_path / "cache" / "ensembles").exists()
