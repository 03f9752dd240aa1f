"""The arrays of Minari datasets: what Minari loads without a word is refused by episode and field, or understood."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers.damage import HOSTILE_REWARDS, cut_anywhere, errors_with_little_memory, replace_rewards
from helpers.minari_files import ID, write_three_episodes

from mopo_env import load_minari
from mopo_env.errors import DatasetError

Change = Callable[[h5py.Group], Any]


@pytest.fixture
def folder() -> Path:
    return write_three_episodes()


def put(name: str, value: Any, **options: Any) -> Change:
    """Replace an array of an episode."""

    def change(episode: h5py.Group) -> None:
        del episode[name]
        episode.create_dataset(name, data=value, **options)

    return change


def declare(name: str, shape: Any, dtype: Any = "f4", **options: Any) -> Change:
    """Replace an array of an episode by one without values."""

    def change(episode: h5py.Group) -> None:
        del episode[name]
        episode.create_dataset(name, shape=shape, dtype=dtype, **options)

    return change


def poke(name: str, index: Any, value: Any) -> Change:
    """Overwrite one element of an episode."""

    def change(episode: h5py.Group) -> None:
        episode[name][index] = value

    return change


def replace_episode(make: Callable[[h5py.File], Any]) -> Change:
    """Replace the whole episode."""

    def change(episode: h5py.Group) -> None:
        file = episode.file
        del file["episode_1"]
        make(file)

    return change


def empty(episode: h5py.Group) -> None:
    for name in ("actions", "rewards", "terminations", "truncations"):
        put(name, episode[name][:0])(episode)
    put("observations", episode["observations"][:1])(episode)


def damage(folder: Path, change: Change) -> None:
    """Change the second episode."""
    with h5py.File(folder / "main_data.hdf5", "a") as file:
        change(file["episode_1"])


def refusal(folder: Path, change: Change) -> str:
    damage(folder, change)
    with pytest.raises(DatasetError) as caught:
        load_minari(ID)
    return str(caught.value)


def test_untouched_loads(folder: Path) -> None:
    """So that the refusals below are due to the damage."""
    assert load_minari(ID).episode_ends.tolist() == [4, 9, 14]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (poke("observations", (2, 0), np.nan), ["observations: found nan", "episode 1, step 2"]),
        (poke("observations", (5, 1), np.nan), ["next_observations: found nan", "episode 1, step 4"]),
        (poke("rewards", 2, np.inf), ["rewards: found inf", "episode 1, step 2"]),
        (poke("rewards", 2, 1e300), ["rewards: found inf", "finite in float32"]),
        (poke("actions", (2, 0), np.nan), ["actions: found nan", "episode 1, step 2"]),
        (poke("actions", (2, 0), 9.0), ["actions: found [9.]", "episode 1, step 2", "outside"]),
        (put("rewards", np.zeros(4)), ["episode 1: rewards: found the shape (4,), expected (5,) for 5 actions"]),
        (put("rewards", np.zeros((5, 1))), ["episode 1: rewards: found the shape (5, 1), expected (5,)"]),
        (put("rewards", 0.0), ["episode 1: rewards: found the shape (), expected (5,)"]),
        (put("actions", np.zeros((4, 1), np.float32)), ["episode 1: observations: ", "(6, 3), expected (5, 3) for 4"]),
        (put("actions", np.zeros(5, np.float32)), ["episode 1: actions: found the shape (5,), expected (5, 1)"]),
        (put("actions", np.float32(0)), ["episode 1: actions: found the shape ()", "at least one action"]),
        (put("actions", np.zeros((5, 2), np.float32)), ["episode 1: actions: found the shape (5, 2)", "(5, 1)"]),
        (put("observations", np.zeros((5, 3), np.float32)), ["episode 1: observations: ", "(5, 3), expected (6, 3)"]),
        (put("observations", np.zeros((6, 4), np.float32)), ["episode 1: observations: ", "(6, 4), expected (6, 3)"]),
        (put("observations", np.full((6, 3), b"x")), ["episode 1: ", "observations: found the type |S1"]),
        (put("observations", np.zeros((6, 3), bool)), ["episode 1: ", "observations: found the type bool"]),
        (put("terminations", np.ones(5, bool)), ["episode 1: ", "ended at step 0 of 5"]),
        (poke("terminations", 1, True), ["episode 1: ", "ended at step 1 of 5"]),
        (poke("truncations", 3, True), ["episode 1: ", "ended at step 3 of 5"]),
        (put("terminations", np.zeros(4, bool)), ["episode 1: terminations: found the shape (4,), expected (5,)"]),
        (put("truncations", np.zeros(6, bool)), ["episode 1: truncations: found the shape (6,), expected (5,)"]),
        (put("terminations", np.array([0, 0, 0, 0, 2])), ["episode 1: terminations, step 4: found 2, expected bool"]),
        (put("truncations", np.zeros(5, np.float32)), ["episode 1: ", "truncations: found the type float32"]),
        (empty, ["episode 1: actions: found the shape (0, 1)", "at least one action"]),
        (lambda episode: episode.pop("rewards"), ["episode 1: ", "rewards: missing"]),
        (lambda episode: episode.parent.pop("episode_1"), ["found 2 episodes", "the metadata say 3"]),
        (lambda episode: episode.file.move("episode_1", "episode_7"), ["episode 1: ", "episode_1: missing"]),
        (lambda episode: episode.file.create_group("episode_3"), ["found 4 episodes", "the metadata say 3"]),
    ],
)
def test_damage(folder: Path, change: Change, parts: list[str]) -> None:
    message = refusal(folder, change)
    for part in (repr(ID), *parts):
        assert part in message


@pytest.mark.parametrize("name", HOSTILE_REWARDS)
def test_hostile_arrays_are_refused(folder: Path, name: str) -> None:
    """Minari's own reader follows most of these that lead to five numbers."""
    make, expected = HOSTILE_REWARDS[name]
    message = refusal(folder, partial(replace_rewards, make=make))
    assert f"{folder / 'main_data.hdf5'}: episode 1: rewards: " in message
    assert expected in message


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda file: file.__setitem__("episode_1", h5py.SoftLink("/episode_0")), "SoftLink to '/episode_0'"),
        (lambda file: file.__setitem__("episode_1", h5py.SoftLink("/episode_1")), "SoftLink to '/episode_1'"),
        (lambda file: file.__setitem__("episode_1", h5py.ExternalLink("x.h5", "/a")), "ExternalLink to 'x.h5:/a'"),
        (lambda file: file.create_dataset("episode_1", data=np.zeros(3)), "found an array, expected a group"),
    ],
)
def test_hostile_episodes_are_refused(folder: Path, make: Callable[[h5py.File], Any], expected: str) -> None:
    """The same one level up, where a link would bring in a whole episode."""
    message = refusal(folder, replace_episode(make))
    assert "episode 1: episode_1: " in message
    assert expected in message


