"""SAC's lean networks learn what Stable-Baselines3's learn, and skip only what it throws away."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import SAC, TD3
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from mopo_agents.agents import make_agent
from mopo_agents.lean_sac import LeanCritic, LeanSACPolicy, policy_of
from mopo_agents.policy_files import load_policy, save_policy
from mopo_env.simulator import Simulator
from mopo_env.toys import LinearGaussianSystem

BATCH, EPOCHS, UPDATES = 32, 2, 25
OBSERVATIONS, ACTIONS = spaces.Box(-1.0, 1.0, (5,), np.float32), spaces.Box(-1.0, 1.0, (2,), np.float32)


class PlainSAC(SAC):
    """SAC with Stable-Baselines3's own networks, which `policy_of` leaves alone."""

    policy_aliases: ClassVar = {"MlpPolicy": type("PlainPolicy", (SACPolicy,), {})}

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        super().train(gradient_steps, batch_size)


class LeanSAC(SAC):
    """SAC with lean networks and the updates of Stable-Baselines3, which `make_agent` would write out otherwise."""

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        super().train(gradient_steps, batch_size)


def simulator() -> Simulator:
    system = LinearGaussianSystem()
    return Simulator(system.model(), system.transitions(seed=0))


def trained(agent_class: type[SAC], **optimizer: Any) -> SAC:
    """Learn for two epochs; nothing but the class and the optimizer differs."""
    kwargs = {"net_arch": [24, 24], **({"optimizer_kwargs": optimizer} if optimizer else {})}
    agent: Any = make_agent(
        agent_class,
        simulator(),
        horizon=2,
        rollout_batch_size=20,
        gradient_steps=UPDATES,
        batch_size=BATCH,
        policy_kwargs=kwargs,
        seed=3,
    )
    return agent.learn(EPOCHS * 2 * 20, log_interval=None)  # type: ignore[no-any-return]


def vector(agent: SAC) -> torch.Tensor:
    return torch.cat([p.detach().ravel() for p in (*agent.policy.parameters(), agent.log_ent_coef)])


def policies() -> tuple[SACPolicy, LeanSACPolicy]:
    """Two policies of the same weights."""
    plain, lean = (
        kind(OBSERVATIONS, ACTIONS, lambda _: 1e-3, net_arch=[16] * 2) for kind in (SACPolicy, LeanSACPolicy)
    )
    lean.load_state_dict(plain.state_dict())
    return plain, lean


def test_with_the_same_optimizer_everything_learned_is_the_same_bit_for_bit() -> None:
    assert torch.equal(vector(trained(LeanSAC, fused=False)), vector(trained(PlainSAC)))


def test_the_fused_optimizer_differs_by_rounding_alone() -> None:
    """Fifty updates apart; a step of Adam moves a weight by about 3e-4, so a wrong one would show at once."""
    lean, plain = vector(trained(LeanSAC)), vector(trained(PlainSAC))
    assert not torch.equal(lean, plain)  # else this test compares a thing with itself
    torch.testing.assert_close(lean, plain, rtol=1e-4, atol=1e-5)


def test_the_actors_loss_gives_the_actions_their_gradient_and_the_critic_none() -> None:
    """This is the saving: the gradients of the critic's weights are not computed."""
    gradients = []
    for policy in policies():
        rows = torch.linspace(-1, 1, 5 * 8).reshape(8, 5)
        actions = torch.linspace(-0.5, 0.5, 8 * 2).reshape(8, 2).requires_grad_()
        torch.cat(policy.critic(rows, actions), dim=1).min(dim=1).values.mean().backward()
        gradients.append(actions.grad)
        computed = [parameter.grad is not None for parameter in policy.critic.parameters()]
        assert not any(computed) if isinstance(policy, LeanSACPolicy) else all(computed)
    assert gradients[0] is not None
    assert gradients[1] is not None
    assert torch.equal(*gradients)
    assert gradients[0].abs().sum() > 0


def test_the_critics_own_loss_still_reaches_every_weight() -> None:
    """Also after a loss of the actor, and after a failure in it: the weights must be trainable again."""
    _, lean = policies()
    rows, actions = torch.randn(8, 5), torch.randn(8, 2)
    lean.critic(rows, actions.clone().requires_grad_())
    with pytest.raises(RuntimeError):
        lean.critic(rows[:, :-1], actions.clone().requires_grad_())
    sum(value.mean() for value in lean.critic(rows, actions)).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is not None for parameter in lean.critic.parameters())


def test_the_target_stays_out_of_training() -> None:
    """Its weights are frozen by Stable-Baselines3's update only through no_grad; the lean critic must not thaw them."""
    _, lean = policies()
    lean.critic_target.requires_grad_(False)
    lean.critic_target(torch.randn(3, 5), torch.randn(3, 2).requires_grad_())
    assert not any(parameter.requires_grad for parameter in lean.critic_target.parameters())


def test_agents_with_sacs_own_policy_get_it_and_no_others() -> None:
    assert policy_of(SAC) is LeanSACPolicy
    assert policy_of(type("Mine", (SAC,), {})) is LeanSACPolicy
    assert policy_of(PlainSAC) == policy_of(TD3) == "MlpPolicy"
    agent = make_agent("SAC", simulator(), horizon=1, rollout_batch_size=2)
    assert isinstance(agent.policy, LeanSACPolicy)
    assert isinstance(agent.policy.critic, LeanCritic)


def test_every_rectifier_is_in_place_and_other_activations_are_left_alone() -> None:
    _, lean = policies()
    rectifiers = [part for part in lean.modules() if isinstance(part, nn.ReLU)]
    assert len(rectifiers) == 2 + 2 * 4  # actor, and two networks each in critic and target
    assert all(part.inplace for part in rectifiers)
    tanh = LeanSACPolicy(OBSERVATIONS, ACTIONS, lambda _: 1e-3, activation_fn=nn.Tanh)
    assert not any(isinstance(part, nn.ReLU) for part in tanh.modules())


def test_options_of_the_optimizer_come_before_ours() -> None:
    """A class of the user's own may not know `fused`."""
    adam = LeanSACPolicy(OBSERVATIONS, ACTIONS, lambda _: 1e-3, optimizer_kwargs={"eps": 1e-5})
    assert adam.actor.optimizer.defaults["fused"]
    assert adam.actor.optimizer.defaults["eps"] == 1e-5
    rprop = LeanSACPolicy(OBSERVATIONS, ACTIONS, lambda _: 1e-3, optimizer_class=torch.optim.Rprop)
    assert isinstance(rprop.critic.optimizer, torch.optim.Rprop)


def test_a_policy_saved_from_lean_networks_is_read_as_before(tmp_path: Path) -> None:
    """Files name agents and weights, not classes of networks."""
    agent = trained(SAC)
    save_policy(agent, tmp_path)
    observations = np.linspace(-1, 1, 3 * agent.observation_space.shape[0], dtype=np.float32).reshape(3, -1)  # type: ignore[index]
    for policy in (agent, load_policy(tmp_path)):
        actions, _ = policy.predict(observations, deterministic=True)
        assert actions.shape[0] == 3
    assert np.array_equal(agent.predict(observations, deterministic=True)[0], actions)
