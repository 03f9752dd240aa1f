"""An agent's class and its log say what runs, and a switch leaves it to Stable-Baselines3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stable_baselines3 import DQN, SAC

from mopo_agents.agents import agent_name, fast_path, make_agent
from mopo_agents.policies import save_policy
from mopo_agents.sb3.compose import compose
from mopo_agents.sb3.mixins import plain_class
from mopo_agents.sb3.value_agents import ValueAgent
from mopo_env._utils.store import read_artifact
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.toys import LinearGaussianSystem

B, H = 16, 2


def make(name: str = "SAC", **options: Any) -> Any:
    system = LinearGaussianSystem()
    penalized_model = PenalizedModel(system.model(), system.transitions())
    sizes = {"horizon": H, "rollout_batch_size": B, "policy_kwargs": {"net_arch": [8]}}
    return make_agent(name, penalized_model, **{**sizes, **options})


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("SAC", {}, "SAC[FastSAC, BatchedRollouts]"),
        ("SAC", {"overlap": True}, "SAC[FastSAC, OverlappedRollouts]"),
        ("SAC", {"random_rollouts": True}, "SAC[FastSAC, RandomRollouts, BatchedRollouts]"),
        ("SAC", {"random_rollouts": True, "fast": False}, "SAC[RandomRollouts]"),
        ("TD3", {}, "TD3[BatchedRollouts]"),
        ("SAC", {"fast": False}, "SAC"),
        ("PPO", {"batch_size": B}, "PPO"),
    ],
)
def test_the_class_tells_what_runs(name: str, options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    """Under the name of Stable-Baselines3's class, its user would look for an error in the wrong file."""
    agent = make(name, **options)
    assert type(agent).__name__ == expected
    assert agent_name(type(agent)) == name
    save_policy(agent, tmp_path)
    assert read_artifact(tmp_path, "policy")[1]["agent"] == name


def test_the_switch_leaves_the_class_as_it_is() -> None:
    """What DQN needs for many rollouts is no fast path, and stays."""
    assert compose(SAC, fast=False) is SAC
    assert plain_class(compose(SAC)) is plain_class(SAC) is SAC
    assert compose(DQN, fast=False).__mro__[1] is ValueAgent


def test_it_is_said_which_code_runs() -> None:
    agent = make()
    assert fast_path(agent).startswith(
        "SAC: rollouts by mopo_agents in batches, updates by mopo_agents with written-out gradients; make_agent("
    )
    assert "updates by the agent's own code; make_agent(" in fast_path(make("TD3"))
    assert fast_path(make(fast=False)) == "SAC: rollouts and updates by the agent's own code"
    agent.actor.mu.bias.requires_grad_(False)
    assert "updates by the agent's own code, since a parameter is frozen" in fast_path(agent)
    assert "rollouts by the agent's own code" in fast_path(make(use_sde=True))


def test_the_log_of_learn_says_it_once(capsys: pytest.CaptureFixture[str]) -> None:
    """With verbose=1, as everything that Stable-Baselines3 says."""
    agent = make(verbose=1, gradient_steps=1)
    agent.learn(3 * B * H, log_interval=None)
    assert capsys.readouterr().out.count(fast_path(agent)) == 1
    make(gradient_steps=1).learn(B * H, log_interval=None)
    assert capsys.readouterr().out == ""
