"""Figures of data and model: numbers in them that can be checked, and no trace in matplotlib's global state."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.transitions import transitions

from mopo_env import PenalizedModel
from mopo_env.errors import ConfigError, StoreError
from mopo_env.models.protocol import GaussianPrediction

pytest.importorskip("matplotlib")

from mopo_env.figures.canvas import new_figure, picture, save_figure
from mopo_env.figures.data import draw_coverage, principal_components
from mopo_env.figures.model import draw_penalty_against_error, draw_penalty_field, draw_trajectories

DATA = transitions(40, widths=(3, 1))


class Drift:
    """A model of two members that says: nothing changes, and the std is the distance from the origin."""

    device = torch.device("cpu")
    observation_dim, action_dim = 3, 1
    elites = torch.tensor([0, 1])
    metadata = {"holdout_rows": list(range(20))}  # noqa: RUF012

    def predict(self, observations: torch.Tensor, actions: torch.Tensor) -> GaussianPrediction:
        mean = torch.cat([observations, torch.zeros(len(observations), 1)], dim=1).repeat(2, 1, 1)
        std = observations.norm(dim=1)[None, :, None].expand_as(mean)
        return GaussianPrediction(
            observations=observations, actions=actions, mean=mean, std=std, elites=self.elites, target_std=None
        )


def far(prediction: GaussianPrediction) -> torch.Tensor:
    return prediction.observations.norm(dim=1)


@pytest.fixture
def model() -> PenalizedModel:
    return PenalizedModel(Drift(), DATA, penalty=far, envelope_margin=None, envelope_quantile=None)


def test_principal_components_of_a_line() -> None:
    """Two columns that are one, and a third of noise: the first component is the diagonal, with 2 of 3 variances."""
    line, noise = np.linspace(-1.0, 1.0, 1001), np.tile([1.0, -1.0], 501)[:1001]
    places, shares = principal_components(np.stack([5.0 * line, line + 7.0, noise], axis=1))
    np.testing.assert_allclose(shares, [2 / 3, 1 / 3], atol=0.01)
    np.testing.assert_allclose(places[:, 0], np.sqrt(2.0) * line / line.std(), atol=0.01)


def test_coverage_shows_columns_or_components() -> None:
    names = [draw_coverage(DATA, chosen).axes[0].get_xlabel() for chosen in ((2, 0), None)]
    assert names[0] == DATA.observation_names[2]
    assert names[1].startswith("component 1 (")
    assert draw_coverage(DATA, points=7).axes[0].get_title(loc="left") == "7 of 40 states"


def test_the_field_reaches_beyond_the_data(model: PenalizedModel) -> None:
    """By half of the range on either side: inside it alone, every penalty looks well."""
    axes = draw_penalty_field(model, (2, 0), points=5).axes[0]
    low, high = DATA.observations[:, 2].min(), DATA.observations[:, 2].max()
    np.testing.assert_allclose(axes.get_xlim(), [low - 0.5 * (high - low), high + 0.5 * (high - low)], rtol=1e-5)
    assert (axes.get_xlabel(), axes.get_ylabel()) == (DATA.observation_names[2], DATA.observation_names[0])


def test_trajectories_begin_in_the_recorded_state(model: PenalizedModel) -> None:
    """The dashed line is the recording; the band and the median begin in it."""
    axes = draw_trajectories(model, (1,), episode=0, steps=4, rollouts=20).axes[0]
    median, recorded = (np.asarray(line.get_ydata()) for line in axes.lines)
    np.testing.assert_array_equal(recorded[1:], DATA.next_observations[: len(recorded) - 1, 1])
    assert median[0] == recorded[0] == DATA.observations[0, 1]


def test_errors_are_those_of_the_hold_out(model: PenalizedModel) -> None:
    """By hand: nothing changes, says the model, so its error is the change, and its reward is 0."""
    line = draw_penalty_against_error(model).axes[0].lines[0]
    found = {round(float(x), 5): float(y) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}
    rows = slice(0, 20)
    change = np.column_stack([DATA.next_observations - DATA.observations, DATA.rewards])[rows].astype(np.float64)
    expected = np.linalg.norm(change / change.std(axis=0), axis=1)
    for x, y in zip(np.linalg.norm(DATA.observations[rows], axis=1), expected, strict=True):
        assert found[round(float(x), 5)] == pytest.approx(y, rel=1e-4)


def test_models_without_members_or_hold_out_are_refused(model: PenalizedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drift, "metadata", {})
    with pytest.raises(ConfigError, match="rows: expected some"):
        draw_penalty_against_error(model)
    monkeypatch.setattr(Drift, "elites", None)
    with pytest.raises(ConfigError, match="model: expected one with members, found a Drift"):
        draw_trajectories(model)


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    figure, _ = new_figure()
    assert save_figure(figure, tmp_path / "a.png").read_bytes() == picture(figure, "b.png")
    with pytest.raises(StoreError, match=r"a.xyz: the picture cannot be written"):
        save_figure(figure, tmp_path / "a.xyz")
    assert [path.name for path in tmp_path.glob("a*")] == ["a.png"]


def test_pyplot_is_not_even_imported(model: PenalizedModel) -> None:
    """Its figures stay open for ever, and its backend may want a screen."""
    before = sys.modules.pop("matplotlib.pyplot", None)
    draw_coverage(DATA)
    draw_penalty_field(model, points=3)
    assert "matplotlib.pyplot" not in sys.modules
    if before is not None:
        sys.modules["matplotlib.pyplot"] = before
