"""A Gaussian prediction is what the paper draws from: one elite a row, then that member's own noise."""

from __future__ import annotations

import math

import torch
from helpers.models import generator

from mopo_env.models.protocol import GaussianPrediction

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
    observations, rewards = prediction(mean, torch.zeros_like(mean), [0]).sample(generator())
    assert torch.equal(observations, mean[0, :, :2])
    assert torch.equal(rewards, mean[0, :, 2])


def test_draws_have_the_stated_mean_and_standard_deviation() -> None:
    """A variance used as a standard deviation, or the reverse, would leave every shape right and every number wrong."""
    mean = torch.tensor([3.0, -1.0, 0.5]).expand(1, ROWS, 3)
    std = torch.tensor([0.1, 4.0, 2.0])
    observations, rewards = prediction(mean, std.expand_as(mean), [0]).sample(generator(1))
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
    observations, rewards = prediction(mean, torch.zeros_like(mean), elites).sample(generator(2))
    assert torch.equal(observations[:, 0], rewards)
    assert torch.equal(observations[:, 1], rewards)
    counts = torch.stack([(rewards == offsets[member]).sum() for member in elites])
    assert counts.sum() == ROWS, "a non-elite, or a mixture of members, was drawn"
    chi_square = ((counts - ROWS / 3) ** 2 / (ROWS / 3)).sum()
    assert chi_square < 13.8, "99.9 % of fair draws stay below this with two degrees of freedom"


def test_one_generator_gives_fresh_noise_on_every_call() -> None:
    """Reseeding within `sample` would repeat the same noise at every step of a rollout."""
    mean = torch.zeros(2, 50, 3)
    drawn, stream = prediction(mean, torch.ones_like(mean), [0, 1]), generator()
    assert not torch.equal(drawn.sample(stream)[0], drawn.sample(stream)[0])


def test_a_rows_member_can_be_given() -> None:
    """What keeps one member for a whole rollout says which: no other one's mean nor std may enter."""
    mean = torch.tensor([0.0, 100.0, 200.0])[:, None, None].expand(3, ROWS, 2)
    std = torch.tensor([1.0, 2.0, 3.0])[:, None, None].expand(3, ROWS, 2)
    members = torch.arange(ROWS) % 3
    observations, rewards = prediction(mean, std, [0]).sample_from(members, generator(3))
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
