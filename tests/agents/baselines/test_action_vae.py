"""The generative model of actions: its loss by hand, and that it draws what is on record."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from mopo_agents.baselines.bear import ActionVAE, kl_to_standard_normal, vae_loss


def test_the_divergence_of_the_latents_has_its_closed_form() -> None:
    random = torch.Generator().manual_seed(0)
    mean, log_std = torch.randn(4, 3, generator=random), torch.randn(4, 3, generator=random)
    expected = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_standard_normal(mean, log_std), expected)


def test_the_loss_by_hand() -> None:
    """Errors 1 and 3: mean square 5. Latents N(2, 1) and N(0, e²): 2 and (e² − 1)/2 − 1, of which half the mean."""
    found = vae_loss(
        torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]), torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    )
    expected = 5.0 + 0.5 * (2.0 + (math.exp(2) - 1) / 2 - 1) / 2
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_latents_are_twice_as_wide_as_actions_and_draws_stay_near_their_middle() -> None:
    """The decoder is shown no latent further out than ½: BEAR matches the likelier part of the data."""
    torch.manual_seed(0)
    vae = ActionVAE(3, 2, num_units=8, learning_rate=1e-3)
    seen: list[torch.Tensor] = []

    class Spy(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            seen.append(inputs)
            return inputs[..., :2]

    vae.decoder = Spy()  # type: ignore[assignment]
    states = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    drawn = vae.draw(states, 500)
    assert drawn.shape == (2, 500, 2)
    assert not drawn.requires_grad
    assert seen[0].shape == (2, 500, 3 + 4)
    assert (seen[0][..., :3] == states[:, None]).all()  # each state with its own draws
    latents = seen[0][..., 3:]
    assert latents.abs().max() == 0.5
    assert 0.2 < latents.std() < 0.5


def test_it_learns_to_draw_the_actions_on_record() -> None:
    """Two groups of states with actions around −0.6 and 0.4: the draws follow the state."""
    torch.manual_seed(0)
    vae = ActionVAE(1, 1, num_units=32, learning_rate=3e-3)
    sides = torch.tensor([[-1.0], [1.0]])
    first = None
    for _ in range(150):
        states = sides[torch.randint(2, (64,))]
        loss = vae.update(states, -0.1 + 0.5 * states + 0.05 * torch.randn(64, 1))
        first = loss if first is None else first
    assert first is not None
    assert loss < 0.5 * first
    drawn = vae.draw(sides, 200).tanh()
    assert drawn.mean(dim=(1, 2)).tolist() == pytest.approx([-0.6, 0.4], abs=0.1)
    assert drawn.std(dim=1).max() < 0.2
