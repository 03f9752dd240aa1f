"""The flat copy of a slow dataset: never other data than the source's, whatever happened to either."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers.minari_files import ID, write_three_episodes

from mopo_env import Transitions, load_minari, load_transitions, save_transitions
from mopo_env.datasets import files as cache
from mopo_env.datasets.files import read_through
from mopo_env.datasets.folders import user_folder
from mopo_env.datasets.minari import reader as minari
from mopo_env.errors import DatasetError
from mopo_env.toys import LinearGaussianSystem

STAMP = {"size": 1}


def data(seed: int = 0) -> Transitions:
    return LinearGaussianSystem().transitions(num_episodes=2, num_steps=5, seed=seed)


class Source:
    """Counts how often it is read."""

    def __init__(self, seed: int = 0) -> None:
        self.times, self.seed = 0, seed

    def __call__(self) -> Transitions:
        self.times += 1
        return data(self.seed)


def test_the_source_is_read_once(tmp_path: Path) -> None:
    source = Source()
    for _ in range(3):
        found = read_through(tmp_path, STAMP, source)
        assert found.fingerprint == data().fingerprint
        assert found.metadata == data().metadata
    assert source.times == 1


def test_another_stamp_means_another_state_of_the_source(tmp_path: Path) -> None:
    read_through(tmp_path, STAMP, Source())
    assert read_through(tmp_path, {"size": 2}, Source(seed=1)).fingerprint == data(1).fingerprint
    # The copy follows: there is one, and it is the new one.
    assert read_through(tmp_path, {"size": 2}, Source(seed=2)).fingerprint == data(1).fingerprint
    assert len(list(tmp_path.iterdir())) == 2


def test_another_reader_reads_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug that is repaired must not live on in copies."""
    read_through(tmp_path, STAMP, Source())
    monkeypatch.setattr("mopo_env.datasets.files._READER", 99)
    assert read_through(tmp_path, STAMP, Source(seed=1)).fingerprint == data(1).fingerprint


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [(".json", "truncate"), (".json", "remove"), (".safetensors", "truncate"), (".safetensors", "flip")],
)
def test_a_damaged_copy_is_made_again(tmp_path: Path, suffix: str, damage: str) -> None:
    read_through(tmp_path, STAMP, Source())
    (path,) = tmp_path.glob(f"*{suffix}")
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    {
        "flip": lambda: path.write_bytes(body),
        "truncate": lambda: path.write_bytes(body[: len(body) // 2]),
        "remove": path.unlink,
    }[damage]()
    assert read_through(tmp_path, STAMP, Source(seed=1)).fingerprint == data(1).fingerprint
    assert load_transitions(tmp_path).fingerprint == data(1).fingerprint


@pytest.mark.parametrize("metadata", [{}, {"metadata": 5}, {"stamp": STAMP, "metadata": {}}])
def test_another_dataset_in_the_copys_place_is_replaced(tmp_path: Path, metadata: dict[str, Any]) -> None:
    """Also one of the right stamp, as an older version may have left it."""
    metadata = {"stamp": {**STAMP, "reader": cache._READER}, **metadata}
    save_transitions(dataclasses.replace(data(5), metadata=metadata), tmp_path)
    assert read_through(tmp_path, STAMP, Source()).fingerprint == data().fingerprint
    assert load_transitions(tmp_path).fingerprint == data().fingerprint


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    source = Source()
    for _ in range(2):
        assert read_through(tmp_path / "file" / "copy", STAMP, source).fingerprint == data().fingerprint
    assert source.times == 2


def test_errors_of_the_source_are_its_own(tmp_path: Path) -> None:
    def broken() -> Transitions:
        raise DatasetError("rewards: found nan")

    with pytest.raises(DatasetError, match="found nan"):
        read_through(tmp_path, STAMP, broken)
    assert list(tmp_path.iterdir()) == []


class TestOfMinari:
    """As `load_minari` uses it."""

    @pytest.fixture
    def folder(self, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(minari, "_WORTH_KEEPING", 3)
        return write_three_episodes()

    def test_the_copy_equals_the_source(self, folder: Path) -> None:
        first, second = load_minari(ID), load_minari(ID)
        assert (user_folder() / "minari-cache" / ID / "dataset.json").is_file()
        assert first.fingerprint == second.fingerprint
        assert first.metadata == second.metadata

    def test_few_episodes_are_not_kept(self) -> None:
        """They are read in no time, and a copy of everything would fill the disk."""
        write_three_episodes()
        load_minari(ID)
        assert not user_folder().exists()

    def test_the_copy_is_what_is_read(self, folder: Path) -> None:
        """Or the tests below would pass without any copy: same size, same time, other content."""
        path = folder / "main_data.hdf5"
        expected, state = load_minari(ID).fingerprint, path.stat()
        self.change_a_reward(path)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert path.stat().st_size == state.st_size
        assert load_minari(ID).fingerprint == expected

    def test_a_changed_file_is_read_again(self, folder: Path) -> None:
        before = load_minari(ID)
        self.change_a_reward(folder / "main_data.hdf5")
        changed = load_minari(ID)
        assert (changed.rewards != before.rewards).nonzero()[0].tolist() == [7]
        assert load_minari(ID).fingerprint == changed.fingerprint

    def test_changed_metadata_are_read_again(self, folder: Path) -> None:
        load_minari(ID)
        path = folder / "metadata.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "total_steps": 16}))
        with pytest.raises(DatasetError, match="say 16"):
            load_minari(ID)

    def test_a_dataset_of_the_same_id_elsewhere_is_another(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = load_minari(ID)
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "elsewhere"))
        other = write_three_episodes() / "main_data.hdf5"
        self.change_a_reward(other)
        os.utime(other, ns=(0, (folder / "main_data.hdf5").stat().st_mtime_ns))
        assert load_minari(ID).fingerprint != first.fingerprint

    @staticmethod
    def change_a_reward(path: Path) -> None:
        with h5py.File(path, "a") as file:
            file["episode_1/rewards"][2] = np.float64(5)
