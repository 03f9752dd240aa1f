"""The loop of the agents without a model: so many updates, every row from the dataset, and an end to what explodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from helpers.agents import same_weights, toy_model, weights
from helpers.offline_toy import OPTIONS, policy_actions, small_agent, toy_transitions
from helpers.transitions import transitions
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback

import mopo_env  # noqa: F401  # registers the ids
from mopo_agents.agents import make_agent, make_offline_agent
from mopo_agents.baselines import BC, DatasetEnv
from mopo_agents.replay_buffer import MixedReplayBuffer
from mopo_env.errors import ConfigError, UnknownNameError
from mopo_env.transitions import Transitions

NAMES = list(OPTIONS)


def wide_transitions(low: list[float], high: list[float]) -> Transitions:
    """Two actions with bounds that are neither 1 nor symmetric."""
    actions = np.random.default_rng(0).uniform(low, high, size=(30, 2))
    rows: dict[str, Any] = {"rewards": np.arange(30), "terminations": np.arange(30) % 3 == 0}
    return transitions(widths=(3, 2), actions=actions, action_space=Box(np.float32(low), np.float32(high)), **rows)


@pytest.mark.parametrize("name", NAMES)
def test_learn_counts_updates(name: str) -> None:
    """Two epochs of three updates, no transition added, an actor that moved."""
    agent = small_agent(name, gradient_steps=3)
    before = weights(agent)
    agent.learn(6)
    assert (agent.num_timesteps, agent._n_updates) == (6, 6)
    assert agent.replay_buffer.size() == 0
    after = weights(agent)
    assert any((after[key] != before[key]).any() for key in before if key.startswith("actor."))
    agent.learn(3, reset_num_timesteps=False)
    assert (agent.num_timesteps, agent._n_updates) == (9, 9)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_every_weight(name: str) -> None:
    first, again, other = (small_agent(name, gradient_steps=3, seed=seed).learn(3) for seed in (7, 7, 8))
    assert same_weights(first, again)
    assert not same_weights(first, other)


@pytest.mark.parametrize("name", NAMES)
def test_asking_for_an_action_moves_no_generator(name: str) -> None:
    """An evaluation in the middle of a run must not change how it goes on; BEAR's best of a hundred included."""
    agent = small_agent(name, gradient_steps=1)
    before = torch.get_rng_state()
    first, again = policy_actions(agent), policy_actions(agent)
    np.testing.assert_array_equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_row_is_the_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real rows and no others, actions scaled to −1…1, and a terminal row as one."""
    data = wide_transitions([0.0, -3.0], [10.0, 1.0])
    agent: Any = make_offline_agent("offline-SAC", data, gradient_steps=4, policy_kwargs={"net_arch": [8]})
    batches: list[Any] = []
    sample = MixedReplayBuffer.sample

    def spy(self: MixedReplayBuffer, *args: Any, **options: Any) -> Any:
        batches.append(sample(self, *args, **options))
        return batches[-1]

    monkeypatch.setattr(MixedReplayBuffer, "sample", spy)
    agent.learn(4)
    assert len(batches) == 4
    for batch in batches:
        rows = batch.rewards[:, 0].long().numpy()  # the reward is the number of the row
        assert len(rows) == 256
        np.testing.assert_array_equal(batch.observations, data.observations[rows])
        np.testing.assert_array_equal(batch.next_observations, data.next_observations[rows])
        np.testing.assert_array_equal(batch.dones[:, 0], data.terminations[rows])
        scaled = (data.actions[rows] - [5.0, -1.0]) / [5.0, 2.0]
        np.testing.assert_allclose(batch.actions, scaled, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_actions_come_back_in_the_units_of_the_data(name: str) -> None:
    agent = make_offline_agent(
        name, wide_transitions([4.0, -3.0], [10.0, -2.0]), gradient_steps=2, policy_kwargs={"net_arch": [8]}
    ).learn(2)
    actions = agent.predict(np.zeros((5, 3), dtype=np.float32), deterministic=True)[0]
    assert actions.shape == (5, 2)
    assert ((actions >= [4.0, -3.0]) & (actions <= [10.0, -2.0])).all()


def test_the_classes_work_as_those_of_stable_baselines() -> None:
    """Without our functions: a class, "MlpPolicy", and the dataset where the environment is expected."""
    agent = BC("MlpPolicy", DatasetEnv(toy_transitions()), gradient_steps=2, policy_kwargs={"net_arch": [8]}).learn(4)
    assert agent._n_updates == 4


@pytest.mark.parametrize("name", NAMES)
def test_stable_baselines_own_save_and_load(name: str, tmp_path: Path) -> None:
    """For those who go on training what they saved; our own files hold what acts."""
    agent = small_agent(name, gradient_steps=3).learn(3)
    agent.save(tmp_path / "agent.zip")
    loaded = type(agent).load(tmp_path / "agent.zip", env=DatasetEnv(toy_transitions()))
    np.testing.assert_array_equal(policy_actions(loaded), policy_actions(agent))
    loaded.learn(3, reset_num_timesteps=False)
    assert loaded._n_updates == 6
    alone = type(agent).load(tmp_path / "agent.zip")
    np.testing.assert_array_equal(policy_actions(alone), policy_actions(agent))


def test_callbacks_see_one_step_an_epoch_and_can_end_the_run() -> None:
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 2

    agent = small_agent("BC", gradient_steps=2)
    agent.learn(20, callback=Stop())
    assert agent._n_updates == 2  # the second step ends the run before its updates


def test_a_dataset_cannot_be_stepped() -> None:
    env = DatasetEnv(toy_transitions())
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    with pytest.raises(ConfigError, match="cannot be stepped"):
        env.step(env.action_space.sample())


@pytest.mark.parametrize("value", [0, -1, 2.5, True])
def test_wrong_numbers_of_updates_are_refused(value: Any) -> None:
    """SB3 reads −1 as "as many as steps were taken": none, for ever."""
    with pytest.raises(ConfigError, match="gradient_steps"):
        small_agent("BC", gradient_steps=value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("space", [Discrete(3), Box(-np.inf, np.inf, (1,), np.float32)])
def test_actions_that_are_not_continuous_and_bounded_are_refused(name: str, space: Any) -> None:
    """A tanh of a Gaussian has no other actions; each algorithm would fail somewhere else, and later."""
    data = toy_transitions()
    object.__setattr__(data, "action_space", space)
    with pytest.raises(ConfigError, match="needs continuous actions with finite bounds"):
        small_agent(name, data)


def test_an_environment_is_refused_where_a_dataset_is_needed() -> None:
    import gymnasium as gym

    with pytest.raises(ConfigError, match="pass DatasetEnv"):
        BC("MlpPolicy", gym.make("MOPO-linear-gaussian"))


def test_each_kind_of_agent_names_the_function_for_the_other() -> None:
    penalized_model = toy_model()
    with pytest.raises(ConfigError, match=r"BEAR learns from a dataset alone.*make_offline_agent"):
        make_agent("BEAR", penalized_model, horizon=5)
    with pytest.raises(ConfigError, match=r"SAC learns from steps.*make_agent"):
        make_offline_agent(SAC, penalized_model.transitions)
    with pytest.raises(UnknownNameError, match="Did you mean 'BEAR'"):
        make_offline_agent("BAER", penalized_model.transitions)
    with pytest.raises(ConfigError, match="device"):
        make_offline_agent("BC", penalized_model.transitions, device="warp-drive")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("BC", {"learning_rate": 0.0}, "learning_rate"),
        ("BEAR", {"kernel": "cosine"}, "unknown kernel 'cosine'"),
        ("BEAR", {"sigma": 0.0}, "sigma"),
        ("BEAR", {"threshold": float("nan")}, "threshold"),
        ("BEAR", {"vae_units": 0}, "vae_units"),
        ("BEAR", {"actor_learning_rate": -1.0}, "actor_learning_rate"),
        ("BEAR", {"warmup_updates": -1}, "warmup_updates"),
        ("BEAR", {"policy_kwargs": {"num_candidates": 0}}, "num_candidates"),
        ("BRAC-p", {"alpha": -0.1}, "alpha"),
        ("BRAC-v", {"cloning_updates": 1.5}, "cloning_updates"),
    ],
)
def test_wrong_options_are_refused_by_name(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_agent(name, **options)


def test_the_clone_takes_a_learning_rate_that_falls() -> None:
    """As every agent of Stable-Baselines3; it is asked anew in every epoch, for the actor and for the entropy."""
    agent = small_agent("BC", gradient_steps=2, learning_rate=lambda progress: 1e-3 * (1.0 + progress))
    agent.learn(4)
    for optimizer in (agent.cloner.optimizer, agent.cloner.entropy_weight.optimizer):
        assert optimizer.param_groups[0]["lr"] == 1e-3  # no progress remains
