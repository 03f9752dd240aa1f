"""Observations of many parts: joined on request, in Gymnasium's own order, and refused otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple
from helpers.minari_files import ID, write_minari, write_three_episodes

from mopo_env import load_minari, load_transitions, save_transitions
from mopo_env.errors import DatasetError

SPACE = Dict(
    {
        "position": Box(-1, 1, (2,)),
        "goal": Dict({"x": Box(-5, 5, ()), "gear": Discrete(3, start=1)}),
        "pair": Tuple((Box(0, 1, (2, 2)), Box(-1, 1, (1,)))),
    }
)


def stacked(space: gym.Space[Any], samples: list[Any]) -> Any:
    """Return samples as Minari keeps them: the same nesting, of arrays over time."""
    if isinstance(space, Dict):
        return {key: stacked(within, [sample[key] for sample in samples]) for key, within in space.items()}
    if isinstance(space, Tuple):
        return tuple(stacked(within, [sample[i] for sample in samples]) for i, within in enumerate(space))
    return np.stack(samples)


def write(space: gym.Space[Any], *, episodes: int = 3) -> tuple[Path, np.ndarray]:
    """Write random episodes of five steps; return the folder, and what Gymnasium makes of their observations."""
    space.seed(0)
    samples = [[space.sample() for _ in range(6)] for _ in range(episodes)]
    rows = [
        {"observations": stacked(space, each), "actions": np.zeros((5, 1), np.float32), "rewards": np.zeros(5)}
        for each in samples
    ]
    folder = write_minari(rows, observation_space=space, action_space=Box(-1, 1, (1,)))
    return folder, np.array([[gym.spaces.flatten(space, sample) for sample in each] for each in samples])


@pytest.mark.parametrize(
    "space", [SPACE, SPACE["goal"], SPACE["pair"], Box(0, 1, (2, 3)), Discrete(4), Box(-2, 2, ())], ids=str
)
def test_as_gymnasium_does(space: gym.Space[Any]) -> None:
    """A policy is then evaluated in the environment within `gymnasium.wrappers.FlattenObservation`."""
    _, expected = write(space)
    loaded = load_minari(ID, flatten=True)
    np.testing.assert_array_equal(loaded.observations, np.concatenate(expected[:, :-1]))
    np.testing.assert_array_equal(loaded.next_observations, np.concatenate(expected[:, 1:]))
    flat = gym.spaces.flatten_space(space)
    assert isinstance(flat, Box)
    np.testing.assert_array_equal(loaded.observation_space.low, flat.low)
    np.testing.assert_array_equal(loaded.observation_space.high, flat.high)
    assert len({*loaded.observation_names}) == loaded.observation_dim


def test_names(tmp_path: Path) -> None:
    """They tell a person which number is which, and stay with the dataset."""
    write(SPACE)
    names = load_minari(ID, flatten=True).observation_names
    assert names == [
        *("goal.gear=1", "goal.gear=2", "goal.gear=3", "goal.x"),
        *("pair[0][0,0]", "pair[0][0,1]", "pair[0][1,0]", "pair[0][1,1]", "pair[1][0]"),
        *("position[0]", "position[1]"),
    ]
    save_transitions(load_minari(ID, flatten=True), tmp_path)
    assert load_transitions(tmp_path).observation_names == names


def test_a_vector_is_read_as_ever() -> None:
    write_three_episodes()
    assert load_minari(ID, flatten=True).fingerprint == load_minari(ID).fingerprint
    assert load_minari(ID, flatten=True).observation_names == [f"observation {index}" for index in range(3)]


@pytest.mark.parametrize("space", [SPACE, SPACE["pair"], Box(0, 1, (2, 3)), Discrete(4)], ids=str)
def test_refused_without_the_option(space: gym.Space[Any]) -> None:
    """To join parts of different units is a choice; the message says how to make it."""
    write(space)
    with pytest.raises(DatasetError, match=r"flatten=True.*`mopo data import-minari ID --flatten --out FOLDER`"):
        load_minari(ID)


def test_a_flat_copy_is_not_taken_for_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    """Datasets of many episodes are kept flat; with and without the option they are not the same."""
    monkeypatch.setattr("mopo_env.datasets.minari.reader._WORTH_KEEPING", 1)
    write(SPACE)
    first = load_minari(ID, flatten=True)
    assert load_minari(ID, flatten=True).observation_names == first.observation_names
    with pytest.raises(DatasetError, match="flatten=True"):
        load_minari(ID)


def described(folder: Path, space: Any) -> None:
    """Change what the metadata say of the observations."""
    path = folder / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "observation_space": json.dumps(space)}))


def box(*shape: int) -> dict[str, Any]:
    low = np.zeros(shape)
    return {"type": "Box", "dtype": "float32", "shape": list(shape), "low": low.tolist(), "high": (low + 1).tolist()}


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ({"type": "Dict", "subspaces": {}}, "found 0 columns"),
        ({"type": "Dict", "subspaces": 5}, "observations: found 'Dict', expected Box, Discrete, Dict or Tuple"),
        ({"type": "Dict", "subspaces": {"a": {"type": "Text"}}}, "observations/a: found 'Text'"),
        ({"type": "Dict", "subspaces": {"position": 5}}, "observations/position: found '5'"),
        ({"type": "Dict", "subspaces": {"position/x": box(2)}}, "expected names without slashes"),
        ({"type": "Dict", "subspaces": {"..": box(2)}}, "observations/..: missing"),
        ({"type": "Dict", "subspaces": {"speed": box(2)}}, "episode 0: observations/speed: missing"),
        ({"type": "Dict", "subspaces": {"position": box(3)}}, r"position: found the shape \(6, 2\), expected \(6, 3\)"),
        ({"type": "Dict", "subspaces": {"goal": box(3)}}, "goal: found a group, expected an array"),
        ({"type": "Tuple", "subspaces": [box(2)]}, "_index_0: missing"),
        ({"type": "Tuple", "subspaces": {"0": box(2)}}, "found 'Tuple'"),
        ({**box(2), "shape": [10**6, 10**6]}, r"found the shape \[1000000, 1000000\]"),
        ({**box(2, 2), "low": [[0, 0], [0]]}, "found invalid bounds"),
        ({**box(2, 2), "low": [[9, 9], [9, 9]]}, "found invalid bounds"),
        ({"type": "Discrete", "n": 10**9}, "found 1000000000 discrete values"),
        ({"type": "Tuple", "subspaces": [{"type": "Discrete", "n": 9_000}] * 2}, "found 18,000 columns"),
    ],
)
def test_damage(space: Any, expected: str) -> None:
    """What a stranger writes into the description is compared with the arrays, before memory is asked for."""
    folder, _ = write(SPACE)
    described(folder, space)
    with pytest.raises(DatasetError, match=expected):
        load_minari(ID, flatten=True)


def test_a_number_outside_its_space() -> None:
    """A row of zeros would say that no gear is in."""
    folder, _ = write(SPACE)
    with h5py.File(folder / "main_data.hdf5", "a") as file:
        file["episode_1/observations/goal/gear"][3] = 4
    with pytest.raises(DatasetError, match=r"episode 1: observations/goal/gear, step 3: found 4, expected .* 1 to 3"):
        load_minari(ID, flatten=True)


def test_a_link_is_not_followed() -> None:
    folder, _ = write(SPACE)
    with h5py.File(folder / "main_data.hdf5", "a") as file:
        del file["episode_1/observations/goal"]
        file["episode_1/observations/goal"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(DatasetError, match="found a ExternalLink"):
        load_minari(ID, flatten=True)
