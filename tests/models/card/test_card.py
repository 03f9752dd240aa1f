"""The report card calls the failures by name that once passed in silence, and stays silent where nothing is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.thermal_log import thermal_log

from mopo_env.errors import ConfigError, SpaceMismatchError, StoreError
from mopo_env.figures.canvas import save_figure
from mopo_env.figures.model import draw_model_card
from mopo_env.models.card.card import model_card, rank_correlation
from mopo_env.models.card.scores import ModelCard
from mopo_env.models.card.text import card_text
from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import PRESETS, FitConfig
from mopo_env.toys import LinearGaussianSystem
from mopo_env.transitions import Transitions

NAMES = {"observations": ["room", "wall", "pressure"], "actions": ["heat"], "reward": ["worth"]}
SYSTEM = LinearGaussianSystem()
NORMALISED = {"name": "learned-variance", "units": "normalised"}


def fitted(transitions: Transitions, **options: Any) -> GaussianEnsemble:
    small = {"num_members": 3, "num_elites": 2, "hidden_sizes": (32, 32), "weight_decay": (1e-5, 1e-5, 1e-5)}
    return fit_ensemble(transitions, FitConfig(**{**small, **options}), progress=False)


@pytest.fixture(scope="module")
def log() -> Transitions:
    return replace(thermal_log(), metadata={"columns": NAMES})


@pytest.fixture(scope="module")
def healthy(log: Transitions) -> ModelCard:
    return model_card(fitted(log), log, penalty=NORMALISED)


def test_nothing_looks_wrong_in_a_good_fit(healthy: ModelCard) -> None:
    """A card that always finds something is read by nobody."""
    assert healthy.problems == ()
    assert "Nothing looks wrong." in card_text(healthy)


def test_numbers_are_those_of_the_known_noise(healthy: ModelCard, log: Transitions) -> None:
    """Stds of 0.05 °C and 40 Pa are in the log: the errors are as large, and the predicted stds are calibrated."""
    columns = {column.name: column for column in healthy.columns}
    assert list(columns) == ["room", "wall", "pressure", "reward"]
    assert columns["room"].rmse == pytest.approx(0.05, rel=0.15)
    assert columns["pressure"].rmse == pytest.approx(40.0, rel=0.15)
    change = log.next_observations.astype(np.float64) - log.observations
    assert columns["room"].unchanged == pytest.approx(np.sqrt((change[:, 0] ** 2).mean()), rel=0.1)
    for column in healthy.columns:
        assert column.z2 == pytest.approx(1.0, abs=0.25)
        assert column.within_68 == pytest.approx(0.683, abs=0.06)
        assert column.within_95 == pytest.approx(0.95, abs=0.03)


def test_the_log_in_pascals_fitted_in_raw_units_is_called_by_name(log: Transitions) -> None:
    """The fit once ended happily: the pressure's std was far too small, and the penalty one constant for all rows."""
    card = model_card(fitted(log, **PRESETS["paper"]), log, penalty="learned-variance")
    text = " ".join(card.problems)
    assert "standard deviation of 'pressure' is" in text
    assert "times too small" in text
    assert "the penalty does not tell where the model is wrong" in text


def test_a_penalty_in_raw_units_that_sees_one_column_is_named(log: Transitions) -> None:
    """With scaled targets the model is right, and the penalty is still that of the pressure alone."""
    card = model_card(fitted(log), log)
    assert any("'pressure' has 100.00% of the predicted variance" in problem for problem in card.problems)


def test_a_reward_of_noise_is_named() -> None:
    found = SYSTEM.transitions(num_episodes=1500, num_steps=2)
    noisy = replace(found, rewards=np.random.default_rng(0).normal(size=len(found)))
    card = model_card(fitted(noisy), noisy)
    assert any(problem.startswith("'reward' is predicted no better than by its mean") for problem in card.problems)


def test_members_that_are_hardly_trained_are_named(healthy: ModelCard, log: Transitions) -> None:
    ensemble = fitted(log, max_epochs=4)
    ensemble.metadata["holdout_score_history"] = [[0.0] * 3, *([[1.0] * 3] * 71)]
    assert any("kept after 1 of 72 epochs" in problem for problem in model_card(ensemble, log).problems)


def test_rollouts_that_leave_the_data_are_counted(log: Transitions) -> None:
    """A model that runs away does so whatever its one-step error says: here each step adds half of the data's range."""
    ensemble = fitted(log, max_epochs=4)
    with torch.no_grad():
        ensemble.mean_head.bias[..., 0] += 0.5 * float(np.ptp(log.observations[:, 0]))
    card = model_card(ensemble, log, lengths=(1, 2, 5))
    assert [score.steps for score in card.rollouts] == [1, 2, 5]
    assert card.rollouts[-1].outside > 0.9
    assert any("of the rollouts leave the data's range within" in problem for problem in card.problems)


def test_the_picture_has_a_bar_for_every_column(healthy: ModelCard, tmp_path: Path) -> None:
    """The file is a picture, and a folder that is not there is said to be the reason if it cannot be written."""
    pytest.importorskip("matplotlib")
    assert save_figure(draw_model_card(healthy), tmp_path / "card.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(StoreError, match=r"nowhere.*the picture cannot be written"):
        save_figure(draw_model_card(healthy), tmp_path / "nowhere" / "card.png")


def test_other_data_are_refused(log: Transitions) -> None:
    """The hold-out is known by its rows: in other data these are rows like any other."""
    ensemble = fitted(log, max_epochs=1)
    with pytest.raises(SpaceMismatchError, match="fitted to other data"):
        model_card(ensemble, thermal_log(seed=1))
    del ensemble.metadata["holdout_rows"]
    with pytest.raises(ConfigError, match="which rows its fit never saw"):
        model_card(ensemble, log)


def test_rank_correlation_by_hand() -> None:
    """1 for any rising relation, −1 for a falling one, 0 for a constant."""
    rising = np.array([1.0, 2.0, 3.0, 10.0])
    assert rank_correlation(rising, rising**3) == pytest.approx(1.0)
    assert rank_correlation(rising, -rising) == pytest.approx(-1.0)
    assert rank_correlation(rising, np.ones(4)) == 0.0
    # Ranks ½, ½, 2½, 3½ less their mean 2 against −1½ … 1½: tied values must not be ranked by their order in the array.
    tied = np.array([1.0, 1.0, 2.0, 3.0])
    assert rank_correlation(tied, rising) == pytest.approx(rank_correlation(tied, rising[[1, 0, 2, 3]]))
    assert rank_correlation(tied, rising) == pytest.approx(4.5 / np.sqrt(4.5 * 5.0))


def test_names_from_strangers_files_do_not_reach_the_terminal(log: Transitions) -> None:
    """A column may be called like a command to the terminal; one called reward is a column like any other."""
    named = replace(log, metadata={"columns": {"observations": ["\x1b[2J", "reward", "$x$"]}})
    ensemble = fitted(named, max_epochs=1)
    assert "\x1b" not in card_text(model_card(ensemble, named))
    save_figure(draw_model_card(model_card(ensemble, named)), "card.png")
