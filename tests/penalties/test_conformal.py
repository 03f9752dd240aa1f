"""Conformal bounds: what the theorem promises, what breaks it, and the way from a hold-out to λ."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from helpers.models import count_up, fitted_ensemble, penalized_model, still_data
from helpers.transitions import transitions

from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError
from mopo_env.penalties import ensemble_disagreement, get_penalty
from mopo_env.penalties.conformal import (
    conformal_band,
    conformal_coef,
    conformal_quantile,
    one_step_errors,
    open_loop_errors,
    split_coverage,
)
from mopo_env.penalties.nearest import NearestNeighbourPenalty
from mopo_env.toys import StubEnsemble

REPEATS = 20_000


def within(found: float, expected: float, repeats: int = REPEATS) -> bool:
    """Return whether a frequency is within four binomial standard errors of a probability."""
    return abs(found - expected) < 4 * math.sqrt(expected * (1 - expected) / repeats)


@pytest.mark.parametrize(("calibration", "coverage"), [(19, 0.9), (25, 0.9), (50, 0.5), (99, 0.99)])
def test_the_coverage_is_that_of_the_theorem(calibration: int, coverage: float) -> None:
    """⌈(n + 1)(1 − α)⌉ / (n + 1) exactly, for scores without ties. The plain quantile of n scores would be below it."""
    scores = np.random.default_rng(0).lognormal(size=(calibration + 1, REPEATS))
    covered = scores[-1] <= conformal_quantile(scores[:-1], coverage)
    expected = math.ceil((calibration + 1) * coverage - 1e-9) / (calibration + 1)
    assert expected >= coverage
    assert within(covered.mean(), expected)


@pytest.mark.parametrize(("calibration", "coverage"), [(29, 0.9), (100, 0.9), (500, 0.9), (60, 0.5), (9, 0.1)])
def test_the_confidence_is_that_of_the_theorem(calibration: int, coverage: float) -> None:
    """Of uniform scores the bound is its own coverage. Without a confidence about half of the bounds fall short."""
    scores = np.random.default_rng(0).random((calibration, REPEATS))
    reached = (conformal_quantile(scores, coverage, confidence=0.95) >= coverage).mean()
    assert reached > 0.95 - 4 * math.sqrt(0.05 * 0.95 / REPEATS)
    assert (conformal_quantile(scores, coverage) >= coverage).mean() < 0.8
    # The least rank that does: a confidence above the one that was reached needs a higher score.
    higher = conformal_quantile(scores, coverage, confidence=min(reached + 0.02, 0.9999))
    assert (higher > conformal_quantile(scores, coverage, confidence=0.95)).all()
    assert conformal_quantile(np.zeros(28), 0.9, confidence=0.95) == np.inf


def test_splits_judge_a_bound_by_other_groups() -> None:
    """Of 199 exchangeable rows, nine of ten are covered. Rows of a group stay together: two alike are no evidence."""
    scores = np.random.default_rng(0).lognormal(size=199)
    found = split_coverage(scores, np.arange(199), splits=200, confidence=None)
    assert found.shape == (200,)
    assert abs(found.mean() - 0.9) < 0.01
    assert split_coverage(scores, np.arange(199), splits=200).mean() > 0.93
    # Two groups: the bound is the largest score of one, and the other has all its rows above or all below.
    assert set(split_coverage(np.array([1.0, 1.0, 2.0, 2.0]), np.array([0, 0, 1, 1]), confidence=None)) <= {0.0, 1.0}


def test_scores_need_not_be_independent() -> None:
    """Exchangeable is enough: a common shock of all scores does no harm."""
    random = np.random.default_rng(1)
    scores = random.normal(size=(20, REPEATS)) + 5.0 * random.normal(size=REPEATS)
    assert within((scores[-1] <= conformal_quantile(scores[:-1])).mean(), 18 / 20)


def test_a_shift_breaks_it() -> None:
    """A policy that looks for errors gets other scores than the data: nothing is promised there."""
    scores = np.random.default_rng(2).lognormal(size=(20, REPEATS))
    assert (3.0 * scores[-1] <= conformal_quantile(scores[:-1])).mean() < 0.7


def test_too_few_scores_bound_nothing() -> None:
    assert conformal_quantile(np.zeros(8), 0.9) == np.inf
    assert conformal_quantile(np.arange(9.0), 0.9) == 8.0
    with pytest.raises(ConfigError, match="coverage"):
        conformal_quantile(np.zeros(8), 0.0)


def test_a_band_keeps_whole_episodes_and_bounds_of_single_steps_do_not() -> None:
    random = np.random.default_rng(3)
    whole, single = [], []
    for _ in range(2000):
        errors = random.lognormal(size=(40, 10)) * np.arange(1, 11)
        band = conformal_band(errors[:-1], np.arange(1.0, 11.0))
        whole.append(bool((errors[-1] <= band).all()))
        single.append(bool((errors[-1] <= conformal_quantile(errors[:-1])).all()))
    assert within(float(np.mean(whole)), 36 / 40, 2000)
    assert np.mean(single) < 0.6


class Known(StubEnsemble):
    """A model that says what its fit saw."""

    metadata: dict[str, Any]


def known(rows: list[int], data: Any, **options: Any) -> Known:
    model = Known(1, 1, mean=count_up, **options)
    model.metadata = {"holdout_rows": rows, "dataset_fingerprint": data.fingerprint}
    return model


def test_the_error_by_hand() -> None:
    """It counts up where the data stay, so each elite is off by 1 + its offset. The third member is no elite.

    The reward counts only if the penalty has it.
    """
    data = still_data([0.0, 2.0], rewards=[1.0, 3.0])
    model = known([0, 1], data, offsets=[0.0, 1.0, 7.0], elites=[0, 1])
    errors, penalties = one_step_errors(model, data, np.array([0, 1]), ensemble_disagreement)
    assert errors.tolist() == [2.0, 2.0]
    assert penalties == pytest.approx([7 - 8 / 3] * 2)
    with_reward, _ = one_step_errors(model, data, np.array([0, 1]), get_penalty("ensemble-std"))
    assert with_reward == pytest.approx([math.sqrt(2**2 + 1**2)] * 2)


def test_the_coefficient_turns_the_penalty_into_a_bound() -> None:
    """With u = 4 and errors of 1, λ is 1/4, in the model that trains too."""
    data = still_data(np.zeros(30), rewards=np.ones(30))
    model = known(list(range(30)), data)

    def four(said: Any) -> Any:
        return 0 * said.observations[:, 0] + 4.0

    assert conformal_coef(model, data, four) == 0.25
    assert PenalizedModel(model, data, penalty=four, penalty_coef="conformal").penalty_coef == 0.25


def test_a_fitted_ensemble_covers_its_hold_out() -> None:
    """Nine of ten rows and a few more: the price of the confidence, here of 80 rows."""
    data = transitions(400)
    model = PenalizedModel(fitted_ensemble(data), data, penalty="ensemble-std", penalty_coef="conformal")
    rows = np.array(model.model.metadata["holdout_rows"])  # type: ignore[attr-defined]
    errors, penalties = one_step_errors(model.model, data, rows, model.penalty)
    assert 0.9 <= (errors <= model.penalty_coef * penalties).mean() < 0.97


@pytest.mark.parametrize(
    ("rows", "penalty", "message"),
    [
        ([], "ensemble-std", "needs a model that says which rows"),
        ([0, 1, 2], "ensemble-std", "on 3 rows: they are too few"),
        (list(range(20)), "none", "u is 0 on too many"),
    ],
)
def test_what_gives_no_bound_is_refused(rows: list[int], penalty: str, message: str) -> None:
    data = still_data(np.zeros(20))
    with pytest.raises(ConfigError, match=message):
        PenalizedModel(known(rows, data, std=1.0), data, penalty=penalty, penalty_coef="conformal")


def test_a_penalty_that_has_seen_the_hold_out_is_refused() -> None:
    """Its values there are not those of new rows, so they calibrate nothing."""
    data = still_data(np.arange(20.0))
    with pytest.raises(ConfigError, match="has not seen the hold-out"):
        conformal_coef(known(list(range(20)), data, std=1.0), data, NearestNeighbourPenalty(data, max_rows=3))


def test_other_data_and_other_words_are_refused() -> None:
    """Row numbers of one dataset mean nothing in another."""
    with pytest.raises(ConfigError, match="this dataset"):
        conformal_coef(known([0], still_data([1.0, 1.0])), still_data([2.0, 2.0]), ensemble_disagreement)
    with pytest.raises(ConfigError, match="penalty_coef: expected conformal, found 'best'"):
        penalized_model(penalty_coef="best")


def test_open_loop_errors_by_hand() -> None:
    """It counts up by 1 and by 2 a step, where the data stay, with a standard deviation of 1. The farthest counts."""
    data = still_data([1.0, 1.0, 1.0, -1.0, -1.0, -1.0], truncations=[False, False, True] * 2)
    model: Any = known([], data, offsets=[0.0, 1.0])
    assert open_loop_errors(model, data, np.array([0, 3]), 3).tolist() == [[2.0, 4.0, 6.0]] * 2
    with pytest.raises(ConfigError, match="3 recorded steps"):
        open_loop_errors(model, data, np.array([1]), 3)
