"""Actions that are the tanh of a Gaussian: densities and gradients against PyTorch's distributions and autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from mopo_agents.sb3.squashed_gaussian import draw, draw_actions, log_prob, unsquash

MEAN, LOG_STD = torch.tensor([[0.4]], dtype=torch.float64), torch.tensor([[-0.7]], dtype=torch.float64)


def test_the_density_is_that_of_pytorch() -> None:
    """Summed over the dimensions of an action, and of each sample alone."""
    random = torch.Generator().manual_seed(0)
    mean, log_std = torch.randn(5, 2, generator=random), 0.3 * torch.randn(5, 2, generator=random)
    raw = torch.randn(5, 3, 2, generator=random)
    expected = TransformedDistribution(Normal(mean[:, None], log_std.exp()[:, None]), [TanhTransform()])
    torch.testing.assert_close(
        log_prob(raw, mean, log_std), expected.log_prob(raw.tanh()).sum(-1), rtol=1e-4, atol=1e-4
    )


def test_the_density_integrates_to_one() -> None:
    """Over actions, −1 to 1: what is wrong with the change of variables shows here."""
    action = torch.linspace(-1, 1, 200_003, dtype=torch.float64)[1:-1]
    density = log_prob(action.atanh()[None, :, None], MEAN, LOG_STD).exp()
    assert torch.trapezoid(density[0], action).item() == pytest.approx(1.0, abs=1e-4)


def test_the_density_is_finite_where_the_tanh_saturates() -> None:
    """1 − tanh²(50) is zero in floating point, and its logarithm is not: 2 log 2 − 100."""
    for raw in (50.0, -50.0):
        found = log_prob(torch.tensor([[[raw]]]), torch.tensor([[raw]]), torch.zeros(1, 1)).item()
        assert found == pytest.approx(-0.5 * math.log(2 * math.pi) - 2 * math.log(2) + 100, rel=1e-6)


def test_draws_have_their_mean_and_spread_and_pass_gradients_on() -> None:
    torch.manual_seed(0)
    mean, log_std = MEAN.clone().requires_grad_(), LOG_STD.clone().requires_grad_()
    raw = draw(mean, log_std, 200_000)
    assert raw.shape == (1, 200_000, 1)
    assert raw.mean().item() == pytest.approx(0.4, abs=0.01)
    assert raw.std().item() == pytest.approx(math.exp(-0.7), rel=0.01)
    raw.sum().backward()
    assert mean.grad is not None
    assert log_std.grad is not None
    assert mean.grad.item() == pytest.approx(200_000)


def test_unsquash_undoes_the_tanh_and_stays_finite_at_the_bounds() -> None:
    raw = torch.tensor([[-2.0, 0.0, 1.5]])
    torch.testing.assert_close(unsquash(raw.tanh(), 1e-3), raw, rtol=1e-4, atol=1e-4)
    limit = math.atanh(0.999)
    assert unsquash(torch.tensor([[-1.0, 1.0, 0.9999]]), 1e-3).tolist()[0] == pytest.approx(
        [-limit, limit, limit], rel=1e-3
    )


def test_densities_are_those_of_a_squashed_gaussian() -> None:
    """ln π(a) = ln N(u; μ, σ) − Σ ln(1 − tanh² u), the change of variables, computed by `torch.distributions`."""
    raw = torch.tensor([[0.3, -0.4, -0.5, 0.2], [1.0, 0.0, -1.0, -2.0]])
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        drawn = draw_actions(raw, 2)
    base = Normal(raw[:, :2].double(), raw[:, 2:].double().exp())
    squashed = TransformedDistribution(base, [TanhTransform()])
    expected = squashed.log_prob(drawn.actions.double()).sum(dim=1)
    torch.testing.assert_close(drawn.log_prob.double(), expected, rtol=1e-4, atol=1e-4)


def test_the_gradient_through_a_draw_is_autograds() -> None:
    """In float64, with ln σ inside its bounds, on them, and beyond either."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    log_std = torch.tensor([-21.0, -20.0, -3.0, 0.0, 2.0, 2.5], dtype=torch.float64)[:, None].expand(6, 3)
    raw = torch.cat([mean, log_std], dim=1).requires_grad_()
    by_action = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        drawn = draw_actions(raw, 6)
    ((drawn.actions * by_action).sum() + 0.7 * drawn.log_prob.sum()).backward()
    with torch.no_grad():
        found = drawn.gradient(by_action, 0.7)
        torch.testing.assert_close(found, raw.grad, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(drawn.gradient(by_action[:2], 0.7), found[:2])
