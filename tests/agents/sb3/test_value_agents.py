"""DQN and QRDQN in epochs: every rollout explores on its own, and the target follows the updates."""

from __future__ import annotations

import inspect
import io
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from sb3_contrib import QRDQN
from stable_baselines3 import A2C, DQN, SAC

from mopo_agents.agents import agent_name, make_agent
from mopo_agents.sb3.value_agents import is_value_agent
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.toys import StubEnsemble
from mopo_env.transitions import Transitions

B, H, UPDATES, ACTIONS = 400, 4, 5, 3
NETWORKS = {"DQN": "q_net", "QRDQN": "quantile_net"}


def penalized_model() -> PenalizedModel:
    """Nothing moves, and nothing is paid."""
    rows = np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    transitions = Transitions(
        observations=rows,
        actions=np.arange(20) % ACTIONS,
        rewards=np.zeros(20),
        next_observations=rows,
        terminations=np.zeros(20, dtype=bool),
        truncations=np.zeros(20, dtype=bool),
        action_space=Discrete(ACTIONS),
    )
    return PenalizedModel(StubEnsemble(2, ACTIONS, mean=lambda s, a: (s, torch.zeros(len(s)))), transitions)


def small(name: Any, *, rollouts: int = B, **options: Any) -> Any:
    defaults = {"policy_kwargs": {"net_arch": [8]}, "batch_size": 16, "gradient_steps": UPDATES}
    return make_agent(name, penalized_model(), horizon=H, rollout_batch_size=rollouts, **{**defaults, **options})


def rollout(agent: Any, epochs: int = 1) -> np.ndarray:
    """Return the actions of the rollouts, shape ``(steps, rollouts)``."""
    agent.learn(epochs * H * agent.n_envs, log_interval=None)
    actions: np.ndarray = agent.replay_buffer.actions[: epochs * H, :, 0]
    return actions


def follow(agent: Any) -> list[list[torch.Tensor]]:
    """Record network and target after every update, each as one vector."""
    records: list[list[torch.Tensor]] = []
    name = NETWORKS[agent_name(type(agent))]
    networks = [getattr(agent, name), getattr(agent, f"{name}_target")]

    def record(*_: Any) -> None:
        records.append([torch.nn.utils.parameters_to_vector(network.parameters()).clone() for network in networks])

    record()
    agent.policy.optimizer.register_step_post_hook(record)
    return records


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("tau", "interval"), [(0.1, 1), (1.0, 3)])
def test_the_target_follows_the_updates_and_nothing_else(name: str, tau: float, interval: int) -> None:
    """θ′ ← (1 − τ)·θ′ + τ·θ after every so many updates, through two epochs; rollouts leave it alone."""
    agent = small(name, tau=tau, target_update_interval=interval, learning_rate=0.01)
    records = follow(agent)
    rollout(agent, epochs=2)
    assert len(records) == 1 + 2 * UPDATES
    _, expected = records[0]
    for update, (network, target) in enumerate(records[1:], start=1):
        if update % interval == 0:
            expected = (1 - tau) * expected + tau * network
        torch.testing.assert_close(target, expected)
    assert not torch.equal(records[-1][1], records[0][1])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_defaults(name: str) -> None:
    """A whole copy every 250 updates, and the learning rate of agents for states."""
    agent = small(name)
    assert (agent.tau, agent.target_update_interval) == (1.0, 250)
    assert agent.learning_rate == inspect.signature(SAC).parameters["learning_rate"].default


@pytest.mark.parametrize("name", NETWORKS)
def test_each_rollout_explores_on_its_own(name: str) -> None:
    """With one coin for all, every row of a step would be greedy, or none.

    The best action is 2 everywhere; of those that explore, two thirds choose another. Beyond 5 standard deviations a
    count lies once in a million.
    """
    agent = small(name, exploration_initial_eps=0.3, exploration_final_eps=0.3, learning_rate=0.0)
    weights = list(getattr(agent, NETWORKS[name]).parameters())
    with torch.no_grad():
        for tensor in weights:
            tensor.zero_()
        weights[-1].view(-1, ACTIONS)[:, 2] = 1.0
    actions = rollout(agent, epochs=2)
    share = 0.3 * 2 / 3
    others = (actions != 2).sum(axis=1)
    assert (abs(others - share * B) < 5 * np.sqrt(B * share * (1 - share))).all()
    counts = np.bincount(actions.ravel(), minlength=ACTIONS)
    assert abs(counts[0] - counts[1]) < 5 * np.sqrt(counts[0] + counts[1])
    assert len({row.tobytes() for row in actions}) == len(actions)


@pytest.mark.parametrize("name", NETWORKS)
def test_exploration_falls_with_the_progress_whatever_the_number_of_rollouts(name: str) -> None:
    """All of the first step explores, although Stable-Baselines3 starts from a rate of zero; then the schedule."""
    for rollouts in (1, 50):
        agent = small(name, rollouts=rollouts)
        agent.learn(10 * H * rollouts, log_interval=None)
        assert agent.exploration_rate == pytest.approx(agent.exploration_final_eps)
    first = rollout(small(name, rollouts=3_000))[0]
    assert (abs(np.bincount(first, minlength=ACTIONS) - 1_000) < 5 * np.sqrt(3_000 * 2 / 9)).all()


def test_the_same_seed_explores_alike_and_no_global_generator_is_asked() -> None:
    one, other = (small("DQN", seed=4) for _ in range(2))
    first = rollout(one)
    np.random.seed(123)  # noqa: NPY002  # what must not matter
    np.testing.assert_array_equal(rollout(other), first)
    assert (rollout(small("DQN", seed=5)) != first).any()


@pytest.mark.parametrize("name", NETWORKS)
def test_stable_baselines3_can_save_and_load_it(name: str) -> None:
    """Its own format leaves the generator out; what is loaded is the plain class, which warns of our interval."""
    agent = small(name)
    rollout(agent)
    stream = io.BytesIO()
    agent.save(stream)
    stream.seek(0)
    with pytest.warns(UserWarning, match="greater than the target network update interval"):
        loaded = {"DQN": DQN, "QRDQN": QRDQN}[name].load(stream, env=agent.get_env())
    assert "_action_random" not in vars(loaded)
    states = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    np.testing.assert_array_equal(
        loaded.predict(states, deterministic=True)[0], agent.predict(states, deterministic=True)[0]
    )


def test_who_is_a_value_agent() -> None:
    """A user's own DQN is one too; it keeps its name."""

    class Mine(DQN):
        pass

    class QRDQNLookalike(SAC):
        pass

    QRDQNLookalike.__name__ = "QRDQN"
    assert [is_value_agent(kind) for kind in (DQN, QRDQN, Mine)] == [True] * 3
    assert [is_value_agent(kind) for kind in (SAC, A2C, QRDQNLookalike)] == [False] * 3
    agent = small(Mine)
    assert isinstance(agent, Mine)
    assert agent_name(type(agent)) == agent_name(Mine)
