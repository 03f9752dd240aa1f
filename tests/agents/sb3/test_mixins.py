"""Uniform random actions in the rollouts: uniform indeed, scaled for the buffer, and nothing else changed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.agents import HIGH, LOW, make_small, penalized_model, quiet_jax
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from mopo_agents.agents import agent_name, get_agent_class
from mopo_agents.policies import load_policy, save_policy
from mopo_env.envs.rollouts import Rollouts
from mopo_env.errors import ConfigError

B, H, UPDATES = 500, 4, 2


def small(agent: Any = "SAC", **options: Any) -> Any:
    updates = {} if issubclass(get_agent_class(agent), OnPolicyAlgorithm) else {"gradient_steps": UPDATES}
    sizes: dict[str, Any] = {"horizon": H, "rollout_batch_size": B, "random_rollouts": True, **updates}
    return make_small(agent, penalized_model(), **{**sizes, **options})


def rollout_actions(agent: Any, monkeypatch: pytest.MonkeyPatch, epochs: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Let an agent learn, and return the actions that the model and the buffer got, shapes ``(b·h·epochs, 2)``."""
    stepped: list[np.ndarray] = []
    advance = Rollouts.advance

    def spy(self: Rollouts, actions: torch.Tensor) -> Any:
        stepped.append(actions.numpy().copy())
        return advance(self, actions)

    with monkeypatch.context() as patch:
        patch.setattr(Rollouts, "advance", spy)
        agent.learn(epochs * B * H, log_interval=None)
    return np.concatenate(stepped), agent.replay_buffer.actions[: epochs * H].reshape(-1, 2)


def chi_square(values: np.ndarray, bins: int = 20) -> float:
    """Return the statistic of a histogram of values in −1…1 against the uniform distribution."""
    counts, _ = np.histogram(values, bins, range=(-1, 1))
    expected = len(values) / bins
    return float(((counts - expected) ** 2).sum() / expected)


@pytest.mark.parametrize("agent", ["SAC", "TD3", "DDPG", "TQC", "CrossQ"])
def test_actions_are_uniform_and_stored_scaled(agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chi-square of 20 bins with 6,000 draws a dimension: beyond 43.8 by chance once in a thousand (19 degrees)."""
    raw, stored = rollout_actions(small(agent), monkeypatch, epochs=3)
    assert raw.shape == stored.shape == (3 * B * H, 2)
    assert raw.dtype == stored.dtype == np.float32
    np.testing.assert_allclose(raw, LOW + (stored + 1) / 2 * (HIGH - LOW), atol=1e-5)
    assert ((raw >= LOW) & (raw <= HIGH)).all()
    for column in stored.T:
        assert chi_square(column) < 43.8
    # Independent of each other, of the next row and of the next step; the standard error is 1/√6000 = 0.013.
    for other in (stored[:, 1], np.roll(stored[:, 0], 1), np.roll(stored[:, 0], B)):
        assert abs(np.corrcoef(stored[:, 0], other)[0, 1]) < 0.05


def test_the_agents_own_actions_are_not_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above would say of rollouts that are not random."""
    _, stored = rollout_actions(small(random_rollouts=False), monkeypatch, epochs=3)
    assert max(chi_square(column) for column in stored.T) > 43.8


def test_updates_and_predictions_are_the_agents_own() -> None:
    """Only the choice of rollout actions is replaced; `make_agent` sets the rest as ever."""
    agent, plain = small(), small(random_rollouts=False)
    assert isinstance(agent, SAC)
    for name in ("train", "predict", "learn", "collect_rollouts", "_store_transition"):
        assert getattr(type(agent), name) is getattr(type(plain), name)
    agent.learn(2 * B * H, log_interval=None)
    assert agent._n_updates == 2 * UPDATES
    assert agent.replay_buffer.size() * B == 2 * B * H
    states = np.zeros((3, 3), np.float32)
    first, again = (agent.predict(states, deterministic=True)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_the_same_batches_give_the_same_weights() -> None:
    """An update of an agent with random rollouts is bit for bit an update of one without."""
    filled = small(seed=4)
    filled.learn(B * H, log_interval=None)
    weights: list[dict[str, np.ndarray]] = []
    for choice in (True, False):
        agent = small(random_rollouts=choice, seed=5)  # the same weights to begin with
        agent._setup_learn(B * H)
        agent.replay_buffer = filled.replay_buffer
        agent.replay_buffer._generator.manual_seed(3)
        with torch.random.fork_rng():
            torch.random.default_generator.manual_seed(0)
            agent.train(gradient_steps=2, batch_size=64)
        weights.append({name: tensor.numpy().copy() for name, tensor in agent.policy.state_dict().items()})
    for name, tensor in weights[0].items():
        np.testing.assert_array_equal(tensor, weights[1][name])
    assert any((tensor != small(seed=5).policy.state_dict()[name].numpy()).any() for name, tensor in weights[0].items())


def test_the_seed_decides_the_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not the global generators; nor are they the numbers that the replay buffer draws its rows with."""
    runs = []
    for global_seed, seed in ((0, 7), (1, 7), (0, 8)):
        np.random.seed(global_seed)  # noqa: NPY002  # the global generator is what this is about
        runs.append(rollout_actions(small(seed=seed), monkeypatch)[1])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()
    buffers = np.random.default_rng(7).uniform(-1, 1, (B, 2)).astype(np.float32)
    assert (runs[0][:B] != buffers).all()


def test_noise_is_not_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clipped noise on top of uniform actions would pile up at the bounds."""
    noise = NormalActionNoise(np.zeros(2), np.ones(2))
    _, stored = rollout_actions(small("TD3", action_noise=noise), monkeypatch)
    assert np.abs(stored).max() < 1.0


@pytest.mark.parametrize("agent", ["PPO", PPO, A2C])
def test_on_policy_agents_refuse(agent: Any) -> None:
    """They would learn from actions whose probabilities they take for their own."""
    with pytest.raises(ConfigError, match=r"^random_rollouts: .* is not off-policy.*set random_rollouts to False"):
        small(agent)


def test_policies_and_agents_can_be_saved(tmp_path: Path) -> None:
    """Both ways, ours and SB3's, and SB3's also into the plain class."""
    agent = small()
    agent.learn(B * H, log_interval=None)
    states = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    expected, _ = agent.predict(states, deterministic=True)
    save_policy(agent, tmp_path)
    stream = io.BytesIO()
    agent.save(stream)
    loaded: list[Any] = [load_policy(tmp_path)]
    for agent_class in (SAC, type(agent)):
        stream.seek(0)
        loaded.append(agent_class.load(stream, env=agent.get_env()))
    for policy in loaded:
        np.testing.assert_array_equal(policy.predict(states, deterministic=True)[0], expected)
    assert type(loaded[1]) is SAC
    assert "_action_random" not in vars(loaded[1])


@quiet_jax
def test_sbx_agents_roll_out_at_random_too(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = small("SBX-SAC")
    raw, stored = rollout_actions(agent, monkeypatch, epochs=3)
    np.testing.assert_allclose(raw, LOW + (stored + 1) / 2 * (HIGH - LOW), atol=1e-5)
    for column in stored.T:
        assert chi_square(column) < 43.8
    assert agent._n_updates == 3 * UPDATES
    assert agent_name(type(agent)) == "SBX-SAC", "else its policy would be saved under no name"
