"""BRAC's own parts: the clone, the divergence, and where it is charged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.offline_toy import STATES, small_agent

from mopo_agents.baselines import brac as brac_module
from mopo_agents.baselines.divergences import kl_estimate

RAW = torch.linspace(-1.0, 1.0, 8).reshape(2, 4, 1)
TWO_STATES = torch.tensor([[0.5], [-0.5]])


def with_known_draws(name: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    monkeypatch.setattr(brac_module, "draw", lambda mean, log_std, num: RAW[:, :num])
    return small_agent(name, **options)


def divergence(agent: Any) -> torch.Tensor:
    own = agent.actor.get_action_dist_params(TWO_STATES)[:2]
    return kl_estimate(RAW, own, agent.behaviour.get_action_dist_params(TWO_STATES)[:2])


@pytest.mark.parametrize(("name", "charged"), [("BRAC-p", 0.0), ("BRAC-v", 1.0)])
def test_the_critics_target(name: str, charged: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lower of the target critics at an action of the policy; BRAC-v takes α·KL(π ‖ π_b) off, BRAC-p does not."""
    agent = with_known_draws(name, monkeypatch, alpha=0.5)
    agent.critic_target = lambda states, actions: (states + actions, 2.0 - states * actions)
    actions = RAW[:, 0].tanh()
    lower = torch.minimum(TWO_STATES + actions, 2.0 - TWO_STATES * actions)
    expected = lower - charged * 0.5 * divergence(agent)[:, None]
    torch.testing.assert_close(agent._next_values(TWO_STATES), expected)
    assert (divergence(agent).abs() > 1e-3).all()  # else both would be the same


@pytest.mark.parametrize("name", ["BRAC-p", "BRAC-v"])
def test_the_actor_pays_in_both(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = with_known_draws(name, monkeypatch, alpha=0.5)
    actions, found = agent._regulariser(TWO_STATES)
    torch.testing.assert_close(actions, RAW[:, 0].tanh())
    torch.testing.assert_close(found, divergence(agent))
    assert agent.divergence_weight == 0.5


def test_four_actions_are_drawn_for_the_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def draw(mean: torch.Tensor, log_std: torch.Tensor, num: int) -> torch.Tensor:
        asked.append(num)
        return mean[:, None].expand(-1, num, -1)

    monkeypatch.setattr(brac_module, "draw", draw)
    small_agent("BRAC-p")._regulariser(TWO_STATES)
    assert asked == [4]


@pytest.mark.parametrize(("chosen", "expected"), [(None, 6), (2, 2), (0, 0)])
def test_the_behaviour_is_cloned_once_before_anything_else(
    chosen: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many updates as the run has, unless told; these are not the run's own, and the clone then stays as it is."""
    agent = small_agent("BRAC-v", gradient_steps=3, cloning_updates=chosen)
    counts: list[int] = []
    update = agent.cloner.update

    def spy(*args: Any) -> Any:
        counts.append(agent._n_updates)
        return update(*args)

    monkeypatch.setattr(agent.cloner, "update", spy)
    agent.learn(6)
    assert counts == [0] * expected
    assert agent._n_updates == 6
    clone = {name: tensor.clone() for name, tensor in agent.behaviour.state_dict().items()}
    agent.learn(3, reset_num_timesteps=False)
    assert len(counts) == expected
    assert all(torch.equal(clone[name], tensor) for name, tensor in agent.behaviour.state_dict().items())


def test_a_long_run_clones_as_often_as_the_code_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a million updates of the run, 300,000 of the clone."""
    agent = small_agent("BRAC-p")
    counts: list[int] = []
    monkeypatch.setattr(agent.cloner, "update", lambda *args: counts.append(1))
    monkeypatch.setattr(brac_module, "_CLONING_UPDATES", 7)
    agent._total_timesteps = 10
    agent._clone(8)
    assert len(counts) == 7


def test_the_clone_starts_as_a_network_of_its_own() -> None:
    """Were it the actor itself, the divergence would be zero for ever and nothing would hold."""
    agent = small_agent("BRAC-p")
    _, found = agent._regulariser(torch.from_numpy(STATES))
    assert np.abs(found.detach().numpy()).max() > 1e-3
    assert agent.behaviour is not agent.actor
    assert not {id(p) for p in agent.behaviour.parameters()} & {id(p) for p in agent.policy.parameters()}
