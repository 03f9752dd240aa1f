"""Policies that scale what they observe: the scale is the dataset's, and travels with the policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from mopo_agents.agents import get_agent_class, make_agent
from mopo_agents.policies import load_policy, save_policy
from mopo_agents.sb3.standardise import Standardise, standardised
from mopo_env._utils.store import read_artifact, write_artifact
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, StoreError
from mopo_env.toys import StubEnsemble
from mopo_env.transitions import Transitions


def penalized_model() -> PenalizedModel:
    """Two columns of very different size, and one that never changes."""
    random = np.random.default_rng(0)
    rows = np.stack([random.normal(5000, 300, 50), random.normal(0, 0.01, 50), np.full(50, 7.0)], axis=1)
    transitions = Transitions(
        observations=rows,
        actions=random.uniform(-1, 1, (50, 2)),
        rewards=np.zeros(50),
        next_observations=rows,
        terminations=np.zeros(50, dtype=bool),
        truncations=np.zeros(50, dtype=bool),
    )
    return PenalizedModel(StubEnsemble(3, 2, mean=lambda s, a: (s, torch.zeros(len(s)))), transitions)


def make(name: str, **options: Any) -> Any:
    updates = {} if name == "PPO" else {"gradient_steps": 1}
    options = {"policy_kwargs": {"net_arch": [8]}, **updates, **options}
    return make_agent(name, penalized_model(), horizon=2, rollout_batch_size=4, **options)


def test_networks_see_zero_mean_and_unit_variance() -> None:
    """But for the constant column, which would be divided by nothing."""
    data = penalized_model().transitions
    extractor = make("SAC", standardise=True).policy.actor.features_extractor
    assert isinstance(extractor, Standardise)
    seen = extractor(torch.tensor(data.observations)).numpy()
    np.testing.assert_allclose(seen.mean(axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(seen.std(axis=0), [1.0, 1.0, 0.0], atol=1e-3)
    assert extractor.std[2] == 1.0


def test_both_networks_are_scaled_and_nothing_else() -> None:
    """Actor, critic and target; the environment and the replay buffer stay in raw units."""
    agent = make("SAC", standardise=True)
    for network in (agent.actor, agent.critic, agent.critic_target):
        assert isinstance(network.features_extractor, Standardise)
    assert agent.env.reset()[:, 0].min() > 1000
    before = agent.critic_target.features_extractor.mean.clone()
    agent.learn(8, log_interval=None)
    assert torch.equal(agent.critic_target.features_extractor.mean, before)  # not learned, not averaged away
    assert np.abs(agent.replay_buffer.observations[0, :, 0]).min() > 1000


def test_off_by_default() -> None:
    """The paper's agents see raw observations."""
    assert not isinstance(make("SAC").policy.actor.features_extractor, Standardise)


def test_options_of_ones_own_come_first() -> None:
    transitions = penalized_model().transitions
    options = standardised(get_agent_class("SAC"), {"net_arch": [3], "features_extractor_class": dict}, transitions)
    assert (options["net_arch"], options["features_extractor_class"]) == ([3], dict)


@pytest.mark.parametrize("name", ["SAC", "TD3", "PPO", "TQC", "CrossQ"])
def test_the_scale_is_saved_with_the_policy(name: str, tmp_path: Path) -> None:
    """Whoever loads it gives raw units, and no class is named in the file that is not ours."""
    agent = make(name, standardise=True, **({"batch_size": 8} if name == "PPO" else {}))
    save_policy(agent, tmp_path)
    options = read_artifact(tmp_path, "policy")[1]["policy_options"]
    assert options["features_extractor_class"] == "Standardise"
    states = penalized_model().transitions.observations
    expected = agent.predict(states, deterministic=True)[0]
    np.testing.assert_array_equal(load_policy(tmp_path).predict(states, deterministic=True)[0], expected)


@pytest.mark.parametrize(
    "change",
    [
        {"features_extractor_class": "os.system"},
        {"features_extractor_class": "Standardize"},
        {"features_extractor_kwargs": {"mean": [0.0], "std": [1.0]}},
        {"features_extractor_kwargs": {"mean": ["a"] * 3, "std": [1.0] * 3}},
        {"features_extractor_kwargs": {"mean": None, "std": None}},
        {"features_extractor_kwargs": {}},
    ],
)
def test_a_file_that_asks_for_something_else_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    """A file names no class to be imported; and a scale that does not fit is no scale."""
    save_policy(make("SAC", standardise=True), tmp_path)
    tensors, metadata = read_artifact(tmp_path, "policy")
    metadata["policy_options"].update(change)
    write_artifact(tmp_path, "policy", tensors, metadata)
    with pytest.raises(StoreError, match="do not fit"):
        load_policy(tmp_path)


def test_sbx_cannot() -> None:
    """To ignore the option would give a policy that sees one column alone."""
    sac = type("SAC", (get_agent_class("SAC"),), {"__module__": "sbx.sac.sac"})
    with pytest.raises(ConfigError, match="SBX"):
        standardised(sac, None, penalized_model().transitions)


def test_one_number_for_each_column() -> None:
    extractor = Standardise(Box(-np.inf, np.inf, (2,), np.float32), [1.0, -2.0], [2.0, 4.0])
    assert extractor(torch.tensor([[5.0, 2.0]])).tolist() == [[2.0, 1.0]]
    assert extractor.features_dim == 2
    assert not list(extractor.parameters())
