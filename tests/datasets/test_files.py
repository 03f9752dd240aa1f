"""Datasets in our own files, and copies of slow ones: nothing is lost, and nothing damaged or outdated is read."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from helpers.transitions import ARRAYS, arrays_of, transitions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mopo_env._utils.store import read_artifact, write_artifact
from mopo_env.datasets import files
from mopo_env.datasets.files import load_transitions, read_through, save_transitions
from mopo_env.errors import DatasetError, StoreError
from mopo_env.toys import LinearGaussianSystem
from mopo_env.transitions import Transitions


def assert_same(found: Transitions, expected: Transitions) -> None:
    """Compare bits, so that −0.0 is not taken for 0.0."""
    for name in ARRAYS:
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert ours.tobytes() == theirs.tobytes(), name
    assert found.observation_space == expected.observation_space
    assert found.action_space == expected.action_space
    assert found.fingerprint == expected.fingerprint


@pytest.fixture
def recorded() -> Transitions:
    return LinearGaussianSystem().transitions(num_episodes=5, num_steps=20)


class TestRoundTrip:
    """Only broken successions of observations are stored twice; every kind of data must survive that."""

    def test_contiguous(self, recorded: Transitions, tmp_path: Path) -> None:
        save_transitions(recorded, tmp_path)
        assert_same(load_transitions(tmp_path), recorded)

    def test_contiguous_data_store_no_observation_twice(self, recorded: Transitions, tmp_path: Path) -> None:
        """This is the point of the format; were the equality test wrong, the file would merely be large."""
        save_transitions(recorded, tmp_path)
        tensors, _ = read_artifact(tmp_path, "dataset")
        assert tensors["breaks"].tolist() == recorded.episode_ends.tolist()
        assert len(tensors["break_next_observations"]) == 5

    def test_shuffled(self, recorded: Transitions, tmp_path: Path) -> None:
        order = np.random.default_rng(0).permutation(len(recorded))
        shuffled = Transitions(**{name: array[order] for name, array in arrays_of(recorded).items()})
        save_transitions(shuffled, tmp_path)
        assert_same(load_transitions(tmp_path), shuffled)

    def test_single_step_episodes(self, recorded: Transitions, tmp_path: Path) -> None:
        single = replace(recorded, terminations=np.ones(len(recorded)))
        save_transitions(single, tmp_path)
        assert_same(load_transitions(tmp_path), single)

    def test_succession_across_an_episodes_end(self, tmp_path: Path) -> None:
        """Flags do not say where observations follow one another: a continuing system may be cut at will."""
        data = transitions(4, truncations=[0, 1, 1, 0])
        save_transitions(data, tmp_path)
        assert_same(load_transitions(tmp_path), data)

    def test_succession_in_one_column_only(self, tmp_path: Path) -> None:
        """A clock that ticks alike in all episodes must not make rows look like successors."""
        data = transitions(observations=[[0, 5], [1, 6], [2, 7]], next_observations=[[1, 50], [2, 60], [3, 70]])
        save_transitions(data, tmp_path)
        assert_same(load_transitions(tmp_path), data)

    def test_negative_zero(self, tmp_path: Path) -> None:
        """−0.0 == 0.0: taking the following row's observation for the next one would change the fingerprint."""
        data = transitions(observations=[[0.0], [0.0], [-0.0]], next_observations=[[-0.0], [0.0], [-0.0]])
        save_transitions(data, tmp_path)
        assert_same(load_transitions(tmp_path), data)

    # Each example overwrites the one before, which tests that too.
    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        states=st.lists(st.sampled_from([0.0, -0.0, 1.0, 1e-45, -3e38]), min_size=4, max_size=24),
        flags=st.lists(st.sampled_from([0, 1, 2, 3]), min_size=2, max_size=12),
    )
    def test_any_data(self, tmp_path: Path, states: list[float], flags: list[int]) -> None:
        """Few values, so that observations follow one another by chance, and every combination of flags."""
        rows = min(len(states) // 2, len(flags))
        ends = np.array(flags[:rows])
        data = transitions(
            observations=np.array(states[:rows])[:, None],
            rewards=np.array(states[:rows]),
            next_observations=np.array(states[1 : rows + 1])[:, None],
            terminations=ends & 1,
            truncations=ends >> 1,
        )
        save_transitions(data, tmp_path)
        assert_same(load_transitions(tmp_path), data)

    def test_spaces(self, recorded: Transitions, tmp_path: Path) -> None:
        space = Box(np.array([-np.inf, -9], np.float32), np.array([9, np.inf], np.float32))
        data = replace(recorded, observation_space=space, action_space=Box(-2, 1, (1,)))
        save_transitions(data, tmp_path)
        assert_same(load_transitions(tmp_path), data)

    def test_metadata(self, recorded: Transitions, tmp_path: Path) -> None:
        path = save_transitions(recorded, tmp_path / "new" / "folder")
        assert path == tmp_path / "new" / "folder" / "dataset.json"
        loaded = load_transitions(path.parent)
        assert loaded.metadata == {
            "name": "linear-gaussian",
            "rows": 100,
            "episodes": 5,
            "fingerprint": recorded.fingerprint,
        }

    def test_what_is_loaded_is_held_once(self, tmp_path: Path) -> None:
        """Large datasets: the arrays of a loaded dataset are the only copy of them that was made for it."""
        save_transitions(transitions(200_000, widths=(17, 6)), tmp_path)
        tracemalloc.start()
        loaded = load_transitions(tmp_path)
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        size = sum(getattr(loaded, name).nbytes for name in ARRAYS)
        assert held < 1.1 * size
        # While the file is read: its bytes, and the arrays made of them, next observations not included yet.
        assert peak < 1.4 * size

    def test_copy_of_a_copy(self, recorded: Transitions, tmp_path: Path) -> None:
        save_transitions(recorded, tmp_path / "a")
        save_transitions(load_transitions(tmp_path / "a"), tmp_path / "b")
        for first, second in zip(sorted((tmp_path / "a").iterdir()), sorted((tmp_path / "b").iterdir()), strict=True):
            assert first.name == second.name
            assert first.read_bytes() == second.read_bytes()


class TestDamage:
    """Whatever is wrong with the files, one of our two errors says so."""

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("breaks", np.array([10**6])),
            ("breaks", np.array([0.5])),
            ("break_next_observations", np.zeros((3, 2), np.float32)),
            ("break_next_observations", np.zeros((5, 7), np.float32)),
            ("observations", np.zeros((99, 2), np.float32)),
            ("observations", np.zeros((0, 2), np.float32)),
            ("observations", np.array(1.0, np.float32)),
            ("observations", np.full((100, 2), np.nan, np.float32)),
            ("actions", np.full((100, 1), 5, np.float32)),
            ("terminations", np.full(100, 2, np.int64)),
            ("observation_bounds", np.zeros((1, 2), np.float32)),
            ("observation_bounds", np.zeros((2, 9), np.float32)),
            ("observation_bounds", np.zeros((5, 2), np.float32)),
            ("action_bounds", np.array(1.0, np.float32)),
            ("action_bounds", np.array([[np.nan], [np.nan]], np.float32)),
            ("action_bounds", np.array([[1], [-1]], np.float32)),
        ],
    )
    def test_tensors_that_do_not_fit_together(
        self, recorded: Transitions, tmp_path: Path, name: str, value: np.ndarray
    ) -> None:
        """The checksum holds here: such a file was made by another program, or with intent."""
        save_transitions(recorded, tmp_path)
        tensors, metadata = read_artifact(tmp_path, "dataset")
        write_artifact(tmp_path, "dataset", {**tensors, name: value}, metadata)
        with pytest.raises((StoreError, DatasetError)):
            load_transitions(tmp_path)

    @pytest.mark.parametrize("name", [*ARRAYS[:3], "breaks", "observation_bounds"])
    def test_tensor_left_out_is_named(self, recorded: Transitions, tmp_path: Path, name: str) -> None:
        save_transitions(recorded, tmp_path)
        tensors, metadata = read_artifact(tmp_path, "dataset")
        tensors.pop(name)
        write_artifact(tmp_path, "dataset", tensors, metadata)
        with pytest.raises(StoreError, match=name) as caught:
            load_transitions(tmp_path)
        assert str(tmp_path) in str(caught.value)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_spliced_files_of_our_own(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes deleted, doubled or overwritten in the manifest: the same data, or an error of ours."""
    transitions = LinearGaussianSystem().transitions(num_episodes=2, num_steps=5)
    path = save_transitions(transitions, tmp_path)
    body = path.read_bytes()
    start = data.draw(st.integers(0, len(body) - 1))
    end = data.draw(st.integers(start, min(len(body), start + 40)))
    piece = data.draw(st.one_of(st.just(b""), st.just(2 * body[start:end]), st.binary(max_size=20)))
    path.write_bytes(body[:start] + piece + body[end:])
    try:
        loaded = load_transitions(tmp_path)
    except (StoreError, DatasetError):
        return
    assert loaded.fingerprint == transitions.fingerprint


# ---------------------------------------------------------------- the flat copy of a slow dataset

STAMP = {"size": 1}


def system_data(seed: int = 0) -> Transitions:
    return LinearGaussianSystem().transitions(num_episodes=2, num_steps=5, seed=seed)


class Source:
    """Counts how often it is read."""

    def __init__(self, seed: int = 0) -> None:
        self.times, self.seed = 0, seed

    def __call__(self) -> Transitions:
        self.times += 1
        return system_data(self.seed)


def test_the_source_is_read_once(tmp_path: Path) -> None:
    source = Source()
    for _ in range(3):
        found = read_through(tmp_path, STAMP, source)
        assert found.fingerprint == system_data().fingerprint
        assert found.metadata == system_data().metadata
    assert source.times == 1


def test_another_stamp_means_another_state_of_the_source(tmp_path: Path) -> None:
    read_through(tmp_path, STAMP, Source())
    assert read_through(tmp_path, {"size": 2}, Source(seed=1)).fingerprint == system_data(1).fingerprint
    # Each has a copy, so that two processes that see different states do not take turns at one.
    assert read_through(tmp_path, {"size": 2}, Source(seed=2)).fingerprint == system_data(1).fingerprint
    assert read_through(tmp_path, STAMP, Source(seed=2)).fingerprint == system_data().fingerprint
    assert len(list(tmp_path.iterdir())) == 2


def test_another_reader_reads_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug that is repaired must not live on in copies."""
    read_through(tmp_path, STAMP, Source())
    monkeypatch.setattr("mopo_env.datasets.files._READER", 99)
    assert read_through(tmp_path, STAMP, Source(seed=1)).fingerprint == system_data(1).fingerprint


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [(".json", "truncate"), (".json", "remove"), (".safetensors", "truncate"), (".safetensors", "flip")],
)
def test_a_damaged_copy_is_made_again(tmp_path: Path, suffix: str, damage: str) -> None:
    read_through(tmp_path, STAMP, Source())
    (path,) = tmp_path.glob(f"*/*{suffix}")
    copy = path.parent
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    {
        "flip": lambda: path.write_bytes(body),
        "truncate": lambda: path.write_bytes(body[: len(body) // 2]),
        "remove": path.unlink,
    }[damage]()
    assert read_through(tmp_path, STAMP, Source(seed=1)).fingerprint == system_data(1).fingerprint
    assert load_transitions(copy).fingerprint == system_data(1).fingerprint


@pytest.mark.parametrize("metadata", [{}, {"metadata": 5}, {"stamp": STAMP, "metadata": {}}])
def test_another_dataset_in_the_copys_place_is_replaced(tmp_path: Path, metadata: dict[str, Any]) -> None:
    """Also one of the right stamp, as an older version may have left it."""
    metadata = {"stamp": {**STAMP, "reader": files._READER}, **metadata}
    read_through(tmp_path, STAMP, Source())
    (copy,) = tmp_path.iterdir()
    save_transitions(replace(system_data(5), metadata=metadata), copy)
    assert read_through(tmp_path, STAMP, Source()).fingerprint == system_data().fingerprint
    assert load_transitions(copy).fingerprint == system_data().fingerprint


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    source = Source()
    for _ in range(2):
        assert read_through(tmp_path / "file" / "copy", STAMP, source).fingerprint == system_data().fingerprint
    assert source.times == 2


def test_errors_of_the_source_are_its_own(tmp_path: Path) -> None:
    def broken() -> Transitions:
        raise DatasetError("rewards: found nan")

    with pytest.raises(DatasetError, match="found nan"):
        read_through(tmp_path, STAMP, broken)
    assert list(tmp_path.iterdir()) == []
