"""`Transitions`: what is wrong in a dataset is refused by name, what is right is kept and frozen."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box
from hypothesis import given, settings
from hypothesis import strategies as st

from mopo_env._utils.spaces import as_float32_box
from mopo_env.errors import DatasetError, DataWarning
from mopo_env.toys import LinearGaussianSystem
from mopo_env.transitions import Episode, Transitions

FLOATING = ["observations", "actions", "rewards", "next_observations"]
FLAGS = ["terminations", "truncations"]


def arrays() -> dict[str, Any]:
    """Seven rows in three episodes of 3, 2 and 2 steps: terminated, cut off, and unfinished."""
    random = np.random.default_rng(0)
    return {
        "observations": random.normal(size=(7, 3)).astype(np.float32),
        "actions": random.uniform(-1, 1, (7, 2)).astype(np.float32),
        "rewards": np.array([1, 2, 4, 8, 16, 32, 64], dtype=np.float32),
        "next_observations": random.normal(size=(7, 3)).astype(np.float32),
        "terminations": np.array([0, 0, 1, 0, 0, 0, 0], dtype=bool),
        "truncations": np.array([0, 0, 0, 0, 1, 0, 0], dtype=bool),
    }


def refusal(**changes: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        Transitions(**{**arrays(), **changes})
    return str(caught.value)


def with_value(name: str, row: int, value: float) -> dict[str, Any]:
    array = arrays()[name]
    array.reshape(len(array), -1)[row, -1] = value
    return {name: array}


class TestAccepted:
    """What a valid dataset looks like once it is inside."""

    def test_arrays_are_float32_and_bool(self) -> None:
        """Whatever a logger wrote: lists, integers, float64, flags as numbers."""
        data = arrays()
        loose = {
            "observations": data["observations"].astype(np.float64),
            "actions": data["actions"].tolist(),
            "rewards": data["rewards"].astype(np.int32),
            "next_observations": data["next_observations"].astype(">f4"),
            "terminations": data["terminations"].astype(np.float64),
            "truncations": data["truncations"].astype(np.uint8).tolist(),
        }
        transitions = Transitions(**loose)
        for name in FLOATING:
            np.testing.assert_array_equal(getattr(transitions, name), data[name], strict=True)
        for name in FLAGS:
            np.testing.assert_array_equal(getattr(transitions, name), data[name], strict=True)
        assert transitions.fingerprint == Transitions(**data).fingerprint

    def test_arrays_are_read_only(self) -> None:
        """The fingerprint would lie after a change, also of the arrays that are computed once and kept."""
        transitions = Transitions(**arrays())
        for name in [*FLOATING, *FLAGS, "episode_ends", "episode_returns"]:
            with pytest.raises(ValueError, match="read-only"):
                getattr(transitions, name)[...] = 0
        with pytest.raises(AttributeError):
            transitions.rewards = np.zeros(7)  # type: ignore[misc]

    def test_survives_pickling(self) -> None:
        """Worker processes receive datasets pickled."""
        transitions = Transitions(**arrays(), metadata={"name": "x"})
        copy = pickle.loads(pickle.dumps(transitions))  # noqa: S301
        assert (copy.fingerprint, copy.metadata) == (transitions.fingerprint, {"name": "x"})

    def test_callers_arrays_are_copied(self) -> None:
        """Neither may the caller's array freeze, nor may its later change reach the dataset."""
        data = arrays()
        kept = {name: array.copy() for name, array in data.items()}
        metadata = {"name": "x"}
        transitions = Transitions(**data, metadata=metadata)
        for name, array in data.items():
            array[...] = 0
            np.testing.assert_array_equal(getattr(transitions, name), kept[name])
        metadata["name"] = "y"
        assert transitions.metadata["name"] == "x"

    def test_arrays_that_nobody_can_change_are_not_copied(self) -> None:
        """Two million rows need a third of a gigabyte, which readers hand over for good."""
        data = arrays()
        for array in data.values():
            array.setflags(write=False)
        transitions = Transitions(**data)
        for name, array in data.items():
            assert getattr(transitions, name) is array
        # Nor is a view of such an array.
        assert Transitions(**{**data, "rewards": data["rewards"][:]}).rewards.base is data["rewards"]
        # One that is made from another shares what did not change.
        changed = dataclasses.replace(transitions, rewards=np.zeros(7))
        assert changed.observations is transitions.observations

    @pytest.mark.parametrize("view", ["rows", "bytes", "strides"])
    def test_a_read_only_view_of_what_can_change_is_copied(self, view: str) -> None:
        """Being read-only says nothing of the array's owner."""
        owner = np.arange(14, dtype=np.float32).reshape(7, 2) / 14
        actions = {
            "rows": owner[:],
            "bytes": np.frombuffer(memoryview(owner).cast("B"), dtype=np.float32).reshape(7, 2),
            "strides": np.lib.stride_tricks.as_strided(owner, writeable=False),
        }[view]
        actions.setflags(write=False)
        transitions = Transitions(**{**arrays(), "actions": actions})
        owner[:] = 5
        assert transitions.actions.max() < 1

    def test_sizes(self) -> None:
        transitions = Transitions(**arrays())
        assert (len(transitions), transitions.observation_dim, transitions.action_dim) == (7, 3, 2)
        assert f"7 rows, 3 episodes, observation 3, action 2, fingerprint {transitions.fingerprint[:12]}" in repr(
            transitions
        )

    def test_default_spaces(self) -> None:
        transitions = Transitions(**arrays())
        assert transitions.observation_space == Box(-np.inf, np.inf, (3,), np.float32)
        assert transitions.action_space == Box(-1, 1, (2,), np.float32)

    def test_given_spaces_become_float32(self) -> None:
        """MuJoCo's observation spaces are float64, which would double every buffer."""
        transitions = Transitions(
            **arrays(),
            observation_space=Box(-np.inf, np.inf, (3,), np.float64),
            action_space=Box(np.array([-1.0, -2.0]), np.array([1.0, 2.0]), dtype=np.float64),
        )
        assert transitions.observation_space == Box(-np.inf, np.inf, (3,), np.float32)
        bounds = np.array([1, 2], dtype=np.float32)
        assert transitions.action_space == Box(-bounds, bounds, dtype=np.float32)

    @pytest.mark.parametrize("name", ["observations", "next_observations"])
    def test_observations_outside_their_space_widen_it(self, name: str) -> None:
        """Predictions are clipped to the space: a model could never reach what was recorded."""
        changes = with_value(name, 2, 99.0)
        with pytest.warns(
            DataWarning, match=r"observation 2 goes from .* to 99, outside .*-50 to 50. The space was widened"
        ):
            transitions = Transitions(**{**arrays(), **changes}, observation_space=Box(-50, 50, (3,)))
        assert transitions.observation_space.high.tolist() == [50, 50, 99]
        assert transitions.observation_space.low.tolist() == [-50, -50, -50]

    def test_bound_that_float64_has_and_float32_has_not(self) -> None:
        space = as_float32_box(Box(-1e300, 1e300, (2,), np.float64), "observations")
        assert space == Box(-np.inf, np.inf, (2,), np.float32)

    def test_action_that_rounding_carried_past_its_bound(self) -> None:
        """0.1 as float32 is larger than 0.1; the row is still one of the system's own."""
        changes = with_value("actions", 0, 1.00005)
        assert Transitions(**{**arrays(), **changes}).actions[0, 1] == np.float32(1.00005)

    def test_two_rows_are_enough(self) -> None:
        assert len(Transitions(**{name: array[:2] for name, array in arrays().items()})) == 2