def test_infos_are_never_looked_at(folder: Path) -> None:
    """They are not needed, may be large, and may be anything."""

    def change(episode: h5py.Group) -> None:
        infos = episode.create_group("infos")
        infos["loop"] = h5py.SoftLink("/episode_1/infos/loop")
        infos.create_dataset("huge", shape=(10**12,), dtype="f4", chunks=(1024,))

    expected = load_minari(ID).fingerprint
    damage(folder, change)
    assert load_minari(ID).fingerprint == expected


def test_integers_are_numbers(folder: Path) -> None:
    damage(folder, put("observations", np.ones((6, 3), np.int64)))
    damage(folder, put("rewards", np.arange(5, dtype=np.uint8)))
    loaded = load_minari(ID)
    np.testing.assert_array_equal(loaded.observations[5:10], np.ones((5, 3), np.float32), strict=True)
    assert loaded.rewards[5:10].tolist() == [0, 1, 2, 3, 4]


def test_however_it_is_stored(folder: Path) -> None:
    """Byte order, precision and packing are the writer's choice."""
    expected = load_minari(ID)
    observations = np.concatenate([expected.observations[5:10], expected.next_observations[9:10]])
    damage(folder, put("observations", observations.astype(">f8"), compression="gzip", shuffle=True, fletcher32=True))
    damage(folder, put("actions", expected.actions[5:10], compression="lzf"))
    damage(folder, put("terminations", np.array([0, 0, 0, 0, 1], np.int64)))
    assert load_minari(ID).fingerprint == expected.fingerprint


