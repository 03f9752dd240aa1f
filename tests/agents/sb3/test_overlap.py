"""Rollouts beside updates: the policy is one epoch older, and nothing else changes, nor depends on who is faster."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
import torch
from helpers.agents import make_small, toy_model
from stable_baselines3 import SAC
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.sac.policies import SACPolicy

from mopo_env.envs.rollouts import Rollouts
from mopo_env.errors import ConfigError

B, H, UPDATES = 40, 3, 4


def make(name: str = "SAC", **options: Any) -> Any:
    sizes = {"horizon": H, "rollout_batch_size": B, "gradient_steps": UPDATES, "retain_epochs": 4, "overlap": True}
    return make_small(name, toy_model(), **{**sizes, "seed": 1, **options})


def learned(epochs: int = 4, **options: Any) -> Any:
    return make(**options).learn(epochs * B * H, log_interval=None)


def test_the_policy_that_rolls_out_is_one_epoch_older(monkeypatch: pytest.MonkeyPatch) -> None:
    """TD3's actor is deterministic: the buffer tells which weights chose. Epochs 1 and 2 know no update at all."""
    agent = make("TD3", policy_delay=1)
    weights: list[dict[str, torch.Tensor]] = []
    train = type(agent).train

    def spy(self: Any, *args: Any, **options: Any) -> None:
        weights.append({name: tensor.clone() for name, tensor in self.actor.state_dict().items()})  # before the updates
        train(self, *args, **options)

    monkeypatch.setattr(type(agent), "train", spy)
    agent.learn(4 * B * H, log_interval=None)
    buffer = agent.replay_buffer
    for epoch, age in enumerate([0, 0, 1, 2]):
        agent.actor.load_state_dict(weights[age])
        rows = slice(epoch * H, (epoch + 1) * H)
        with torch.no_grad():
            expected = agent.actor(torch.from_numpy(buffer.observations[rows].reshape(-1, 2).copy()))
        np.testing.assert_allclose(buffer.actions[rows].reshape(-1, 1), expected, atol=1e-6)
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_rollouts_run_beside_the_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The updates wait here for a step that only another thread can take."""
    agent = make()
    stepped, threads = threading.Event(), set()
    advance, train = Rollouts.advance, type(agent).train

    def spy(self: Rollouts, actions: Any) -> Any:
        threads.add(threading.get_ident())
        if threading.current_thread() is not threading.main_thread():
            stepped.set()
        return advance(self, actions)

    def waiting(self: Any, *args: Any, **options: Any) -> None:
        assert stepped.wait(timeout=30), "no step was taken while the updates were under way"
        train(self, *args, **options)

    monkeypatch.setattr(Rollouts, "advance", spy)
    monkeypatch.setattr(type(agent), "train", waiting)
    agent.learn(2 * B * H, log_interval=None)
    assert len(threads) >= 2


@pytest.mark.parametrize("name", ["SAC", "TD3", "TQC"])
def test_the_seed_decides_everything(name: str) -> None:
    """However the two threads take turns."""
    runs = []
    for seed in (1, 1, 2):
        with torch.random.fork_rng():
            runs.append(learned(name=name, seed=seed))
    first, same, other = (torch.cat([p.detach().ravel() for p in run.policy.parameters()]) for run in runs)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_actions_are_drawn_from_the_policy() -> None:
    """A fresh SAC has a spread near one before tanh; a draw without noise would be the same for a state twice."""
    agent = make(rollout_batch_size=2000)
    agent.learn(2000 * H, log_interval=None)
    found = np.arctanh(np.clip(agent.replay_buffer.actions[:H].ravel(), -0.999999, 0.999999))
    with torch.no_grad():
        rows = torch.from_numpy(agent.replay_buffer.observations[:H].reshape(-1, 2).copy())
        mean, log_std, _ = make(rollout_batch_size=2000).actor.get_action_dist_params(rows)
    z = (found - mean.numpy().ravel()) / log_std.exp().numpy().ravel()
    assert abs(z.mean()) < 5 / np.sqrt(len(z))
    assert abs(z.std() - 1) < 5 / np.sqrt(2 * len(z))


def test_it_learns_on_where_it_stopped() -> None:
    agent = learned(2)
    assert agent._pending is None, "no rollout is left over that nobody asks for"
    agent.learn(2 * B * H, log_interval=None, reset_num_timesteps=False)
    assert agent.num_timesteps == 4 * B * H
    assert agent.replay_buffer.full
    assert agent._n_updates == 4 * UPDATES


def test_a_callback_that_stops_leaves_no_thread_at_work() -> None:
    agent = make()
    agent.learn(4 * B * H, log_interval=None, callback=lambda local, _: agent.num_timesteps < 2 * B * H)
    agent.learn(B * H, log_interval=None)
    assert agent.num_timesteps == B * H


def test_logs_are_of_the_step_that_is_told() -> None:
    """All steps of an epoch were taken before the first is told."""
    agent, told = make(), []

    def look(local: Any, _: Any) -> bool:
        told.append((float(local["rewards"].mean()), float(local["infos"].step.rewards.mean())))
        return True

    agent.learn(3 * B * H, log_interval=None, callback=look)
    assert len({theirs for _, theirs in told}) == 3 * H
    np.testing.assert_allclose(*zip(*told, strict=True), rtol=1e-5)


def test_a_run_that_failed_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its thread would go on stepping rollouts that the next run has reset."""
    agent = make()
    advance, reset, train = Rollouts.advance, Rollouts.reset, type(agent).train
    pending: list[Any] = []

    def slow(self: Rollouts, actions: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.1)
        return advance(self, actions)

    def fail(self: Any, *_: Any, **__: Any) -> None:
        pending.append(self._pending)
        raise ValueError("the updates failed")

    def spy(self: Rollouts, generator: Any) -> Any:
        assert all(future.done() for future in pending)
        return reset(self, generator)

    monkeypatch.setattr(Rollouts, "advance", slow)
    monkeypatch.setattr(Rollouts, "reset", spy)
    monkeypatch.setattr(type(agent), "train", fail)
    with pytest.raises(ValueError, match="updates failed"):
        agent.learn(3 * B * H, log_interval=None)
    assert not pending[0].done()
    monkeypatch.setattr(type(agent), "train", train)
    agent.learn(B * H, log_interval=None)
    assert pending[0].done()


