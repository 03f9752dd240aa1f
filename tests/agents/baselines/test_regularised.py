"""What BEAR and BRAC share: the critic's target, the actor's loss, and when the critic gets a say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.offline_toy import GAMMA, small_agent
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from mopo_agents.baselines.regularised import RegularisedActorCritic


class Fixed(RegularisedActorCritic):
    """The next state is worth 10, the divergence is 3 everywhere, and it weighs 2."""

    default_warmup_updates = 8
    divergence_weight = 2.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, actor_learning_rate=1e-3, **options)

    def _regulariser(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, _, _ = self.actor.get_action_dist_params(observations)
        return mean.tanh(), torch.full((len(observations),), 3.0)

    def _next_values(self, observations: torch.Tensor) -> torch.Tensor:
        return torch.full((len(observations), 1), 10.0)


def batch(rewards: list[float], dones: list[float]) -> ReplayBufferSamples:
    rows = torch.linspace(-1, 1, len(rewards))[:, None]
    return ReplayBufferSamples(rows, 0.5 * rows, rows, torch.tensor(dones)[:, None], torch.tensor(rewards)[:, None])


def test_the_target_is_the_reward_and_the_discounted_value_of_a_state_that_is_not_terminal() -> None:
    """r + γ·V(s′) and, where the episode ended, r alone; the loss is summed over both critics."""
    agent = small_agent(Fixed)
    rows = batch([1.0, 2.0], [0.0, 1.0])
    targets = torch.tensor([[1.0 + GAMMA * 10.0], [2.0]])
    values = [value.detach() for value in agent.critic(rows.observations, rows.actions)]
    expected = sum((value - targets).square().mean() for value in values)
    before = {name: tensor.clone() for name, tensor in agent.policy.state_dict().items()}
    metrics = agent._update_critic(rows)
    assert metrics["critic_loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert metrics["q_mean"].item() == pytest.approx(values[0].mean().item(), rel=1e-5)
    moved = {name for name, tensor in agent.policy.state_dict().items() if not torch.equal(tensor, before[name])}
    assert all(name.startswith("critic.") for name in moved)  # neither the actor nor the target


def test_both_critics_learn_the_target() -> None:
    agent = small_agent(Fixed)
    rows = batch([1.0, 2.0], [0.0, 1.0])
    for _ in range(400):
        agent._update_critic(rows)
    for value in agent.critic(rows.observations, rows.actions):
        assert value[:, 0].tolist() == pytest.approx([9.0, 2.0], abs=0.1)


def test_the_actors_loss_is_the_weighted_divergence_less_the_lower_value() -> None:
    """Without the critic's say, α·D alone: 6. With it, less the mean of the lower of the two values."""
    agent = small_agent(Fixed)
    states = torch.linspace(-1, 1, 5)[:, None]
    mean, _, _ = agent.actor.get_action_dist_params(states)
    lower = torch.cat(agent.critic(states, mean.tanh()), dim=1).min(dim=1).values.mean().item()
    assert agent._update_actor(states, critic_weight=0.0)["actor_loss"].item() == pytest.approx(6.0)
    loss = agent._update_actor(states, critic_weight=1.0)
    assert loss["actor_loss"].item() == pytest.approx(6.0 - lower, abs=1e-5)
    assert loss["divergence"].item() == 3.0


def test_the_actor_climbs_the_critic() -> None:
    """The sign of it: where α weighs on a constant, the actor's value must rise."""
    agent = small_agent(Fixed)
    states = torch.linspace(-1, 1, 32)[:, None]

    def value() -> float:
        mean, _, _ = agent.actor.get_action_dist_params(states)
        return torch.cat(agent.critic(states, mean.tanh()), dim=1).min(dim=1).values.mean().item()

    before = value()
    for _ in range(20):
        agent._update_actor(states, critic_weight=1.0)
    assert value() > before


def say_of_the_critic(agent: Any, updates: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seen: list[float] = []
    update = agent._update_actor

    def spy(observations: torch.Tensor, *, critic_weight: float) -> Any:
        seen.append(critic_weight)
        return update(observations, critic_weight=critic_weight)

    monkeypatch.setattr(agent, "_update_actor", spy)
    agent.learn(updates)
    return seen


@pytest.mark.parametrize(
    ("updates", "chosen", "expected"),
    [
        (60, None, 6),  # a tenth of the run
        (100, None, 8),  # the algorithm's own, which is less
        (60, 25, 25),  # the user's, though more than a tenth
        (60, 0, 0),
    ],
)
def test_the_warm_up(updates: int, chosen: int | None, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tens of thousands of updates in the paper's code: a short run would otherwise never look at a reward."""
    agent = small_agent(Fixed, gradient_steps=20, warmup_updates=chosen)
    assert say_of_the_critic(agent, updates, monkeypatch) == [0.0] * expected + [1.0] * (updates - expected)


def test_the_two_learning_rates_are_their_networks_own() -> None:
    agent = small_agent(Fixed, gradient_steps=2, learning_rate=0.25)
    agent.learn(2)
    assert agent.critic.optimizer.param_groups[0]["lr"] == 0.25
    assert agent.actor.optimizer.param_groups[0]["lr"] == 1e-3


def test_the_targets_follow_the_critics() -> None:
    """A fraction τ of the way after every update."""
    agent = small_agent(Fixed, gradient_steps=1)
    before = [parameter.detach().clone() for parameter in agent.critic_target.parameters()]
    agent.learn(1)
    for old, new, source in zip(before, agent.critic_target.parameters(), agent.critic.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), 0.95 * old + 0.05 * source.detach())


def test_what_is_recorded_is_the_mean_of_the_epoch() -> None:
    agent = small_agent(Fixed, gradient_steps=4)
    agent.learn(4)
    recorded = agent.logger.name_to_value
    assert recorded["train/divergence"] == pytest.approx(3.0)
    assert recorded["train/divergence_weight"] == 2.0
    assert recorded["train/n_updates"] == 4
    assert np.isfinite(recorded["train/q_mean"])