class TestRefused:
    """What was found, what was expected, and where."""

    @pytest.mark.parametrize(
        ("changes", "parts"),
        [
            ({"observations": np.zeros(7)}, ["observations: ", "(7,)", "(rows, observation)"]),
            ({"observations": np.zeros((7, 3, 1))}, ["observations: ", "(7, 3, 1)"]),
            ({"observations": np.zeros((7, 0))}, ["observations: ", "(7, 0)"]),
            ({"observations": 3.0}, ["observations: ", "()"]),
            ({"actions": np.zeros(7)}, ["actions: ", "(7,)", "(rows, action)"]),
            ({"actions": np.zeros((7, 0))}, ["actions: ", "(7, 0)"]),
            ({"next_observations": np.zeros(7)}, ["next_observations: ", "(7,)", "(rows, observation)"]),
            ({"next_observations": np.zeros((7, 4))}, ["next_observations: ", "(7, 4)", "observations has (7, 3)"]),
            ({"rewards": np.zeros((7, 1))}, ["rewards: ", "(7, 1)", "(rows,)"]),
            ({"rewards": 1.0}, ["rewards: ", "()", "(rows,)"]),
            ({"terminations": np.zeros((7, 1))}, ["terminations: ", "(7, 1)", "(rows,)"]),
            ({"truncations": np.zeros((7, 1))}, ["truncations: ", "(7, 1)", "(rows,)"]),
            ({"observations": np.zeros((6, 3))}, ["observations: found 6 rows", "rewards has 7"]),
            ({"actions": np.zeros((8, 2))}, ["actions: found 8 rows", "rewards has 7"]),
            ({"next_observations": np.zeros((6, 3))}, ["next_observations: found 6 rows", "rewards has 7"]),
            ({"terminations": np.zeros(6)}, ["terminations: found 6 rows", "rewards has 7"]),
            ({"truncations": np.zeros(8)}, ["truncations: found 8 rows", "rewards has 7"]),
            ({"observations": [[1, 2, 3], [1, 2]]}, ["observations: ", "different lengths"]),
            ({"terminations": [[True], [True, False]]}, ["terminations: ", "different lengths"]),
            ({"observations": np.full((7, 3), None)}, ["observations: ", "object", "real numbers"]),
            ({"observations": None}, ["observations: ", "object"]),
            ({"rewards": list("abcdefg")}, ["rewards: ", "<U1", "real numbers"]),
            ({"actions": np.zeros((7, 2), complex)}, ["actions: ", "complex128", "real numbers"]),
            ({"terminations": ["no"] * 7}, ["terminations: ", "<U2", "booleans"]),
            ({"terminations": [None] * 7}, ["terminations: ", "object", "booleans"]),
            ({"terminations": np.arange(7)}, ["terminations: ", "the value 2", "booleans (or zeros and ones)"]),
            ({"truncations": np.full(7, 0.5)}, ["truncations: ", "the value 0.5", "booleans"]),
            ({"truncations": np.full(7, np.nan)}, ["truncations: ", "the value nan", "booleans"]),
        ],
    )
    def test_shape_or_type(self, changes: dict[str, Any], parts: list[str]) -> None:
        message = refusal(**changes)
        for part in parts:
            assert part in message

    @pytest.mark.parametrize("rows", [0, 1])
    def test_too_few_rows(self, rows: int) -> None:
        message = refusal(**{name: array[:rows] for name, array in arrays().items()})
        assert f"found {rows} transition{'s' if rows == 0 else ''};" in message
        assert "at least two" in message

    @pytest.mark.parametrize("name", FLOATING)
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize(
        ("row", "place"),
        [(0, "episode 0, step 0"), (2, "episode 0, step 2"), (3, "episode 1, step 0"), (6, "episode 2, step 1")],
    )
    def test_not_finite(self, name: str, value: float, row: int, place: str) -> None:
        """One bad number spoils a whole fit; where it stands is what a user has to know."""
        message = refusal(**with_value(name, row, value))
        column = 0 if name == "rewards" else arrays()[name].shape[1] - 1
        for part in (f"{name}: found {value} at {place} (row {row}, column {column})", "1 such row in all", "Drop"):
            assert part in message

    @pytest.mark.parametrize("name", FLOATING)
    def test_float64_that_overflows_float32(self, name: str) -> None:
        """Finite when it was logged, infinite once converted: it must not slip in between the two checks."""
        array = arrays()[name].astype(np.float64)
        array.reshape(len(array), -1)[4, 0] = -1e39
        message = refusal(**{name: array})
        assert f"{name}: found -inf at episode 1, step 1 (row 4, column 0)" in message
        assert "finite in float32" in message

    def test_every_bad_row_is_counted(self) -> None:
        rewards = arrays()["rewards"]
        rewards[[1, 4, 5]] = np.nan
        message = refusal(rewards=rewards)
        assert "row 1," in message
        assert "3 such rows in all" in message

    @pytest.mark.parametrize("value", [1.01, -1.01, 9.0])
    def test_actions_beyond_the_default_box(self, value: float) -> None:
        """Guessing the bounds from the data would let a policy do less, or more, than the system can."""
        message = refusal(**with_value("actions", 1, value))
        for part in ("actions: ", f"{value:.4g}", "no action_space", "pass action_space=gymnasium.spaces.Box"):
            assert part in message

    @pytest.mark.parametrize("value", [0.6, -0.6])
    def test_actions_outside_the_given_space(self, value: float) -> None:
        actions = np.zeros((7, 2))
        actions[[3, 6], 1] = value
        message = refusal(actions=actions, action_space=Box(-0.5, 0.5, (2,)))
        for part in ("actions: ", "episode 1, step 0 (row 3)", "outside Box(-0.5, 0.5", "2 such rows", "true bounds"):
            assert part in message

    @pytest.mark.parametrize(
        ("changes", "parts"),
        [
            ({"observation_space": Box(-1, 1, (4,))}, ["observations: found width 3", "(4,)"]),
            ({"action_space": Box(-1, 1, (3,))}, ["actions: found width 2", "(3,)"]),
            ({"observation_space": Box(0, 255, (3, 3), np.uint8)}, ["observations: ", "one-dimensional"]),
            ({"action_space": gym.spaces.Discrete(4)}, ["actions: found shape (7, 2)", "(rows,)", "Discrete"]),
            ({"action_space": gym.spaces.MultiBinary(2)}, ["actions: ", "MultiBinary(2)", "gymnasium.spaces.Discrete"]),
            ({"observation_space": gym.spaces.Dict({})}, ["observations: ", "Dict()", "gymnasium.spaces.Box"]),
        ],
    )
    def test_spaces(self, changes: dict[str, Any], parts: list[str]) -> None:
        message = refusal(**changes)
        for part in parts:
            assert part in message


