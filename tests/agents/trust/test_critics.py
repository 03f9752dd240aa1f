"""What is read from an agent's networks, against hand computations and draws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import penalized_model

from mopo_agents.agents import make_agent
from mopo_agents.trust.critics import actor_entropy, critic_slopes, critic_values

STATES = np.array([[0.5], [-1.0], [2.0]], dtype=np.float32)


def agent(name: str) -> Any:
    options: dict[str, Any] = {"rollout_batch_size": 4, "horizon": 2, "policy_kwargs": {"net_arch": [8]}}
    options |= {"batch_size": 8} if name == "PPO" else {"gradient_steps": 1}
    return make_agent(name, penalized_model(starts=np.linspace(-1, 1, 8)), seed=0, **options)


def test_sac_is_the_lower_critic_at_its_own_action() -> None:
    found = agent("SAC")
    chosen, _ = found.predict(STATES, deterministic=True)
    both = torch.cat(found.critic(torch.tensor(STATES), torch.tensor(found.policy.scale_action(chosen))), dim=1)
    assert critic_values(found, STATES) == pytest.approx(both.amin(dim=1).detach().numpy())
    assert critic_values(found.policy, STATES) == pytest.approx(critic_values(found, STATES))


@pytest.mark.parametrize("name", ["TD3", "TQC", "PPO"])
def test_every_kind_of_critic_has_one_value_a_state(name: str) -> None:
    values, slopes = critic_values(agent(name), STATES), critic_slopes(agent(name), STATES)
    assert values is not None
    assert slopes is not None
    assert values.shape == slopes.shape == (3,)
    assert np.isfinite(values).all()
    assert (slopes >= 0).all()


def test_the_entropy_is_that_of_draws() -> None:
    """Quadrature against 200,000 draws of SB3's own distribution; no global generator moves."""
    found, before = agent("SAC"), torch.random.get_rng_state()
    exact = actor_entropy(found, STATES)
    assert torch.equal(before, torch.random.get_rng_state())
    with torch.no_grad():
        many = torch.tensor(np.repeat(STATES, 70_000, axis=0))
        _, likelihood = found.actor.action_log_prob(many)
    assert exact == pytest.approx(-float(likelihood.mean()), abs=0.02)
    assert math.isnan(actor_entropy(agent("TD3"), STATES))
