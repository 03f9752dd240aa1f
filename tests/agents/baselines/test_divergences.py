"""MMD and KL against numbers computed by hand and closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from mopo_agents.baselines.divergences import KERNELS, gaussian_kernel, kl_estimate, laplacian_kernel, mmd
from mopo_agents.sb3.squashed_gaussian import draw, log_prob

ROOT_MARGIN = 1e-6
E = math.exp


def actions(*rows: list[float]) -> torch.Tensor:
    """One state, one number an action."""
    return torch.tensor(rows, dtype=torch.float64)[..., None]


@pytest.mark.parametrize(
    ("kernel", "sigma", "expected"),
    [
        # x = {0, 1}, y = {0, 2}: distances 0 and 1 within x, 0 and 2 within y, 0, 2, 1, 1 across.
        (gaussian_kernel, 0.5, (2 + 2 * E(-1)) / 4 + (2 + 2 * E(-4)) / 4 - 2 * (1 + E(-4) + 2 * E(-1)) / 4),
        (gaussian_kernel, 2.0, (2 + 2 * E(-1 / 4)) / 4 + (2 + 2 * E(-1)) / 4 - 2 * (1 + E(-1) + 2 * E(-1 / 4)) / 4),
        (laplacian_kernel, 0.5, (2 + 2 * E(-1)) / 4 + (2 + 2 * E(-2)) / 4 - 2 * (1 + E(-2) + 2 * E(-1)) / 4),
    ],
)
def test_mmd_of_two_points_each(kernel: Any, sigma: float, expected: float) -> None:
    """By hand, over all pairs, those of an action with itself included, and the root of it."""
    found = mmd(actions([0.0, 1.0]), actions([0.0, 2.0]), kernel, sigma)
    assert found.tolist() == pytest.approx([math.sqrt(expected + ROOT_MARGIN)], rel=1e-12)


def test_kernels_of_several_dimensions() -> None:
    """The Gaussian takes the square of the Euclidean norm, the Laplacian the sum of absolute values; both over 2σ."""
    difference = torch.tensor([3.0, -4.0])
    assert gaussian_kernel(difference, 5.0).item() == pytest.approx(E(-25 / 10))
    assert laplacian_kernel(difference, 5.0).item() == pytest.approx(E(-7 / 10))


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_mmd_of_equal_sets_is_zero_with_a_finite_slope(kernel: Any) -> None:
    """The root has no slope at zero: without the margin the first actor that matches its data would turn into NaN."""
    first = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = mmd(first, first.detach()[:, [2, 0, 3, 1]], kernel, 20.0)  # a set has no order
    assert found.tolist() == pytest.approx([math.sqrt(ROOT_MARGIN)] * 5, abs=3e-4)
    found.sum().backward()
    assert first.grad is not None
    assert first.grad.isfinite().all()


def test_mmd_is_symmetric_and_of_each_state_alone() -> None:
    """A mean over the batch would let one state pay for another."""
    random = torch.Generator().manual_seed(1)
    first, second = torch.randn(3, 4, 2, generator=random), torch.randn(3, 6, 2, generator=random)
    found = mmd(first, second, gaussian_kernel, 1.0)
    torch.testing.assert_close(found, mmd(second, first, gaussian_kernel, 1.0))
    for state in range(3):
        alone = mmd(first[[state]], second[[state]], gaussian_kernel, 1.0)
        torch.testing.assert_close(alone, found[[state]])


def test_mmd_grows_with_the_distance() -> None:
    here = actions([0.0, 0.1])
    found = [mmd(here, here + shift, gaussian_kernel, 20.0).item() for shift in (0.0, 0.2, 0.5, 1.0)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(1.0 / math.sqrt(20.0), rel=0.02)  # of a wide kernel, the shift over √σ


def test_the_estimate_of_mmd_is_biased_as_its_docstring_says() -> None:
    """Two draws of one distribution: an unbiased estimate of MMD² is zero on average, this one tr(Σ)(1/n + 1/m)/σ.

    It is why BEAR's threshold of 0.05 cannot be compared between numbers of samples.
    """
    random = torch.Generator().manual_seed(2)
    first, second = (torch.randn(20_000, n, 1, generator=random, dtype=torch.float64) for n in (4, 8))
    found = (mmd(first, second, gaussian_kernel, 1000.0).square() - ROOT_MARGIN).mean().item()
    assert found == pytest.approx((1 / 4 + 1 / 8) / 1000.0, rel=0.03)


MEANS = torch.tensor([[0.3, -0.2], [0.0, 0.5]], dtype=torch.float64)
LOG_STDS = torch.tensor([[-1.0, -0.5], [-1.5, -0.7]], dtype=torch.float64)
OTHER = torch.tensor([[0.0, 0.1], [0.2, 0.2]], dtype=torch.float64), torch.full((2, 2), -0.6, dtype=torch.float64)


def test_kl_estimate_is_the_divergence_of_the_gaussians() -> None:
    """The tanh changes both densities by one factor, so the divergence is that of the Gaussians, in closed form."""
    torch.manual_seed(0)
    expected = kl_divergence(Normal(MEANS, LOG_STDS.exp()), Normal(OTHER[0], OTHER[1].exp())).sum(dim=1)
    found = kl_estimate(draw(MEANS, LOG_STDS, 400_000), (MEANS, LOG_STDS), OTHER)
    assert found.tolist() == pytest.approx(expected.tolist(), rel=0.01)
    assert (expected > 0.1).all()  # else any estimate near zero would do
    # The other way round is another number: which of the two it is can be told.
    reverse = kl_divergence(Normal(OTHER[0], OTHER[1].exp()), Normal(MEANS, LOG_STDS.exp())).sum(dim=1)
    assert (reverse / expected - 1.0).abs().min() > 0.1


def test_kl_of_equal_policies_is_zero() -> None:
    found = kl_estimate(draw(MEANS, LOG_STDS, 4), (MEANS, LOG_STDS), (MEANS, LOG_STDS))
    assert found.tolist() == pytest.approx([0.0, 0.0], abs=1e-12)


def test_the_behaviour_policy_is_asked_no_nearer_to_a_bound_than_a_thousandth() -> None:
    """An action that saturates the tanh has the log density −10⁷ under a narrow behaviour policy; one would do."""
    mean, narrow = torch.zeros(1, 1), torch.full((1, 1), -5.0)
    far = torch.tensor([[[30.0]]])
    found = kl_estimate(far, (torch.full((1, 1), 30.0), torch.zeros(1, 1)), (mean, narrow))
    limit = torch.tensor([[[math.atanh(0.999)]]])
    own = log_prob(far, torch.full((1, 1), 30.0), torch.zeros(1, 1))
    torch.testing.assert_close(found, (own - log_prob(limit, mean, narrow))[:, 0])


def test_the_gradient_of_kl_reaches_the_policy() -> None:
    """The estimate is of no use to an actor that it does not move: down the gradient, towards the behaviour policy."""
    torch.manual_seed(0)
    mean, log_std = MEANS.clone().requires_grad_(), LOG_STDS.clone().requires_grad_()
    kl_estimate(draw(mean, log_std, 50_000), (mean, log_std), OTHER).sum().backward()
    # d KL / dμ = (μ − μ_b)/σ_b², and d KL / d log σ = σ²/σ_b² − 1, in closed form
    variance = (2.0 * OTHER[1]).exp()
    torch.testing.assert_close(mean.grad, (MEANS - OTHER[0]) / variance, rtol=0.03, atol=0.02)
    torch.testing.assert_close(log_std.grad, (2.0 * LOG_STDS).exp() / variance - 1.0, rtol=0.03, atol=0.02)
