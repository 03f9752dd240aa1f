"""Densities and gradients of SAC's actions against PyTorch's distributions and autograd."""

from __future__ import annotations

import torch

from mopo_agents.sb3.fast_sac.squashed_gaussian import draw_actions


def test_densities_are_those_of_a_squashed_gaussian() -> None:
    """ln π(a) = ln N(u; μ, σ) − Σ ln(1 − tanh² u), the change of variables, computed by `torch.distributions`."""
    raw = torch.tensor([[0.3, -0.4, -0.5, 0.2], [1.0, 0.0, -1.0, -2.0]])
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        drawn = draw_actions(raw, 2)
    base = torch.distributions.Normal(raw[:, :2].double(), raw[:, 2:].double().exp())
    squashed = torch.distributions.TransformedDistribution(base, [torch.distributions.TanhTransform()])
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
