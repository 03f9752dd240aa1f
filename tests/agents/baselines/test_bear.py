"""BEAR's own parts: the critic's target, the constraint on the MMD, and the best of a hundred actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.offline_toy import STATES, small_agent

from mopo_agents.baselines import bear as bear_module
from mopo_agents.baselines.divergences import KERNELS, mmd


def test_the_target_is_the_best_of_the_mixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    """¾ of the lower and ¼ of the higher critic, and of these the largest over the ten actions."""
    agent = small_agent("BEAR")
    raw = torch.linspace(-1.0, 1.5, 20).reshape(2, 10, 1)
    asked: list[int] = []

    def draw(mean: torch.Tensor, log_std: torch.Tensor, num_samples: int) -> torch.Tensor:
        asked.append(num_samples)
        return raw

    monkeypatch.setattr(bear_module, "draw", draw)
    agent.critic_target = lambda states, actions: (states + actions, 2.0 - states * actions)
    states = torch.tensor([[0.5], [-0.5]])
    actions = raw[..., 0].tanh()
    first, second = states + actions, 2.0 - states * actions
    expected = (0.75 * torch.minimum(first, second) + 0.25 * torch.maximum(first, second)).max(dim=1).values
    torch.testing.assert_close(agent._next_values(states), expected[:, None])
    assert asked == [10]


@pytest.mark.parametrize("kernel", ["gaussian", "laplacian"])
def test_the_divergence_is_the_mmd_of_four_actions_before_the_tanh(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the tanh its gradient dies where actions saturate. The critic is asked about the first of the four."""
    agent = small_agent("BEAR", kernel=kernel, sigma=3.0)
    own, recorded = torch.randn(5, 4, 1), torch.randn(5, 4, 1)
    monkeypatch.setattr(bear_module, "draw", lambda mean, log_std, num: own[:, :num])
    monkeypatch.setattr(agent.vae, "draw", lambda states, num: recorded[:, :num])
    actions, divergence = agent._regulariser(torch.zeros(5, 1))
    torch.testing.assert_close(actions, own[:, 0].tanh())
    torch.testing.assert_close(divergence, mmd(own, recorded, KERNELS[kernel], 3.0))


@pytest.mark.parametrize(("divergence", "direction"), [(0.08, 1), (0.02, -1)])
def test_the_weight_grows_above_the_threshold_and_falls_below(divergence: float, direction: int) -> None:
    agent = small_agent("BEAR")  # ε = 0.05
    agent._after_actor(torch.full((4,), divergence))
    assert np.sign(agent.divergence_weight.item() - 1.0) == direction


def test_the_actor_first_learns_to_act_as_the_data() -> None:
    """In the warm-up it only follows the auto-encoder: below the threshold, from far above it."""
    agent = small_agent("BEAR", gradient_steps=200, warmup_updates=200)
    start = agent._regulariser(torch.from_numpy(STATES))[1].mean().item()
    agent.learn(200)
    end = agent._regulariser(torch.from_numpy(STATES))[1].mean().item()
    assert end < 0.05 < start


def test_the_deterministic_action_is_the_best_of_the_candidates() -> None:
    """By the first critic, and each one an action that the actor itself could have drawn."""
    agent = small_agent("BEAR", policy_kwargs={"net_arch": [16], "num_candidates": 7})
    states = torch.from_numpy(STATES)
    policy: Any = agent.policy
    mean, log_std, _ = agent.actor.get_action_dist_params(states)
    assert policy.candidate_noise.shape == (7, 1)
    best = []
    with torch.no_grad():
        for state, row_mean, row_log_std in zip(states, mean, log_std, strict=True):
            actions = (row_mean + row_log_std.exp() * policy.candidate_noise).tanh()
            values = agent.critic.q1_forward(state.expand(7, 1), actions)
            best.append(actions[values.argmax()].numpy())
    np.testing.assert_allclose(agent.predict(STATES, deterministic=True)[0], best, atol=1e-6)
    one = agent.predict(STATES[0], deterministic=True)[0]  # a single state, as most users ask
    np.testing.assert_allclose(one, best[0], atol=1e-6)


def test_two_agents_have_the_same_candidates_and_a_stochastic_action_is_the_actors() -> None:
    """The noise belongs to the policy and not to the seed: what is loaded acts as what was saved, whoever loads it."""
    first, second = small_agent("BEAR", seed=1), small_agent("BEAR", seed=2)
    assert torch.equal(first.policy.candidate_noise, second.policy.candidate_noise)
    assert first.policy.candidate_noise.shape == (100, 1)
    draws = {float(first.predict(STATES[0])[0][0]) for _ in range(5)}
    assert len(draws) == 5
