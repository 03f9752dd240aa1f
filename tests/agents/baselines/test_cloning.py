"""Behaviour cloning finds a known policy, and its actor cannot become a point."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from mopo_agents.baselines.cloning import BoundedActorCriticPolicy, BoundedActorPolicy, Cloner

SPACES = Box(-1, 1, (2,), np.float32), Box(-1, 1, (1,), np.float32)


def policy(kind: Any = BoundedActorPolicy) -> Any:
    torch.manual_seed(0)
    return kind(*SPACES, lambda _: 1e-3, net_arch=[16])


def parameters(actor: Any, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mean, log_std, _ = actor.get_action_dist_params(states)
    return mean.detach(), log_std.detach()


@pytest.mark.parametrize(("weight", "expected"), [(1e6, 0.0), (-1e6, -5.0), (0.0, -2.5)])
def test_the_log_standard_deviation_is_bounded(weight: float, expected: float) -> None:
    """With Stable-Baselines3's lower bound of −20, one odd action has a log density of −10¹⁵."""
    actor = policy().actor
    torch.nn.init.zeros_(actor.log_std.weight)
    torch.nn.init.constant_(actor.log_std.bias, weight)
    _, log_std = parameters(actor, torch.randn(3, 2))
    assert log_std.unique().tolist() == pytest.approx([expected])


def test_the_policies_hold_what_they_say() -> None:
    """The clone has no critics to save; both act with the bounded actor."""
    assert not any("critic" in name for name in policy().state_dict())
    assert any("critic" in name for name in policy(BoundedActorCriticPolicy).state_dict())
    states = np.zeros((4, 2), dtype=np.float32)
    for kind in (BoundedActorPolicy, BoundedActorCriticPolicy):
        made = policy(kind)
        mean, _ = parameters(made.actor, torch.zeros(4, 2))
        np.testing.assert_allclose(made.predict(states, deterministic=True)[0], mean.tanh().numpy(), atol=1e-6)


def test_it_recovers_mean_and_spread_of_a_known_policy() -> None:
    """Maximum likelihood on tanh(N(0.5·s, 0.4²)): the fit must say so, up to the entropy's small weight."""
    actor = policy().actor
    cloner = Cloner(actor, learning_rate=5e-3)
    for _ in range(500):
        states = 2.0 * torch.rand(128, 2) - 1.0
        cloner.update(states, (0.5 * states[:, :1] + 0.4 * torch.randn(128, 1)).tanh())
    states = torch.tensor([[-0.8, 0.0], [0.0, 0.5], [0.8, -0.5]])
    mean, log_std = parameters(actor, states)
    assert mean[:, 0].tolist() == pytest.approx([-0.4, 0.0, 0.4], abs=0.08)
    assert log_std.exp()[:, 0].tolist() == pytest.approx([0.4] * 3, rel=0.2)
    # Its entropy, about 0.3, is above −1 all along, so the constraint's weight falls and leaves plain likelihood.
    assert cloner.entropy_weight.value < 0.2


def test_one_action_over_and_over_does_not_make_a_point_of_it() -> None:
    """Without the entropy's share the likelihood has no maximum, and BRAC's divergence from a point is infinite.

    Spread and weight circle around where both stand still, so it is their means over time that are known: −dim(A) = −1
    is the entropy of a Gaussian of log standard deviation −2.42, near which the tanh changes little, and a weight of 1
    balances the likelihood. Three seeds gave −2.35 to −2.36 and 1.05 to 1.07; with no weight it is −5, the bound.
    """
    actor = policy().actor
    cloner = Cloner(actor, learning_rate=5e-3)
    seen = []
    for _ in range(1000):
        cloner.update(torch.randn(64, 2), torch.full((64, 1), 0.2))
        mean, log_std = parameters(actor, torch.randn(20, 2))
        seen.append(torch.stack([mean.tanh().mean(), log_std.mean(), cloner.entropy_weight.value]))
    action, spread, weight = torch.stack(seen)[300:].mean(dim=0).tolist()
    assert action == pytest.approx(0.2, abs=0.03)
    assert spread == pytest.approx(-1.0 - 0.5 * math.log(2 * math.pi * math.e), abs=0.3)
    assert weight == pytest.approx(1.0, abs=0.2)


def test_actions_at_the_bounds_are_taken_in() -> None:
    """Recorded controls often saturate; the tanh of no finite number is 1."""
    cloner = Cloner(policy().actor, learning_rate=1e-3)
    found = cloner.update(torch.zeros(4, 2), torch.tensor([[1.0], [-1.0], [1.0], [0.0]]))
    assert found.isfinite()
    assert all(parameter.isfinite().all() for parameter in cloner.actor.parameters())
