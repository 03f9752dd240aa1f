"""The linear-Gaussian system has known answers, which are checked here, since users test against them."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError
from mopo_env.penalties import learned_variance
from mopo_env.toys import LinearGaussianSystem

SYSTEM = LinearGaussianSystem(
    a=((0.9, 0.2), (-0.1, 1.1)), b=((0.3,), (0.7,)), q=((1.0, 0.2), (0.2, 2.0)), r=((0.5,),), reward_std=0.11
)


def test_the_model_is_the_system() -> None:
    prediction = SYSTEM.model().predict(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.4]]))
    # x′ = (0.9·1 − 0.2·2 + 0.3·0.4, −0.1·1 − 1.1·2 + 0.7·0.4); r = −(1 − 2·0.2·2 + 2·4 + 0.5·0.16)
    expected = torch.tensor([[[0.62, -2.02, -8.28]]])
    torch.testing.assert_close(prediction.mean, expected)
    torch.testing.assert_close(prediction.std, torch.tensor([[[0.05, 0.02, 0.11]]]))
    assert learned_variance(prediction).item() == pytest.approx(np.linalg.norm(SYSTEM.output_std))


def test_recorded_transitions_obey_the_system() -> None:
    """Residuals have the stated std, no mean and no correlation; every figure within five standard errors."""
    recorded = SYSTEM.transitions(num_episodes=400, num_steps=20, seed=1)
    rows = len(recorded)
    assert rows == 8000
    means = SYSTEM.model().predict(torch.tensor(recorded.observations), torch.tensor(recorded.actions)).mean[0]
    outcome = np.column_stack([recorded.next_observations, recorded.rewards])
    residuals = (outcome - means.numpy()) / SYSTEM.output_std
    assert np.abs(residuals.mean(axis=0)).max() < 5 / math.sqrt(rows)
    assert np.abs(residuals.std(axis=0) - 1).max() < 5 / math.sqrt(2 * rows)
    assert np.abs(np.corrcoef(residuals.T) - np.eye(3)).max() < 5 / math.sqrt(rows)
    assert np.abs((residuals[1:] * residuals[:-1]).mean(axis=0)).max() < 5 / math.sqrt(rows), "white in time"


def test_recorded_episodes_are_whole() -> None:
    recorded = SYSTEM.transitions(num_episodes=3, num_steps=4)
    assert recorded.episode_ends.tolist() == [3, 7, 11]
    assert recorded.truncations.sum() == 3
    assert not recorded.terminations.any()
    inside = np.delete(np.arange(11), recorded.episode_ends[:-1])
    np.testing.assert_array_equal(recorded.next_observations[inside], recorded.observations[inside + 1])


def test_recording_depends_on_the_seed_alone() -> None:
    fingerprints = [SYSTEM.transitions(seed=seed).fingerprint for seed in (0, 0, 1)]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_the_limit_of_the_input_is_the_action_space() -> None:
    system = LinearGaussianSystem(input_limit=3.0)
    recorded = system.transitions()
    assert recorded.action_space.high.tolist() == [3.0]
    assert 2 < np.abs(recorded.actions).max() <= 3


def test_start_transitions_start_where_they_say() -> None:
    penalized_model = PenalizedModel(SYSTEM.model(), SYSTEM.start_transitions([0.25, -0.5]))
    assert penalized_model.reset(5, torch.Generator()).tolist() == [[0.25, -0.5]] * 5


def test_the_expected_return_of_two_steps_by_hand() -> None:
    """x′ = x/2 + w, no input, r = −x²: from x = 2 that is −4, then −(1 + σ²), less λ times the norm of both stds."""
    system = LinearGaussianSystem(a=((0.5,),), b=((1.0,),), q=((1.0,),), r=((1.0,),), noise_std=(0.3,), reward_std=0.4)
    found = system.expected_return(((0.0,),), [2.0], horizon=2, discount=0.9, penalty_coef=2.0)
    assert found == pytest.approx(-4 - 2 * 0.5 + 0.9 * (-(1 + 0.09) - 2 * 0.5))


def test_a_gain_pays_for_the_input_it_uses() -> None:
    """u = −Kx costs R·K²x² in the same step and moves the next state."""
    system = LinearGaussianSystem(a=((1.0,),), b=((1.0,),), q=((1.0,),), r=((0.5,),), noise_std=(0.0,), reward_std=0.0)
    assert system.expected_return(((0.5,),), [2.0], horizon=2) == pytest.approx(-(4 + 0.5) - (1 + 0.125))


@pytest.mark.parametrize(("start", "limit"), [(-2.1, 1.0), (0.0, 0.09)], ids=["the state's", "the noise's"])
def test_a_return_that_the_limit_changes_is_refused(start: float, limit: float) -> None:
    """Environments clip inputs: the linear formula would be far from what anything in them can reach."""
    system: dict[str, Any] = {"a": ((1.0,),), "b": ((1.0,),), "q": ((1.0,),), "r": ((0.5,),), "noise_std": (0.05,)}
    with pytest.raises(ConfigError, match=rf"input_limit: inputs reach .* beyond {limit:g}"):
        LinearGaussianSystem(**system, input_limit=limit).expected_return(((0.5,),), [start], horizon=3)
    LinearGaussianSystem(**system, input_limit=1.5 * limit).expected_return(((0.5,),), [start], horizon=3)


@pytest.mark.parametrize("model", [SYSTEM.model(), LinearGaussianSystem().model(std=0.5, num_members=2)])
def test_a_toy_survives_pickling(model: Any) -> None:
    """Worker processes of a vector environment are sent their environments."""
    arguments = torch.ones(2, 2), torch.ones(2, 1)
    copied = pickle.loads(pickle.dumps(model)).predict(*arguments)  # noqa: S301
    assert torch.equal(copied.std, model.predict(*arguments).std)
