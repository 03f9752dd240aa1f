"""metadata.json is what an attacker edits first: it is read as data, checked by field, and runs nothing."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from helpers.minari_files import ID, write_minari, write_three_episodes

from mopo_env import load_minari
from mopo_env.datasets.minari.metadata import read_minari_metadata
from mopo_env.errors import DatasetError


@pytest.fixture
def folder() -> Path:
    return write_three_episodes()


def edit(folder: Path, **changes: Any) -> None:
    """Change fields of the metadata; `...` removes one."""
    path = folder / "metadata.json"
    metadata = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in metadata.items() if value is not ...}))


def box(**changes: Any) -> str:
    """Describe a box as Minari does."""
    content = {"type": "Box", "dtype": "float32", "shape": [3], "low": [-1] * 3, "high": [1] * 3}
    return json.dumps({**content, **changes})


def test_what_is_read(folder: Path) -> None:
    described = read_minari_metadata(folder / "metadata.json")
    assert (described.total_episodes, described.total_steps, described.real_env_id) == (3, 15, None)
    assert described.observation_space == Box(-1, 1, (3,))
    assert described.action_space == Box(-1, 1, (1,))


def test_unbounded_spaces(folder: Path) -> None:
    """Infinity is no JSON, but Minari writes it, and MuJoCo's observations have no other bounds."""
    edit(folder, observation_space=box(low=[float("-inf")] * 3, high=[float("inf")] * 3, dtype="float64"))
    assert load_minari(ID).observation_space == Box(-float("inf"), float("inf"), (3,))


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"total_episodes": 2}, ["found 3 episodes", "the metadata say 2"]),
        ({"total_episodes": 10**15}, ["found 3 episodes", "say 1,000,000,000,000,000"]),
        ({"total_episodes": 0}, ["total_episodes: found 0", "no episodes"]),
        ({"total_episodes": "x"}, ["total_episodes: found 'x', expected an integer"]),
        ({"total_episodes": True}, ["total_episodes: found 'True'"]),
        ({"total_episodes": ...}, ["total_episodes: missing"]),
        ({"total_steps": 999}, ["3 episodes hold 15 steps", "say 999"]),
        ({"total_steps": 14}, ["episode 2: found 15 steps so far", "say 14"]),
        ({"total_steps": 10**15}, ["say 1,000,000,000,000,000 steps", "cannot hold"]),
        ({"total_steps": 15.0}, ["total_steps: found '15.0'"]),
        ({"data_format": "nope"}, ["data_format: found 'nope'", "expected 'hdf5'", "from_episodes"]),
        ({"minari_version": "99.0"}, ["minari_version: found '99.0'", "0.x", "Upgrade mopo-env"]),
        ({"minari_version": 1}, ["minari_version: found '1', expected a string"]),
        ({"observation_space": {}}, ["observation_space: found '{}', expected a string"]),
        ({"observation_space": "["}, ["cannot be read", "JSONDecodeError"]),
        ({"observation_space": "[" * 100_000}, ["cannot be read", "RecursionError"]),
        ({"observation_space": "[]"}, ["observation_space: cannot be read", "expected an object, found a list"]),
        ({"observation_space": box(low=["@"] * 3).replace('"@"', "1e999")}, ["observation_space", "1e999 is beyond"]),
        ({"observation_space": box(low=[float("nan")] * 3)}, ["observation_space: cannot be read", "NaN is not JSON"]),
        ({"observation_space": box()[:-1] + ', "type": "Dict"}'}, ["observation_space", "'type' occurs twice"]),
        ({"ref_max_score": float("inf")}, ["Infinity is not JSON"]),
        ({"total_steps": 10**200}, ["cannot be read", "is too long"]),
        ({"env_spec": '{"id": "\\u001b[2J"}'}, ["env_spec: cannot be read", "control characters"]),
        ({"observation_space": '{"type": "Dict", "subspaces": {}}'}, ["observation_space: found 'Dict'"]),
        ({"observation_space": box(shape=[4])}, ["observation_space: found the shape [4]", "as many bounds"]),
        ({"observation_space": box(shape=[10**12], low=-1, high=1)}, ["found the shape [1000000000000]"]),
        ({"observation_space": box(shape=[3, 1])}, ["found the shape [3, 1]", "one width"]),
        ({"observation_space": box(shape=[0], low=[], high=[])}, ["found the shape [0]"]),
        ({"observation_space": box(low=[1] * 3, high=[-1] * 3)}, ["observation_space: found invalid bounds"]),
        ({"observation_space": box(low=["x"] * 3)}, ["observation_space: found invalid bounds"]),
        (
            {"observation_space": box(shape=[4], low=[-1] * 4, high=[1] * 4)},
            ["observations: found the shape (6, 3), expected (6, 4)"],
        ),
        (
            {"action_space": '{"type": "MultiBinary", "n": [2]}'},
            ["action_space: found 'MultiBinary'", "one-dimensional", "Discrete"],
        ),
        (
            {"action_space": '{"type": "Discrete", "dtype": "int64", "start": 0, "n": 1000000000}'},
            ["action_space: found Discrete(1000000000), expected at most 10,000"],
        ),
        (
            {"action_space": '{"type": "Discrete", "dtype": "int64", "start": 0, "n": 2}'},
            ["actions: found the type float32, expected integers"],
        ),
        ({"env_spec": 5}, ["env_spec: found '5', expected a string"]),
        ({"env_spec": "5"}, ["env_spec: cannot be read", "found a int"]),
        ({"env_spec": '{"id": 5}'}, ["env_spec: found no id"]),
        ({"env_spec": "{"}, ["cannot be read", "JSONDecodeError"]),
    ],
)
def test_damage(folder: Path, changes: dict[str, Any], parts: list[str]) -> None:
    edit(folder, **changes)
    with pytest.raises(DatasetError) as caught:
        load_minari(ID)
    for part in (repr(ID), str(folder), *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"null", b"\xff", b"[" * 100_000, b" " * 4_000_001])
