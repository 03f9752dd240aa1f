"""A Gaussian prediction is what the paper draws from: one elite a row, then that member's own noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.models.protocol import DynamicsModel, GaussianPrediction, Prediction
from mopo_env.toys import LinearGaussianSystem, StubEnsemble, TabularMDP

ROWS = 30_000


def prediction(mean: torch.Tensor, std: torch.Tensor, elites: list[int]) -> GaussianPrediction:
    rows = mean.shape[1]
    return GaussianPrediction(
        observations=torch.zeros(rows, mean.shape[2] - 1),
        actions=torch.zeros(rows, 1),
        mean=mean,
        std=std,
        elites=torch.tensor(elites),
    )


def test_the_last_output_is_the_reward() -> None:
    """Everything else reads the reward from there; without noise a draw is the mean, to the bit."""
    mean = torch.tensor([[[1.5, -2.5, 7.25], [0.1, 0.2, 0.3]]])
    observations, rewards = prediction(mean, torch.zeros_like(mean), [0]).sample(torch.Generator())
    assert torch.equal(observations, mean[0, :, :2])
    assert torch.equal(rewards, mean[0, :, 2])


def test_draws_have_the_stated_mean_and_standard_deviation() -> None:
    """A variance used as a standard deviation, or the reverse, would leave every shape right and every number wrong."""
    mean = torch.tensor([3.0, -1.0, 0.5]).expand(1, ROWS, 3)
    std = torch.tensor([0.1, 4.0, 2.0])
    observations, rewards = prediction(mean, std.expand_as(mean), [0]).sample(torch.Generator().manual_seed(1))
    draws = torch.cat([observations, rewards[:, None]], dim=1)
    z_mean = (draws.mean(dim=0) - mean[0, 0]) / (std / math.sqrt(ROWS))
    z_std = (draws.std(dim=0) - std) / (std / math.sqrt(2 * ROWS))
    assert z_mean.abs().max() < 5
    assert z_std.abs().max() < 5
    # A noise shared by the outputs would pass all of the above: correlations of ROWS draws stay within 5 / √ROWS.
    off_diagonal = torch.corrcoef(draws.T) - torch.eye(3)
    assert off_diagonal.abs().max() < 5 / math.sqrt(ROWS)


def test_each_row_picks_one_elite_and_all_its_outputs_come_from_it() -> None:
    """Members' offsets 10, 11, 12, 13 tell who spoke; a draw per output, or one for the batch, would show."""
    offsets = torch.tensor([10.0, 11.0, 12.0, 13.0])
    mean = offsets[:, None, None].expand(4, ROWS, 3)
    elites = [3, 0, 2]
    observations, rewards = prediction(mean, torch.zeros_like(mean), elites).sample(torch.Generator().manual_seed(2))
    assert torch.equal(observations[:, 0], rewards)
    assert torch.equal(observations[:, 1], rewards)
    counts = torch.stack([(rewards == offsets[member]).sum() for member in elites])
    assert counts.sum() == ROWS, "a non-elite, or a mixture of members, was drawn"
    chi_square = ((counts - ROWS / 3) ** 2 / (ROWS / 3)).sum()
    assert chi_square < 13.8, "99.9 % of fair draws stay below this with two degrees of freedom"


def test_draws_depend_on_the_given_generator_alone() -> None:
    mean = torch.zeros(5, 50, 3)
    drawn = prediction(mean, torch.ones_like(mean), [0, 1, 4])
    before = torch.get_rng_state()
    first = drawn.sample(torch.Generator().manual_seed(7))
    torch.manual_seed(123)
    again = drawn.sample(torch.Generator().manual_seed(7))
    other = drawn.sample(torch.Generator().manual_seed(8))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    torch.set_rng_state(before)
    drawn.sample(torch.Generator().manual_seed(7))
    assert torch.equal(torch.get_rng_state(), before)


def test_one_generator_gives_fresh_noise_on_every_call() -> None:
    """Reseeding within `sample` would repeat the same noise at every step of a rollout."""
    mean = torch.zeros(2, 50, 3)
    drawn, generator = prediction(mean, torch.ones_like(mean), [0, 1]), torch.Generator().manual_seed(0)
    assert not torch.equal(drawn.sample(generator)[0], drawn.sample(generator)[0])


TABULAR = TabularMDP(probabilities=np.ones((2, 2, 2)) / 2, rewards=np.zeros((2, 2)), start=np.ones(2) / 2, discount=0.9)


@pytest.mark.parametrize(
    "model",
    [
        GaussianEnsemble(2, 2, hidden_sizes=(4,)),
        StubEnsemble(2, 2, mean=lambda s, a: (s, s[:, 0])),
        LinearGaussianSystem(b=((0.0, 1.0), (1.0, 0.0)), r=((1.0, 0.0), (0.0, 1.0))).model(),
        TABULAR.model(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_our_models_fit_the_protocol(model: DynamicsModel) -> None:
    """The core asks for nothing else, so these four attributes are all a user's own model must offer."""
    assert isinstance(model, DynamicsModel)
    assert (model.observation_dim, model.action_dim, model.device) == (2, 2, torch.device("cpu"))
    said = model.predict(torch.eye(2), torch.zeros(2, 2))
    assert isinstance(said, Prediction)
    observations, rewards = said.sample(torch.Generator())
    assert observations.shape == (2, 2)
    assert rewards.shape == (2,)


def test_what_lacks_a_method_is_no_model() -> None:
    assert not isinstance(object(), DynamicsModel)
    assert not isinstance(object(), Prediction)


def test_a_rows_member_can_be_given() -> None:
    """What keeps one member for a whole rollout says which: no other one's mean nor std may enter."""
    mean = torch.tensor([0.0, 100.0, 200.0])[:, None, None].expand(3, ROWS, 2)
    std = torch.tensor([1.0, 2.0, 3.0])[:, None, None].expand(3, ROWS, 2)
    members = torch.arange(ROWS) % 3
    observations, rewards = prediction(mean, std, [0]).sample_from(members, torch.Generator().manual_seed(3))
    for member in range(3):
        for drawn in (observations[members == member, 0], rewards[members == member]):
            z_mean = (drawn.mean() - 100.0 * member) / ((member + 1) / math.sqrt(len(drawn)))
            z_std = (drawn.std() / (member + 1) - 1) * math.sqrt(2 * len(drawn))
            assert max(abs(z_mean), abs(z_std)) < 5


def test_without_a_generator_the_members_mean_is_returned() -> None:
    mean = torch.arange(12.0).reshape(3, 2, 2)
    observations, rewards = prediction(mean, torch.full_like(mean, 9.0), [0]).sample_from(torch.tensor([2, 1]), None)
    assert torch.equal(observations, mean[[2, 1], [0, 1], :1])
    assert torch.equal(rewards, mean[[2, 1], [0, 1], 1])
