"""SAC's update written out against Stable-Baselines3's own: the same draws, losses, weights and optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

from mopo_agents.agents import make_agent
from mopo_agents.replay_buffer import MixedReplayBuffer
from mopo_agents.sb3.compose import compose
from mopo_agents.sb3.fast_sac.gate import obstacle
from mopo_agents.sb3.fast_sac.update import FastSAC
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError
from mopo_env.toys import StubEnsemble
from mopo_env.transitions import Transitions

BATCH = 30  # 30 rows of 2 actions are no multiple of 16, at which PyTorch's normal draws change their pattern


class PlainSAC(SAC):
    """SAC that updates as Stable-Baselines3 does; `make_agent` leaves alone what a class changes."""

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        super().train(gradient_steps, batch_size)


def penalized_model() -> PenalizedModel:
    random = np.random.default_rng(0)
    # Of moderate size: where tanh saturates, the last digit of an action decides its density, in either code.
    observations, next_observations = random.normal(size=(2, 40, 3)) * [0.5, 1.0, 0.2]
    transitions = Transitions(
        observations=observations,
        actions=random.uniform(-1, 1, (40, 2)),
        rewards=random.normal(size=40),
        next_observations=next_observations,
        terminations=random.random(40) < 0.3,
        truncations=np.zeros(40, dtype=bool),
    )
    model = StubEnsemble(3, 2, mean=lambda s, a: (0.9 * s, s[:, 0] * a[:, 0]), std=0.1)
    return PenalizedModel(model, transitions, termination=lambda s, a, s2: s2[:, 0] > 1.0)


def make(kind: type[SAC], **options: Any) -> Any:
    policy = {"net_arch": [24, 16], **options.pop("policy_kwargs", {})}
    sizes = {"horizon": 2, "rollout_batch_size": 30, "gradient_steps": 1, "batch_size": BATCH, "real_ratio": 0.5}
    agent: Any = make_agent(kind, penalized_model(), policy_kwargs=policy, seed=3, **{**sizes, **options})
    agent.learn(60, log_interval=None)
    return agent


def trained(num_updates: int, *, stock: bool = False, spoil: Callable[[Any], Any] | None = None, **options: Any) -> Any:
    """Return an agent after so many updates, all on the same rows and draws; stock: by Stable-Baselines3's own code."""
    agent = make(SAC, **options)
    assert isinstance(agent, FastSAC)
    if spoil is not None:
        spoil(agent)
    agent.replay_buffer._generator.manual_seed(7)
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(8)
        (SAC if stock else type(agent)).train(agent, num_updates, batch_size=BATCH)
        agent.draw_after = torch.rand(1)
    return agent


def everything(agent: Any) -> dict[str, Tensor]:
    """Return all that an update changes: weights, targets, the entropy coefficient, and the optimizers' states."""
    found = dict(agent.policy.state_dict())
    steps = {"actor": agent.actor.optimizer, "critic": agent.critic.optimizer}
    if agent.log_ent_coef is not None:
        found["log_ent_coef"] = agent.log_ent_coef.detach()
        steps["ent_coef"] = agent.ent_coef_optimizer
    for name, optimizer in steps.items():
        for index, state in optimizer.state_dict()["state"].items():
            found |= {f"{name} {index} {key}": value for key, value in state.items()}
    return {name: tensor.clone() for name, tensor in found.items()}


def assert_same(found: Any, expected: Any, tolerance: float) -> None:
    one, other = everything(found), everything(expected)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.dtype == other[name].dtype
        scale = float(other[name].abs().max()) if other[name].numel() else 0.0
        torch.testing.assert_close(tensor, other[name], rtol=tolerance, atol=tolerance * scale, msg=name)
    for name in ("ent_coef", "ent_coef_loss", "actor_loss", "critic_loss", "n_updates"):
        ours, theirs = (agent.logger.name_to_value.get(f"train/{name}") for agent in (found, expected))
        assert (ours is None) == (theirs is None)
        assert ours is None or ours == pytest.approx(theirs, rel=1e-4, abs=1e-6), name


def push(agent: Any) -> None:
    """Move the actor away from its first weights, with which all actions are near zero and their spread near one."""
    with torch.no_grad():
        agent.actor.log_std.bias.copy_(torch.tensor([-1.0, -4.0]))
        agent.actor.mu.bias.copy_(torch.tensor([0.0, 1.5]))


CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "another actor": {"spoil": push},
    "a fixed entropy coefficient": {"ent_coef": 0.2},
    "another target entropy": {"target_entropy": -7.0, "ent_coef": "auto_0.3"},
    "one hidden layer": {"policy_kwargs": {"net_arch": [9]}},
    "no hidden layer": {"policy_kwargs": {"net_arch": []}},
    "other widths": {"policy_kwargs": {"net_arch": {"pi": [8, 5], "qf": [12]}}},
    "three critics": {"policy_kwargs": {"n_critics": 3}},
    "one critic": {"policy_kwargs": {"n_critics": 1}},
    "a slow target": {"target_update_interval": 3, "tau": 0.5},
    "other options": {"gamma": 0.5, "learning_rate": 0.01},
    "a falling learning rate": {"learning_rate": lambda progress: 1e-3 + 1e-2 * progress},
    "standardised": {"standardise": True},
}


@pytest.mark.parametrize("case", CASES)
def test_one_update_is_that_of_stable_baselines(case: str) -> None:
    """Adam's first moments are a tenth of the gradients: here a factor or a missing term cannot hide."""
    found, expected = (trained(1, stock=stock, **CASES[case]) for stock in (False, True))
    assert obstacle(found) is None
    assert_same(found, expected, tolerance=2e-4)
    assert torch.equal(found.draw_after, expected.draw_after), "both must have drawn the same numbers"


@pytest.mark.parametrize("case", CASES)
def test_twenty_updates_are_those_of_stable_baselines(case: str) -> None:
    """Rounding grows with the updates; a step of Adam moves a weight by 3e-4, so a wrong one would show."""
    found, expected = (trained(20, stock=stock, **CASES[case]) for stock in (False, True))
    assert_same(found, expected, tolerance=2e-3)
    before = make(SAC, **{name: value for name, value in CASES[case].items() if name != "spoil"})
    weights = everything(before)
    assert any(not torch.equal(tensor, weights[name]) for name, tensor in everything(found).items() if name in weights)


def test_two_calls_are_one() -> None:
    """Weights and optimizers are handed back and taken over between epochs, bit for bit."""
    once, twice = make(SAC), make(SAC)
    for agent, calls in ((once, [6]), (twice, [2, 4])):
        agent.replay_buffer._generator.manual_seed(7)
        with torch.random.fork_rng():
            torch.random.default_generator.manual_seed(8)
            for count in calls:
                agent.train(count, batch_size=BATCH)
    expected = everything(twice)
    for name, tensor in everything(once).items():
        assert torch.equal(tensor, expected[name]), name


def test_an_update_that_fails_leaves_the_agent_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = make(SAC)
    before, sample, calls = everything(agent), MixedReplayBuffer.sample, []

    def breaks(self: MixedReplayBuffer, *options: Any) -> Any:
        calls.append(options)
        if len(calls) == 3:
            raise ConfigError("the third batch is missing")
        return sample(self, *options)

    monkeypatch.setattr(MixedReplayBuffer, "sample", breaks)
    with pytest.raises(ConfigError):
        agent.train(5, batch_size=BATCH)
    for name, tensor in everything(agent).items():
        assert torch.equal(tensor, before[name]), name


class OtherExtractor(FlattenExtractor):
    """Someone's own, which may compute anything."""