def test_no_metadata_at_all(folder: Path, body: bytes) -> None:
    (folder / "metadata.json").write_bytes(body)
    with pytest.raises(DatasetError, match=r"metadata\.json: (cannot be read|found)"):
        load_minari(ID)


def test_a_name_that_occurs_twice(folder: Path) -> None:
    """Which of the two counts, and whether the reader checked that one, would depend on the parser."""
    path = folder / "metadata.json"
    path.write_text(path.read_text().replace("{", '{"total_steps": 1, ', 1))
    with pytest.raises(DatasetError, match=r"metadata\.json: cannot be read: ValueError: the name 'total_st"):
        load_minari(ID)


def test_a_number_beyond_the_range_of_a_float(folder: Path) -> None:
    path = folder / "metadata.json"
    path.write_text(path.read_text().replace("{", '{"dataset_size": 1e999, ', 1))
    with pytest.raises(DatasetError, match="1e999 is beyond the range"):
        load_minari(ID)


def test_a_description_may_hold_anything(folder: Path) -> None:
    edit(folder, description="line\r\nline \x1b[0m")
    assert len(load_minari(ID)) == 15


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", Path("/dev/null")):
        with pytest.raises(DatasetError, match="found no file"):
            read_minari_metadata(path)


@pytest.mark.parametrize("data_format", ["arrow", "parquet"])
def test_other_formats_are_named_and_the_way_out_works(data_format: str) -> None:
    """Minari writes these too; the message says how to go on, and doing that gives the data."""
    pytest.importorskip("pyarrow")
    import minari

    from mopo_env import Episode, Transitions

    expected = load_three()
    folder = write_three_episodes(data_format=data_format)
    with pytest.raises(DatasetError, match=f"data_format: found '{data_format}'.*Transitions.from_episodes"):
        load_minari(ID)
    dataset = minari.load_dataset(ID)
    converted = Transitions.from_episodes(
        (
            Episode(
                observations=episode.observations,
                actions=episode.actions,
                rewards=episode.rewards,
                terminated=bool(episode.terminations[-1]),
            )
            for episode in dataset.iterate_episodes()
        ),
        observation_space=dataset.observation_space,
        action_space=dataset.action_space,
    )
    assert converted.fingerprint == expected
    assert folder.exists()


def load_three() -> str:
    """Return the fingerprint of the three episodes in the usual format, and remove them."""
    import minari

    write_three_episodes()
    fingerprint = load_minari(ID).fingerprint
    minari.delete_dataset(ID)
    return fingerprint


def test_discrete_observations_are_refused_by_their_space() -> None:
    """As Minari writes them, not as an edited file."""
    write_minari(
        [{"observations": np.arange(3), "actions": np.zeros((2, 1), np.float32), "rewards": np.zeros(2)}],
        observation_space=Discrete(3),
        action_space=Box(-1, 1, (1,)),
    )
    with pytest.raises(DatasetError, match="observation_space: found 'Discrete'"):
        load_minari(ID)


@pytest.mark.parametrize("removed", [["observation_space"], ["action_space"], ["observation_space", "action_space"]])
@pytest.mark.parametrize("field", ["env_spec", "eval_env_spec"])
def test_missing_spaces_and_hostile_env(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: list[str], field: str
) -> None:
    """Without the spaces Minari makes the environment that the file names, which imports what the file likes."""
    (tmp_path / "hostile.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'marker')!r}).touch()\ndef make(): raise OSError\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = gym.envs.registration.EnvSpec("Hostile-v0", entry_point="hostile:make").to_json()
    edit(folder, **{field: spec}, **dict.fromkeys(removed, ...))
    with pytest.raises(DatasetError) as caught:
        load_minari(ID)
    for part in (repr(ID), f"{removed[0]}: missing", "would run", "refused"):
        assert part in str(caught.value)
    assert not (tmp_path / "marker").exists()
    assert "hostile" not in sys.modules
    # The trap is live: had anything imported it, the marker would be there.
    importlib.import_module("hostile")
    assert (tmp_path / "marker").exists()
    sys.modules.pop("hostile")


def test_hostile_env_with_spaces_is_a_name_and_nothing_more(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id is kept for people to read; whatever else the description holds, nothing is made of it."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("an environment was made")

    monkeypatch.setattr(gym, "make", refuse)
    monkeypatch.setattr("gymnasium.envs.registration.make", refuse)
    (tmp_path / "hostile.py").write_text("raise SystemExit('run')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = gym.envs.registration.EnvSpec("Hostile-v0", entry_point="hostile:make").to_json()
    edit(folder, env_spec=spec, eval_env_spec=spec)
    assert load_minari(ID).metadata["real_env_id"] == "Hostile-v0"
    assert "hostile" not in sys.modules
