"""The cache holds what can be made again, says what it holds, and is cleared without touching anything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.agents import files, halfcheetah_rows
from helpers.minari_files import ID, write_three_episodes

from mopo_agents.runs.method_ensembles import ensemble_with
from mopo_env._utils.locks import lock_file
from mopo_env.datasets.files import save_transitions
from mopo_env.datasets.folders import cache_folder, user_folder
from mopo_env.datasets.minari import reader
from mopo_env.datasets.minari.reader import load_minari
from mopo_env.models.ensemble import load_ensemble

Mopo = Callable[..., tuple[int, str, str]]

OPTIONS = {"max_epochs": 1, "hidden_sizes": (4,), "weight_decay": (0.0, 0.0), "num_members": 2, "num_elites": 1}


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with an ensemble of a method and a copy of a Minari dataset."""
    monkeypatch.setattr(reader, "_WORTH_KEEPING", 3)
    write_three_episodes()
    load_minari(ID)
    save_transitions(halfcheetah_rows(), tmp_path / "data")
    assert ensemble_with(OPTIONS, tmp_path / "data", progress=False) is not None
    return cache_folder()


@pytest.mark.parametrize(
    ("own", "shared", "expected"),
    [
        ("/own", "/shared", "/own"),
        (None, "/shared", "/shared/mopo"),
        (None, None, "home/.cache/mopo"),
        ("", "", "home/.cache/mopo"),
        (None, "relative", "home/.cache/mopo"),
    ],
)
def test_its_place(
    own: str | None, shared: str | None, expected: str, mopo: Mopo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own variable, then the desktop's, of which a relative one does not count."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in (("MOPO_CACHE_PATH", own), ("XDG_CACHE_HOME", shared)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert mopo("cache", "path") == (0, f"{tmp_path / expected}\n", "")


def test_list_says_what_is_there(mopo: Mopo, filled: Path, tmp_path: Path) -> None:
    code, out, _ = mopo("cache", "list")
    assert code == 0
    ensemble, copy, total = out.splitlines()
    fingerprint = halfcheetah_rows().fingerprint
    assert ensemble.split()[0] == "ensembles"
    assert ensemble.endswith(f"fitted to the data {fingerprint[:12]}")
    assert copy.split()[0] == "minari"
    assert copy.endswith(f"copy of {tmp_path / 'minari' / ID / 'data' / 'main_data.hdf5'}")
    assert total.startswith("2 entries, ")
    assert str(filled) in total


def test_an_empty_cache(mopo: Mopo) -> None:
    assert mopo("cache", "list")[1].startswith("0 entries, 0.0 MB, in ")
    assert mopo("cache", "clear")[1].startswith("Removed 0 entries")
    assert not cache_folder().exists()


def test_clear_removes_what_is_ours(mopo: Mopo, filled: Path, tmp_path: Path) -> None:
    """And neither data, nor what somebody put there, nor what a link leads to."""
    save_transitions(halfcheetah_rows(), user_folder() / "halfcheetah-mixed")
    (filled / "ensembles" / "notes").mkdir()
    (filled / "ensembles" / "notes" / "mine.txt").write_text("mine")
    (filled / "minari" / ("0" * 16)).symlink_to(tmp_path / "data")
    (filled / "thesis.txt").write_text("mine")
    before = files(tmp_path / "data") | files(user_folder())
    assert mopo("cache", "clear")[1].startswith("Removed 2 entries")
    assert files(tmp_path / "data") | files(user_folder()) == before
    assert files(filled) == {"ensembles/notes/mine.txt": b"mine", "thesis.txt": b"mine"}


def test_clear_leaves_what_another_process_makes(mopo: Mopo, filled: Path) -> None:
    (entry,) = (filled / "ensembles").iterdir()
    with lock_file(entry.parent, entry.name, seconds=0):
        code, out, _ = mopo("cache", "clear")
    assert code == 0
    assert f"kept {entry}" in out
    load_ensemble(entry)


def test_a_cleared_entry_is_made_again(mopo: Mopo, filled: Path, tmp_path: Path) -> None:
    before = load_minari(ID)
    mopo("cache", "clear")
    assert load_minari(ID).fingerprint == before.fingerprint
    folder = ensemble_with(OPTIONS, tmp_path / "data", progress=False)
    assert folder is not None
    load_ensemble(folder)


def test_a_damaged_entry_is_made_again(mopo: Mopo, filled: Path, tmp_path: Path) -> None:
    """A cache must not be able to stop the work."""
    before = load_minari(ID)
    for path in (*filled.glob("*/*/*.json"), *filled.glob("*/*/*.safetensors")):
        path.write_bytes(b"damaged")
    assert mopo("cache", "list")[1].count("damaged; it is made again when needed") == 2
    assert load_minari(ID).fingerprint == before.fingerprint
    folder = ensemble_with(OPTIONS, tmp_path / "data", progress=False)
    assert folder is not None
    load_ensemble(folder)
    assert "it is made again" not in mopo("cache", "list")[1]