def test_it_can_be_saved(tmp_path: Any) -> None:
    agent = make()
    agent._pending = threading.Lock()  # cannot be pickled
    agent.save(tmp_path / "agent")
    assert SAC.load(tmp_path / "agent").policy_kwargs["net_arch"] == [8]


@pytest.mark.parametrize(
    "options",
    [
        {"random_rollouts": True},
        {"learning_starts": 5},
        {"use_sde": True},
        {"name": "TD3", "action_noise": NormalActionNoise(np.zeros(1), np.ones(1))},
        {"name": "PPO", "batch_size": B, "gradient_steps": None, "retain_epochs": None},
        {"policy": type("Mine", (SACPolicy,), {"_predict": lambda self, rows, deterministic=False: rows[:, :1]})},
        {"fast": False},
    ],
)
def test_who_chooses_otherwise_is_refused(options: dict[str, Any]) -> None:
    """Noise, random actions or a policy's own choice would silently be left out."""
    with pytest.raises(ConfigError, match="overlap"):
        make(**options)


def test_a_hook_of_later_is_refused_too() -> None:
    """The actor is asked for its distribution, past hooks on its `forward`."""
    agent = make()
    agent.actor.register_forward_hook(lambda module, inputs, output: 0.5 * output)
    with pytest.raises(ConfigError, match=r"overlap: .* without hooks"):
        agent.learn(B * H, log_interval=None)
    agent = make()
    agent.policy._predict = lambda rows, deterministic=False: rows[:, :1]
    with pytest.raises(ConfigError, match="overlap"):
        agent.learn(B * H, log_interval=None)


@pytest.mark.parametrize("asked_for", [True, False], ids=["asked for", "left over"])
def test_an_error_in_the_thread_is_raised_once(monkeypatch: pytest.MonkeyPatch, asked_for: bool) -> None:
    """By the run that needs the rollouts; one that starts anew has nothing to do with it."""
    agent, advance = make(), Rollouts.advance

    def fail(self: Rollouts, actions: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("the model failed")
        return advance(self, actions)

    def fail_to_update(*_: Any, **__: Any) -> None:
        raise ValueError("the updates failed")

    monkeypatch.setattr(Rollouts, "advance", fail)
    if not asked_for:
        monkeypatch.setattr(type(agent), "train", fail_to_update)
    with pytest.raises(ValueError, match="the model failed" if asked_for else "the updates failed"):
        agent.learn(3 * B * H, log_interval=None)
    assert (agent._pending is None) == asked_for
    monkeypatch.undo()
    agent.learn(B * H, log_interval=None)
    assert agent.num_timesteps == B * H
