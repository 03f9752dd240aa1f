"""New rewards for old transitions: nothing else changes, and the dataset tells of it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.transitions import transitions

from mopo_env import relabel
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.errors import ConfigError, InputError
from mopo_env.rewards import ant_angle, halfcheetah_jump
from mopo_env.transitions import Transitions


def data(**changes: Any) -> Transitions:
    """Three episodes of HalfCheetah's widths: cut off after row 3, dead after row 6, and ended by the last row, 9."""
    flags = {"terminations": np.arange(10) == 6, "truncations": np.arange(10) == 3}
    return transitions(widths=(17, 6), **{**flags, "metadata": {"name": "mine", "seed": 3}, **changes})


def height(observations: np.ndarray, actions: np.ndarray, next_observations: np.ndarray) -> np.ndarray:
    """Pay the height reached; any user's function looks like this."""
    return next_observations[:, 0]


class Distance:
    """A callable that is no function."""

    def __call__(self, observations: np.ndarray, actions: np.ndarray, next_observations: np.ndarray) -> np.ndarray:
        return np.abs(next_observations - observations).sum(axis=1)


def test_only_the_rewards_change() -> None:
    before = data()
    rewards = before.rewards.copy()
    after = relabel(before, height)
    np.testing.assert_array_equal(after.rewards, before.next_observations[:, 0])
    for name in ("observations", "actions", "next_observations", "terminations", "truncations"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert (after.observation_space, after.action_space) == (before.observation_space, before.action_space)
    np.testing.assert_array_equal(after.episode_ends, [3, 6, 9])
    # The dataset given is another object and stays what it was; what was derived from its rewards is derived anew.
    np.testing.assert_array_equal(before.rewards, rewards)
    assert after.fingerprint != before.fingerprint
    np.testing.assert_allclose(after.episode_returns[0], before.next_observations[:4, 0].sum(), rtol=1e-6)


def test_the_functions_see_what_is_stored() -> None:
    """Their three arguments in this order, whole, in float32 and protected from accidents."""
    seen: list[np.ndarray] = []

    def spy(*arrays: np.ndarray) -> np.ndarray:
        seen.extend(arrays)
        return np.zeros(10)

    given = data()
    relabel(given, spy)
    for array, name in zip(seen, ("observations", "actions", "next_observations"), strict=True):
        np.testing.assert_array_equal(array, getattr(given, name))
        assert not array.flags.writeable


def test_the_papers_function() -> None:
    given = data()
    z, velocity = given.next_observations[:, 0], given.next_observations[:, 8]
    expected = np.minimum(velocity, 3) - 0.1 * (given.actions**2).sum(axis=1) + 15 * z
    np.testing.assert_allclose(relabel(given, halfcheetah_jump).rewards, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (height, "test_relabel.height"),
        (halfcheetah_jump, "mopo_env.rewards.halfcheetah_jump"),
        (Distance(), "test_relabel.Distance"),
        (functools.partial(height), "functools.partial"),
    ],
)
def test_metadata_say_so(function: Any, name: str) -> None:
    """Whoever finds the dataset later can tell whose rewards these are, and from which data they were made."""
    before = data(metadata={"name": "mine", "seed": 3, "episode_returns": [1.0], "fingerprint": "old"})
    metadata = relabel(before, function).metadata
    assert metadata["reward_function"].endswith(name)
    assert metadata["relabelled_from"] == before.fingerprint
    assert (metadata["name"], metadata["seed"]) == ("mine", 3)
    # They would be numbers of the old rewards under the new name.
    assert metadata.keys().isdisjoint({"episode_returns", "fingerprint"})
    assert before.metadata["episode_returns"] == [1.0]


def test_relabelled_data_can_be_stored(tmp_path: Path) -> None:
    save_transitions(data(), tmp_path / "old")
    relabelled = relabel(load_transitions(tmp_path / "old"), height)
    save_transitions(relabelled, tmp_path / "new")
    again = load_transitions(tmp_path / "new")
    assert again.fingerprint == again.metadata["fingerprint"] == relabelled.fingerprint
    assert again.metadata["reward_function"].endswith("height")


@pytest.mark.parametrize(
    "returned",
    [[1] * 10, [True] * 10, np.ones(10, np.int64), torch.ones(10), np.ones(10, np.float16)],
    ids=["list", "flags", "integers", "tensor", "half"],
)
def test_whatever_is_one_number_a_row_will_do(returned: Any) -> None:
    rewards = relabel(data(), lambda *_: returned).rewards
    assert rewards.dtype == np.float32
    np.testing.assert_array_equal(rewards, np.ones(10))


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (np.zeros((10, 1)), r"shape \(10, 1\)"),  # would broadcast in many a formula
        (np.zeros(9), r"shape \(9,\)"),
        (0.0, r"shape \(\)"),
        (None, "type object"),
        (np.array(["1"] * 10), "type <U1"),
        (np.zeros(10, complex), "type complex128"),
        ([[1.0], [1.0, 2.0]], "rows of different lengths"),
    ],
)
def test_anything_else_is_refused(returned: Any, found: str) -> None:
    with pytest.raises(ConfigError, match=rf"^reward_function: returned .*{found}"):
        relabel(data(), lambda *_: returned)


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (-np.inf, "-inf"), (1e39, "inf")])
def test_a_reward_that_is_not_finite_is_located(value: float, shown: str) -> None:
    """1e39 is finite in float64 only."""
    rewards = np.zeros(10)
    rewards[[5, 8]] = value
    with pytest.raises(ConfigError) as caught:
        relabel(data(), lambda *_: rewards)
    for part in (f"returned {shown} at episode 1, step 1 (row 5)", "2 such values", "finite in float32"):
        assert part in str(caught.value)


@pytest.mark.parametrize("function", [None, "halfcheetah_jump", 3])
def test_what_cannot_be_called_is_refused(function: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected a callable .*mopo_env\.rewards"):
        relabel(data(), function)


def test_the_reward_of_another_robot_is_refused() -> None:
    with pytest.raises(InputError, match=r"observations: found shape \(10, 17\), expected \(10, 27\)"):
        relabel(data(), ant_angle)


def test_an_error_of_the_users_function_is_theirs() -> None:
    """Wrapped, its traceback would point here."""

    def broken(*_: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        relabel(data(), broken)
