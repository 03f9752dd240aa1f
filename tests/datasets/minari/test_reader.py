"""Minari datasets: written and read without loss, and without running what their files name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from gymnasium.spaces import Box
from helpers.minari_files import ID, write_minari, write_three_episodes
from helpers.transitions import transitions

from mopo_env.datasets.folders import cache_folder
from mopo_env.datasets.minari import reader
from mopo_env.datasets.minari.reader import has_minari_dataset, load_minari, save_minari
from mopo_env.errors import DatasetError
from mopo_env.toys import LinearGaussianSystem
from mopo_env.transitions import Transitions


def recorded(**options: Any) -> Transitions:
    """Three episodes of 5, 1 and 4 steps, of which the second terminates."""
    content: dict[str, Any] = {
        "terminations": np.arange(10) == 5,
        "truncations": np.isin(np.arange(10), (4, 9)),
        "action_space": Box(-2, 2, (1,)),
        "observation_space": Box(-50, 50, (2,)),
    }
    return transitions(**{**content, **options})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "minari"


@pytest.fixture
def no_env_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `gymnasium.make` fail, wherever it was imported to."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("an environment was made")

    monkeypatch.setattr(gym, "make", refuse)
    monkeypatch.setattr("gymnasium.envs.registration.make", refuse)


def files_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")} if root.exists() else set()


class TestRoundTrip:
    """Ours through Minari and back."""

    def test_content(self, root: Path) -> None:
        """The fingerprint covers arrays, flags and spaces."""
        expected = recorded()
        assert not has_minari_dataset(ID)
        assert save_minari(expected, ID) == root / "mopo" / "toy-v0"
        assert has_minari_dataset(ID)
        loaded = load_minari(ID)
        assert loaded.fingerprint == expected.fingerprint
        assert loaded.terminations.nonzero()[0].tolist() == [5]
        assert loaded.truncations.nonzero()[0].tolist() == [4, 9]
        assert loaded.action_space == Box(-2, 2, (1,))

    def test_minari_itself_reads_what_we_wrote(self) -> None:
        """It is an exchange format: others must find whole episodes, spaces and flags in it."""
        expected = recorded()
        save_minari(expected, ID)
        dataset = minari.load_dataset(ID)
        assert (dataset.total_episodes, dataset.total_steps) == (3, 10)
        assert dataset.observation_space == expected.observation_space
        assert dataset.action_space == expected.action_space
        for theirs, ours in zip(dataset.iterate_episodes(), expected.episodes(), strict=True):
            np.testing.assert_array_equal(theirs.observations, ours.observations, strict=True)
            np.testing.assert_array_equal(theirs.actions, ours.actions, strict=True)
            np.testing.assert_array_equal(theirs.rewards, ours.rewards)
            assert theirs.terminations[-1] == ours.terminated != theirs.truncations[-1]
            assert not (theirs.terminations | theirs.truncations)[:-1].any()

    def test_we_read_what_minari_wrote(self) -> None:
        """Minari's own data are float64, as MuJoCo's observations are."""
        random = np.random.default_rng(1)
        observations, actions = random.normal(size=(4, 2)), random.uniform(-1, 1, (3, 1))
        write_minari(
            [{"observations": observations, "actions": actions, "rewards": np.arange(3.0)}],
            observation_space=Box(-np.inf, np.inf, (2,), np.float64),
            action_space=Box(-1, 1, (1,), np.float64),
        )
        loaded = load_minari(ID)
        np.testing.assert_array_equal(loaded.observations, observations[:-1].astype(np.float32), strict=True)
        np.testing.assert_array_equal(loaded.next_observations, observations[1:].astype(np.float32), strict=True)
        np.testing.assert_array_equal(loaded.actions, actions.astype(np.float32), strict=True)
        assert loaded.rewards.tolist() == [0, 1, 2]
        assert loaded.observation_space.dtype == np.float32

    def test_unfinished_last_episode_counts_as_cut_off(self) -> None:
        save_minari(recorded(truncations=np.arange(10) == 4), ID)
        assert load_minari(ID).fingerprint == recorded().fingerprint

    def test_metadata(self) -> None:
        save_minari(recorded(metadata={"recipe": "mixed", "note": "x"}), ID)
        assert load_minari(ID).metadata == {
            "name": ID,
            "minari_version": minari.__version__,
            "real_env_id": None,
        }
        raw = minari.load_dataset(ID).storage.metadata
        assert raw["algorithm_name"] == "mixed"
        assert json.loads(raw["description"]) == {"recipe": "mixed", "note": "x"}

    @pytest.mark.usefixtures("no_env_is_made")
    @pytest.mark.parametrize("argument", [True, False])
    def test_env_is_recorded_and_never_made(self, argument: bool) -> None:
        """Naming the source must not need MuJoCo, nor run anything, on either side."""
        if argument:
            save_minari(recorded(), ID, env_id="HalfCheetah-v5")
        else:
            save_minari(recorded(metadata={"real_env_id": "HalfCheetah-v5"}), ID)
        assert load_minari(ID).metadata["real_env_id"] == "HalfCheetah-v5"
        assert minari.load_dataset(ID).env_spec == gym.spec("HalfCheetah-v5")

    def test_argument_comes_before_metadata(self) -> None:
        save_minari(recorded(metadata={"real_env_id": "HalfCheetah-v5"}), ID, env_id="Hopper-v5")
        assert load_minari(ID).metadata["real_env_id"] == "Hopper-v5"


class TestSaveRefusals:
    """What Minari cannot hold is refused before anything is written."""

    def test_existing_id(self, root: Path) -> None:
        save_minari(recorded(), ID)
        before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        with pytest.raises(DatasetError) as caught:
            save_minari(LinearGaussianSystem().transitions(), ID)
        for part in (repr(ID), "exists already", "higher version", f"`minari delete {ID}`"):
            assert part in str(caught.value)
        assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before

    def test_id_of_a_half_written_dataset(self, root: Path) -> None:
        (root / ID / "data").mkdir(parents=True)
        with pytest.raises(DatasetError, match="exists already"):
            save_minari(recorded(), ID)

    def test_rows_that_are_no_whole_episodes(self, root: Path) -> None:
        """Minari stores one observation for two rows; shuffled rows would come back as other transitions."""
        next_observations = recorded().next_observations.copy()
        next_observations[7] += 1
        with pytest.raises(DatasetError) as caught:
            save_minari(recorded(next_observations=next_observations), ID)
        for part in ("episode 2, step 1 (row 7)", "not whole episodes", "truncated", "save_transitions"):
            assert part in str(caught.value)
        assert files_below(root) == set()

    @pytest.mark.parametrize(
        "dataset_id", ["../x-v0", "a/../../x-v0", "/x-v0", "x", "mopo/x", "x-v0/", "x.y-v0", "", "x-v0\n", "q/x-v0"]
    )
    def test_malformed_ids(self, root: Path, tmp_path: Path, dataset_id: str) -> None:
        """Above all those that would leave the folder; and those that Minari refuses only after making it."""
        before = files_below(tmp_path)
        for action in (lambda: save_minari(recorded(), dataset_id), lambda: load_minari(dataset_id)):
            with pytest.raises(DatasetError, match="malformed; expected"):
                action()
        assert not has_minari_dataset(dataset_id)
        assert files_below(tmp_path) == before

    @pytest.mark.parametrize("dataset_id", ["x-v0", "x_1-v12", "mm/x-v0", "mopo/halfcheetah/mixed-v0"])
    def test_wellformed_ids(self, dataset_id: str) -> None:
        save_minari(recorded(), dataset_id)
        assert load_minari(dataset_id).fingerprint == recorded().fingerprint


def test_missing_dataset() -> None:
    with pytest.raises(DatasetError) as caught:
        load_minari("mopo/nothing-v0")
    for part in ("'mopo/nothing-v0'", "not found in", "`minari list local`", "`minari download mopo/nothing-v0`"):
        assert part in str(caught.value)


def test_a_single_step() -> None:
    """A dataset that Minari is content with, and that nothing can be held out of."""
    write_minari(
        [{"observations": np.zeros((2, 1)), "actions": np.zeros((1, 1)), "rewards": np.zeros(1)}],
        observation_space=Box(-1, 1, (1,), np.float64),
        action_space=Box(-1, 1, (1,), np.float64),
    )
    with pytest.raises(DatasetError, match=f"{ID}.*found 1 transition"):
        load_minari(ID)


def test_default_folder_is_minaris(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the variable is not set, both sides must still mean the same folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MINARI_DATASETS_PATH")
    path = save_minari(recorded(), ID)
    assert path == tmp_path / "home" / ".minari" / "datasets" / ID
    assert has_minari_dataset(ID)
    assert load_minari(ID).fingerprint == recorded().fingerprint


class TestFlatCopy:
    """Datasets of many episodes are read once; the copy never hides a change."""

    @pytest.fixture
    def folder(self, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(reader, "_WORTH_KEEPING", 3)
        return write_three_episodes()

    def test_the_copy_equals_the_source(self, folder: Path) -> None:
        first, second = load_minari(ID), load_minari(ID)
        assert len(list((cache_folder() / "minari").glob("*/dataset.json"))) == 1
        assert first.fingerprint == second.fingerprint
        assert first.metadata == second.metadata

    def test_few_episodes_are_not_kept(self) -> None:
        """They are read in no time, and a copy of everything would fill the disk."""
        write_three_episodes()
        load_minari(ID)
        assert not cache_folder().exists()

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
