"""The rewards of Appendix C.1 against numbers computed by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mopo_env.errors import InputError, MopoError
from mopo_env.rewards import RewardFunction, ant_angle, ant_forward, halfcheetah_capped, halfcheetah_jump

# Each function, and its widths of observation and action.
FUNCTIONS: list[tuple[RewardFunction, int, int]] = [
    (halfcheetah_capped, 17, 6),
    (halfcheetah_jump, 17, 6),
    (ant_forward, 27, 8),
    (ant_angle, 27, 8),
]


def batch(observation_dim: int, action_dim: int, rows: int = 50) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random transitions in float64, whose digits float32 cannot hold."""
    random = np.random.default_rng(0)
    observations, next_observations = random.normal(scale=3.0, size=(2, rows, observation_dim))
    return observations, random.uniform(-1, 1, size=(rows, action_dim)), next_observations


def one(function: RewardFunction, columns: dict[int, float], action: float) -> float:
    """Pay one transition whose next observation is 100 everywhere but in the given columns, as is all of s."""
    width, action_dim = next((width, dim) for candidate, width, dim in FUNCTIONS if candidate is function)
    before, after = np.full((2, 1, width), 100.0)
    for column, value in columns.items():
        after[0, column] = value
    return float(function(before, np.full((1, action_dim), action), after)[0])


@pytest.mark.parametrize(
    ("velocity", "action", "expected"),
    [
        (2.0, 0.5, 1.85),  # 2 − 0.1·6·0.25
        (-1.0, 0.5, -1.15),
        (3.0, 0.0, 3.0),
        (7.0, 0.5, 2.85),  # the cap: a max would pay 6.85
        (7.0, -1.0, 2.4),
        (0.0, 0.0, 0.0),  # and here a max would pay 3
    ],
)
def test_running_is_paid_up_to_three(velocity: float, action: float, expected: float) -> None:
    """min(v_x, 3) − 0.1·‖a‖², whatever the height."""
    assert one(halfcheetah_capped, {8: velocity}, action) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("velocity", "height", "action", "expected"),
    [
        (2.0, 0.25, 0.5, 5.6),  # 1.85 + 15·0.25
        (2.0, -0.5, 0.5, -5.65),  # lying down costs 7.5
        (7.0, 0.0, 0.0, 3.0),
    ],
)
def test_jumping_is_paid_by_height(velocity: float, height: float, action: float, expected: float) -> None:
    assert one(halfcheetah_jump, {0: height, 8: velocity}, action) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("velocity", "action", "forward", "angle"),
    [
        ((2.0, 1.0), 0.5, 1.0, math.sqrt(3) + 0.5 - 1.0),  # the control cost is 0.5·8·0.25 = 1
        ((0.0, 4.0), 0.0, 0.0, 2.0),
        ((-2.0, 0.0), 0.0, -2.0, -math.sqrt(3)),
        ((math.sqrt(3), 1.0), 0.0, math.sqrt(3), 2.0),  # straight along 30°: the whole speed, 2
    ],
)
def test_the_ants_are_paid_along_their_direction(
    velocity: tuple[float, float], action: float, forward: float, angle: float
) -> None:
    columns = {13: velocity[0], 14: velocity[1]}
    # √3 is rounded to float32 on the way.
    assert one(ant_forward, columns, action) == pytest.approx(forward, abs=1e-6)
    assert one(ant_angle, columns, action) == pytest.approx(angle, abs=1e-6)


@pytest.mark.parametrize(("function", "observation_dim", "action_dim"), FUNCTIONS)
def test_a_row_pays_the_same_alone_and_in_a_batch(
    function: RewardFunction, observation_dim: int, action_dim: int
) -> None:
    """Bit for bit: the environments pay one row at a time, `relabel` all of them."""
    rows = batch(observation_dim, action_dim)
    together = function(*rows)
    assert together.shape == (50,)
    assert together.dtype == np.float64
    alone = [function(*(array[row : row + 1] for array in rows))[0] for row in range(50)]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(("function", "observation_dim", "action_dim"), FUNCTIONS)
def test_digits_that_a_dataset_drops_do_not_count(
    function: RewardFunction, observation_dim: int, action_dim: int
) -> None:
    """The environment has float64, the dataset float32: both must pay the same."""
    rows = batch(observation_dim, action_dim)
    stored = tuple(array.astype(np.float32) for array in rows)
    assert (stored[2] != rows[2]).any()
    np.testing.assert_array_equal(function(*rows), function(*stored))


@pytest.mark.parametrize(("function", "observation_dim", "action_dim"), FUNCTIONS)
@pytest.mark.parametrize("name", ["observations", "actions", "next_observations"])
@pytest.mark.parametrize("change", ["wider", "flat", "shorter"])
def test_another_robots_transitions_are_refused(
    function: RewardFunction, observation_dim: int, action_dim: int, name: str, change: str
) -> None:
    """Column 8 of another robot is something else, and would be paid without a word."""
    arrays = dict(
        zip(("observations", "actions", "next_observations"), batch(observation_dim, action_dim), strict=True)
    )
    wrong: Any = arrays[name]
    arrays[name] = {"wider": np.hstack([wrong, wrong]), "flat": wrong[0], "shorter": wrong[:-1]}[change]
    with pytest.raises(InputError, match=r"found shape \(.*\), expected \(") as caught:
        function(*arrays.values())
    assert isinstance(caught.value, MopoError)
    assert "another robot" in str(caught.value)