class TestFingerprint:
    """Equal content, and only that, has an equal fingerprint."""

    @pytest.mark.parametrize("name", [*FLOATING, *FLAGS])
    def test_every_element_counts(self, name: str) -> None:
        reference = Transitions(**arrays()).fingerprint
        seen = {reference}
        for index in np.ndindex(arrays()[name].shape):
            data = arrays()
            value = data[name][index]
            data[name][index] = (not value) if name in FLAGS else np.nextafter(value, np.float32(0))
            seen.add(Transitions(**data).fingerprint)
        assert len(seen) == 1 + arrays()[name].size

    def test_spaces_count_and_metadata_do_not(self) -> None:
        reference = Transitions(**arrays()).fingerprint
        assert Transitions(**arrays(), metadata={"name": "x"}).fingerprint == reference
        assert Transitions(**arrays(), action_space=Box(-1, 1, (2,), np.float64)).fingerprint == reference
        assert Transitions(**arrays(), action_space=Box(-1, 2, (2,))).fingerprint != reference
        assert Transitions(**arrays(), observation_space=Box(-9, 9, (3,))).fingerprint != reference

    def test_rewards_are_not_dynamics(self) -> None:
        """Relabelling changes the one fingerprint and keeps the other."""
        first, paid = Transitions(**arrays()), Transitions(**{**arrays(), "rewards": arrays()["rewards"] + 1})
        assert first.fingerprint != paid.fingerprint
        assert first.dynamics_fingerprint == paid.dynamics_fingerprint
        moved = Transitions(**{**arrays(), **with_value("actions", 0, 0.5)})
        assert moved.dynamics_fingerprint != first.dynamics_fingerprint

    def test_arrays_cannot_trade_places(self) -> None:
        data = arrays()
        data["observations"], data["next_observations"] = data["next_observations"], data["observations"]
        assert Transitions(**data).fingerprint != Transitions(**arrays()).fingerprint

    def test_layout_in_memory_does_not_count(self) -> None:
        data = arrays()
        data["observations"] = np.asfortranarray(data["observations"])
        assert Transitions(**data).fingerprint == Transitions(**arrays()).fingerprint

    def test_value_is_pinned(self) -> None:
        """Fingerprints stand in files of other machines and versions; changing how they are made orphans those."""
        data = {
            "observations": [[0, 1], [2, 3]],
            "actions": [[0], [1]],
            "rewards": [0.5, -0.5],
            "next_observations": [[2, 3], [4, 5]],
            "terminations": [False, True],
            "truncations": [False, False],
        }
        assert Transitions(**data).fingerprint == "50c8838cd33f3fa0ae4d17c8b242dddd054f1fcfef60e03f2c87ffc012553ebd"


