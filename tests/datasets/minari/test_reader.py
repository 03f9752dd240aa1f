"""Minari datasets: written and read without loss, and without running what their files name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest
from gymnasium.spaces import Box
from helpers.minari_files import ID, write_minari

from mopo_env.datasets.minari.reader import has_minari_dataset, load_minari, save_minari
from mopo_env.errors import DatasetError
from mopo_env.toys import LinearGaussianSystem
from mopo_env.transitions import Episode, Transitions


def recorded(**options: Any) -> Transitions:
    """Three episodes of 5, 1 and 4 steps, of which the second terminates."""
    random = np.random.default_rng(0)
    episodes = [
        Episode(
            observations=random.normal(size=(steps + 1, 3)),
            actions=random.uniform(-2, 2, (steps, 1)),
            rewards=random.normal(size=steps),
            terminated=terminated,
        )
        for steps, terminated in ((5, False), (1, True), (4, False))
    ]
    return Transitions.from_episodes(
        episodes, action_space=Box(-2, 2, (1,)), observation_space=Box(-50, 50, (3,)), **options
    )


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
        transitions = recorded()
        assert not has_minari_dataset(ID)
        assert save_minari(transitions, ID) == root / "mopo" / "toy-v0"
        assert has_minari_dataset(ID)
        loaded = load_minari(ID)
        assert loaded.fingerprint == transitions.fingerprint
        assert loaded.terminations.nonzero()[0].tolist() == [5]
        assert loaded.truncations.nonzero()[0].tolist() == [4, 9]
        assert loaded.action_space == Box(-2, 2, (1,))

    def test_minari_itself_reads_what_we_wrote(self) -> None:
        """It is an exchange format: others must find whole episodes, spaces and flags in it."""
        transitions = recorded()
        save_minari(transitions, ID)
        dataset = minari.load_dataset(ID)
        assert (dataset.total_episodes, dataset.total_steps) == (3, 10)
        assert dataset.observation_space == transitions.observation_space
        assert dataset.action_space == transitions.action_space
        for theirs, ours in zip(dataset.iterate_episodes(), transitions.episodes(), strict=True):
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
        transitions = recorded()
        arrays = {name: getattr(transitions, name) for name in ("observations", "actions", "rewards")}
        open_ended = Transitions(
            **arrays,
            next_observations=transitions.next_observations,
            terminations=transitions.terminations,
            truncations=np.arange(10) == 4,
            action_space=transitions.action_space,
            observation_space=transitions.observation_space,
        )
        save_minari(open_ended, ID)
        assert load_minari(ID).fingerprint == transitions.fingerprint

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
        transitions = recorded()
        next_observations = transitions.next_observations.copy()
        next_observations[7] += 1
        broken = Transitions(
            observations=transitions.observations,
            actions=transitions.actions,
            rewards=transitions.rewards,
            next_observations=next_observations,
            terminations=transitions.terminations,
            truncations=transitions.truncations,
            action_space=transitions.action_space,
        )
        with pytest.raises(DatasetError) as caught:
            save_minari(broken, ID)
        for part in ("episode 2, step 1 (row 7)", "no whole episodes", "truncated", "save_transitions"):
            assert part in str(caught.value)
        assert files_below(root) == set()

    @pytest.mark.parametrize(
        "dataset_id",
        [
            "../x-v0",
            "a/../../x-v0",
            "/x-v0",
            "x",
            "mopo/x",
            "x-v",
            "x-v0/",
            "x.y-v0",
            "a b-v0",
            "",
            "x-v0\n",
            "q/x-v0",
            "mm//x-v0",
        ],
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


def test_default_folder_is_minaris(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the variable is not set, both sides must still mean the same folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MINARI_DATASETS_PATH")
    path = save_minari(recorded(), ID)
    assert path == tmp_path / "home" / ".minari" / "datasets" / ID
    assert has_minari_dataset(ID)
    assert load_minari(ID).fingerprint == recorded().fingerprint