class OwnActor(Actor):
    """Someone's own, with other names inside and a mean that is halved."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.body = self.latent_pi
        del self.latent_pi

    def get_action_dist_params(self, obs: Any) -> Any:
        latent = self.body(self.extract_features(obs, self.features_extractor))
        return 0.5 * self.mu(latent), self.log_std(latent).clamp(-20, 2), {}


class OwnCritic(ContinuousCritic):
    def forward(self, obs: Tensor, actions: Tensor) -> Any:
        return tuple(0.5 * value for value in super().forward(obs, actions))


class ActorPolicy(SACPolicy):
    def make_actor(self, features_extractor: Any = None) -> Actor:
        return OwnActor(**self._update_features_extractor(self.actor_kwargs, features_extractor))


class CriticPolicy(SACPolicy):
    def make_critic(self, features_extractor: Any = None) -> ContinuousCritic:
        return OwnCritic(**self._update_features_extractor(self.critic_kwargs, features_extractor))


class OwnPolicy(SACPolicy):
    """The same parts, put together by someone else."""


def halve(*given: Any) -> Any:
    """Return half of the last thing that a hook of whatever kind was given."""
    last = given[-1]
    return tuple(0.5 * part for part in last) if isinstance(last, tuple | list) else 0.5 * last


def halve_weights(optimizer: Any, *_: Any) -> None:
    with torch.no_grad():
        for tensor in optimizer.param_groups[0]["params"]:
            tensor.mul_(0.5)


def clip_gradient(tensor: Tensor) -> None:
    assert tensor.grad is not None
    tensor.grad.clamp_(-1e-8, 1e-8)


def first_layer(agent: Any) -> Any:
    return agent.critic.q_networks[0][0]


def set_distribution(agent: Any) -> None:
    kept = agent.actor.get_action_dist_params
    agent.actor.get_action_dist_params = lambda obs: (0.5 * kept(obs)[0], *kept(obs)[1:])


def set_step(agent: Any) -> None:
    kept = agent.actor.optimizer.step
    agent.actor.optimizer.step = lambda: (halve_weights(agent.actor.optimizer), kept())


CHANGED: dict[str, Callable[[Any], Any]] = {
    "a frozen actor's layer": lambda agent: agent.actor.latent_pi[0].requires_grad_(False),
    "a frozen critic's weight": lambda agent: first_layer(agent).weight.requires_grad_(False),
    "a tensor's hook": lambda agent: first_layer(agent).weight.register_hook(lambda g: 1e-9 * g),
    "a hook after accumulation": lambda agent: first_layer(agent).weight.register_post_accumulate_grad_hook(
        clip_gradient
    ),
    "a hook of the entropy coefficient": lambda agent: agent.log_ent_coef.register_hook(lambda g: -g),
    "a forward hook": lambda agent: agent.actor.mu.register_forward_hook(halve),
    "a hook before forward": lambda agent: first_layer(agent).register_forward_pre_hook(halve),
    "a target's forward hook": lambda agent: agent.critic_target.register_forward_hook(halve),
    "a backward hook": lambda agent: agent.actor.mu.register_full_backward_hook(lambda m, by_in, by_out: (-by_in[0],)),
    "a hook before backward": lambda agent: agent.actor.mu.register_full_backward_pre_hook(lambda m, by: (-by[0],)),
    "a hook before the optimizer": lambda agent: agent.actor.optimizer.register_step_pre_hook(halve_weights),
    "a hook after the optimizer": lambda agent: agent.critic.optimizer.register_step_post_hook(halve_weights),
    "a distribution set on the actor": set_distribution,
    "a step set on the optimizer": set_step,
}
OTHERS: dict[str, dict[str, Any]] = {
    "gSDE": {"use_sde": True},
    "another activation": {"policy_kwargs": {"activation_fn": nn.Tanh}},
    "another optimizer": {"policy_kwargs": {"optimizer_class": torch.optim.AdamW}},
    "weight decay": {"policy_kwargs": {"optimizer_kwargs": {"weight_decay": 0.1}}},
    "an optimizer unlike the entropy coefficient's": {"policy_kwargs": {"optimizer_kwargs": {"eps": 1e-5}}},
    "another extractor": {"policy_kwargs": {"features_extractor_class": OtherExtractor}},
    "another policy": {"policy": OwnPolicy},
    "another actor, without latent_pi": {"policy": ActorPolicy},
    "another critic": {"policy": CriticPolicy},
    **{case: {"spoil": spoil} for case, spoil in CHANGED.items()},
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_not_plain_is_left_to_stable_baselines(case: str) -> None:
    """Else it would be updated as something it is not: hooks are how users clip gradients, freezing how they tune."""
    found, expected = (trained(3, stock=stock, **OTHERS[case]) for stock in (False, True))
    assert obstacle(found) is not None
    ours, theirs = everything(found), everything(expected)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
    if case in CHANGED:
        plain = everything(trained(3, stock=True))
        assert any(not torch.equal(plain[name], tensor) for name, tensor in theirs.items()), "nothing was changed"


def test_hooks_on_everything_are_seen_too() -> None:
    """PyTorch has hooks for all modules, and for all optimizers, at once."""
    agent = make(SAC)
    for register in (register_module_forward_hook, register_optimizer_step_pre_hook):
        handle = register(lambda *_: None)
        try:
            assert obstacle(agent) is not None
        finally:
            handle.remove()
        assert obstacle(agent) is None


def test_classes_that_update_by_themselves_are_left_alone() -> None:
    mine = type("Mine", (SAC,), {})
    assert [FastSAC.fits(kind) for kind in (SAC, mine, PlainSAC, TD3)] == [True, True, False, False]
    assert not issubclass(compose(PlainSAC), FastSAC)


def test_actions_of_any_bounds_are_learned_on_the_same_scale() -> None:
    """The buffer holds actions on −1…1, which is what the critics are asked about."""
    agent = make(SAC)
    assert isinstance(agent.action_space, spaces.Box)
    sample = agent.replay_buffer.sample(BATCH)
    assert sample.actions.abs().max() <= 1.0