class TestEpisodes:
    """Rows and episodes say the same."""

    def test_ends_and_returns_by_hand(self) -> None:
        transitions = Transitions(**arrays())
        assert transitions.episode_ends.tolist() == [2, 4, 6]
        assert transitions.episode_returns.tolist() == [1 + 2 + 4, 8 + 16, 32 + 64]
        assert transitions.episode_returns.dtype == np.float64

    @pytest.mark.parametrize(
        ("terminations", "truncations", "ends", "returns"),
        [
            ("0000000", "0000000", [6], [127]),
            ("0000001", "0000000", [6], [127]),
            ("1000000", "0000000", [0, 6], [1, 126]),
            ("1010000", "0100001", [0, 1, 2, 6], [1, 2, 4, 120]),
            ("0010000", "0010000", [2, 6], [7, 120]),
            ("1111111", "0000000", [0, 1, 2, 3, 4, 5, 6], [1, 2, 4, 8, 16, 32, 64]),
        ],
    )
    def test_flags(self, terminations: str, truncations: str, ends: list[int], returns: list[float]) -> None:
        """The last row ends an episode whether it is flagged or not, and a row flagged twice ends one, not two."""
        data = arrays()
        data["terminations"] = np.array([flag == "1" for flag in terminations])
        data["truncations"] = np.array([flag == "1" for flag in truncations])
        transitions = Transitions(**data)
        assert transitions.episode_ends.tolist() == ends
        assert transitions.episode_returns.tolist() == returns
        assert len(list(transitions.episodes())) == len(ends)

    def test_returns_are_summed_in_float64(self) -> None:
        """16777216 + 1 is 16777216 in float32: long episodes with a large offset would lose their differences."""
        data = arrays()
        data["rewards"] = np.array([2**24, 1, 1, 1, 1, 1, 1], dtype=np.float32)
        data["terminations"][:] = False
        data["truncations"][:] = False
        assert Transitions(**data).episode_returns.tolist() == [2**24 + 6]

    def test_locate_every_row(self) -> None:
        transitions = Transitions(**arrays())
        assert [transitions.locate(row) for row in range(7)] == [
            "episode 0, step 0",
            "episode 0, step 1",
            "episode 0, step 2",
            "episode 1, step 0",
            "episode 1, step 1",
            "episode 2, step 0",
            "episode 2, step 1",
        ]

    def test_episode_by_hand(self) -> None:
        data = arrays()
        first, second, third = Transitions(**data).episodes()
        np.testing.assert_array_equal(
            first.observations, np.vstack([data["observations"][:3], data["next_observations"][2:3]])
        )
        np.testing.assert_array_equal(second.actions, data["actions"][3:5])
        np.testing.assert_array_equal(third.rewards, [32, 64])
        assert [episode.terminated for episode in (first, second, third)] == [True, False, False]

    @settings(deadline=None, max_examples=60)
    @given(
        lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6).filter(lambda lengths: sum(lengths) > 1),
        seed=st.integers(0, 2**32 - 1),
    )
    def test_from_episodes_undoes_episodes(self, lengths: list[int], seed: int) -> None:
        random = np.random.default_rng(seed)
        episodes = [
            Episode(
                observations=random.normal(size=(length + 1, 2)),
                actions=random.uniform(-1, 1, (length, 1)),
                rewards=random.normal(size=length),
                terminated=bool(random.integers(2)),
            )
            for length in lengths
        ]
        transitions = Transitions.from_episodes(episodes)
        assert transitions.episode_ends.tolist() == (np.cumsum(lengths) - 1).tolist()
        for found, expected in zip(transitions.episodes(), episodes, strict=True):
            np.testing.assert_array_equal(found.observations, expected.observations.astype(np.float32))
            np.testing.assert_array_equal(found.actions, expected.actions.astype(np.float32))
            np.testing.assert_array_equal(found.rewards, expected.rewards.astype(np.float32))
            assert found.terminated == expected.terminated
        assert (transitions.terminations ^ transitions.truncations).sum() == len(lengths)
        assert Transitions.from_episodes(transitions.episodes()).fingerprint == transitions.fingerprint

    def test_spaces_and_metadata_pass_through(self) -> None:
        space = Box(-3, 3, (2,), np.float32)
        observation_space = Box(-50, 50, (3,), np.float32)
        transitions = Transitions.from_episodes(
            Transitions(**arrays()).episodes(),
            action_space=space,
            observation_space=observation_space,
            metadata={"name": "x"},
        )
        assert transitions.action_space == space
        assert transitions.observation_space == observation_space
        assert dict(transitions.metadata) == {"name": "x"}