@pytest.mark.parametrize(
    ("terminated", "truncated", "expected"),
    [(True, True, (True, False)), (False, False, (False, True)), (False, True, (False, True))],
)
def test_flags_of_the_last_step(folder: Path, terminated: bool, truncated: bool, expected: tuple[bool, bool]) -> None:
    """A terminal state is terminal also at the time limit; an episode that just stops was cut off."""
    damage(folder, poke("terminations", 4, terminated))
    damage(folder, poke("truncations", 4, truncated))
    loaded = load_minari(ID)
    assert (loaded.terminations[9], loaded.truncations[9]) == expected


def test_truncated_anywhere(folder: Path) -> None:
    """A download that broke off must not be taken for a smaller dataset."""
    for _ in cut_anywhere(folder / "main_data.hdf5"):
        with pytest.raises(DatasetError, match=r"main_data\.hdf5: "):
            load_minari(ID)


def test_no_data_file(folder: Path) -> None:
    (folder / "main_data.hdf5").unlink()
    with pytest.raises(DatasetError, match=r"main_data\.hdf5: no such file"):
        load_minari(ID)


BOMBS: dict[str, Change] = {
    "shape": lambda episode: (
        declare("rewards", (10**9,), chunks=(1024,), compression="gzip")(episode),
        poke("rewards", slice(0, 10), 0)(episode),
    ),
    # The array is small; it is its one chunk that unpacks to 4 GB.
    "chunk": lambda episode: (
        declare("rewards", (5,), chunks=(10**9,), maxshape=(None,), compression="gzip")(episode),
        episode["rewards"].id.write_direct_chunk((0,), b"\x78\x9c" + bytes(100)),
    ),
    "unpacked": declare("rewards", (10**9,), chunks=(1024,)),
}


def test_one_stored_episode_under_many_names(folder: Path) -> None:
    """Each name is an honest episode of equal numbers, which pack well; together they would fill the memory."""
    steps, names = 100_000, 300
    with h5py.File(folder / "main_data.hdf5", "a") as file:
        for index in range(3):
            del file[f"episode_{index}"]
        episode = file.create_group("episode_0")
        for name, width in {"observations": 3, "actions": 1}.items():
            shape = (steps + (name == "observations"), width)
            episode.create_dataset(name, data=np.zeros(shape, np.float32), compression="gzip")
        for name, dtype in {"rewards": "f4", "terminations": "?", "truncations": "?"}.items():
            episode.create_dataset(name, data=np.zeros(steps, dtype), compression="gzip")
        for index in range(1, names):
            file[f"episode_{index}"] = episode
    path = folder / "metadata.json"
    sizes = {"total_episodes": names, "total_steps": steps}
    path.write_text(json.dumps({**json.loads(path.read_text()), **sizes}))
    with pytest.raises(DatasetError, match="episode 1: found 200,000 steps so far, but the metadata say 100,000"):
        load_minari(ID)
    path.write_text(json.dumps({**json.loads(path.read_text()), "total_steps": names * steps}))
    with pytest.raises(DatasetError, match=r"say 30,000,000 steps of 5 numbers.*exhaust memory"):
        load_minari(ID)


def test_bombs_are_refused_before_memory_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of some kilobytes that want 4 GB, under a limit of the address space as a user's job would have it."""
    roots = [tmp_path / name for name in (*BOMBS, "steps")]
    for root, change in zip(roots, [*BOMBS.values(), lambda episode: None], strict=True):
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
        damage(write_three_episodes(), change)
    metadata = roots[-1] / ID / "data" / "metadata.json"
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "total_steps": 10**9}))
    statement = f"os.environ['MINARI_DATASETS_PATH'] = argument; mopo_env.load_minari({ID!r})"
    errors = errors_with_little_memory(statement, *roots)
    assert len(errors) == len(roots)
    for error in errors:
        assert "made to exhaust memory" in error
