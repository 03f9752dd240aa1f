"""The statistics of a report: closed forms, and the coverage that an interval claims."""

from __future__ import annotations

import numpy as np
import pytest

from mopo_agents.reports.iqm import interquartile_mean, iqm_interval


def test_the_outer_quarters_do_not_count() -> None:
    """Of 1 to 8, the middle four are 3, 4, 5 and 6; an outlier in the outer quarter changes nothing."""
    assert interquartile_mean([8, 1, 7, 2, 6, 3, 5, 4]) == 4.5
    assert interquartile_mean([1e9, -1e9, 7, 2, 6, 3, 5, 4]) == 4.5


def test_few_values_are_all_used() -> None:
    """As in rliable: a quarter of three values, rounded down, is none; of five it is one on each side."""
    assert interquartile_mean([1.0, 2.0, 6.0]) == 3.0
    assert interquartile_mean([0.0, 1.0, 2.0, 6.0, 100.0]) == 3.0


def test_it_is_taken_along_the_last_axis() -> None:
    values = np.array([[8.0, 1, 2, 3], [0, 0, 10, 20]])
    np.testing.assert_array_equal(interquartile_mean(values), [2.5, 5.0])


def test_the_interval_of_equal_values_is_a_point() -> None:
    assert iqm_interval([[5.0, 5.0, 5.0], [5.0]]) == (5.0, 5.0)


def test_the_bootstrap_stays_within_the_strata() -> None:
    """Without strata, a resample could hold only the easy task; here each of them holds one value of either."""
    assert iqm_interval([[0.0], [100.0]]) == (50.0, 50.0)


def test_the_interval_of_two_values_by_hand() -> None:
    """Of {0, 4}, a resample has the mean 0, 2 or 4 with chances ¼, ½ and ¼: 95 % lie between 0 and 4, 40 % at 2."""
    assert iqm_interval([[0.0, 4.0]]) == (0.0, 4.0)
    assert iqm_interval([[0.0, 4.0]], confidence=0.4) == (2.0, 2.0)


@pytest.mark.parametrize(("count", "low", "high"), [(40, 0.91, 0.98), (3, 0.65, 0.85)])
def test_the_interval_covers_the_truth_as_often_as_it_says(count: int, low: float, high: float) -> None:
    """The IQM of a normal distribution is its mean. Three seeds are too few, and the docstring says by how much."""
    random = np.random.default_rng(0)
    samples = random.normal(size=(300, count))
    intervals = [iqm_interval([sample], num_resamples=300, seed=k) for k, sample in enumerate(samples)]
    assert low < np.mean([lower <= 0.0 <= upper for lower, upper in intervals]) < high