def _episode(**changes: Any) -> Episode:
    fields: dict[str, Any] = {
        "observations": np.zeros((4, 3)),
        "actions": np.zeros((3, 2)),
        "rewards": np.zeros(3),
        **changes,
    }
    return Episode(**fields)


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (list, ["no episodes", "at least two transitions"]),
        (lambda: [_episode(), _episode(observations=np.zeros((3, 3)))], ["episode 1: found 3 observations, 3 actions"]),
        (lambda: [_episode(actions=np.zeros((2, 2)))], ["episode 0: found 4 observations, 2 actions and 3 rewards"]),
        (lambda: [_episode(), _episode(), _episode(rewards=np.zeros(4))], ["episode 2: ", "4 rewards", "one obs"]),
        (
            lambda: [_episode(observations=np.zeros((1, 3)), actions=np.zeros((0, 2)), rewards=np.zeros(0))],
            ["episode 0: found 1 observations, 0 actions", "at least one action"],
        ),
        (lambda: [_episode(), _episode(observations=np.zeros((4, 5)))], ["observations: ", "(3,)", "(5,)"]),
        (lambda: [_episode(), _episode(actions=np.zeros((3, 1)))], ["actions: ", "(2,)", "(1,)"]),
        (lambda: [_episode(), _episode(rewards=np.zeros((3, 1)))], ["rewards: ", "()", "(1,)"]),
        (lambda: [_episode(rewards=np.zeros((3, 1)))], ["rewards: found shape (3, 1)"]),
        (lambda: [_episode(), _episode(rewards=np.array([0, np.nan, 0]))], ["rewards: found nan at episode 1, step 1"]),
        (
            lambda: [_episode(observations=np.array([[0.0] * 3] * 3 + [[np.inf] * 3]))],
            ["next_observations: found inf at episode 0, step 2"],
        ),
        (
            lambda: [_episode(observations=np.zeros((2, 3)), actions=np.zeros((1, 2)), rewards=np.zeros(1))],
            ["found 1 transition;", "at least two"],
        ),
    ],
)
def test_from_episodes_refusals(make: Callable[[], list[Episode]], parts: list[str]) -> None:
    with pytest.raises(DatasetError) as caught:
        Transitions.from_episodes(make())
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "columns", [None, 5, {}, {"observations": 5}, {"observations": ["one"]}, {"observations": "ab"}]
)
def test_columns_without_names_are_numbered(columns: Any) -> None:
    """Metadata come from files, so anything may stand there."""
    found = dataclasses.replace(
        LinearGaussianSystem().transitions(num_episodes=2, num_steps=2), metadata={"columns": columns}
    )
    assert found.observation_names == ["observation 0", "observation 1"]
    named = dataclasses.replace(found, metadata={"columns": {"observations": ["place", "speed"]}})
    assert named.observation_names == ["place", "speed"]
