"""What a run is, decided once: who has the last word, what is refused, and what makes a run another than its method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from helpers.runs import MODEL_OPTIONS, TASK, resolved
from stable_baselines3 import A2C, SAC

from mopo_agents.baselines import OfflineSAC
from mopo_agents.runs.config import NEEDS, TrainConfig
from mopo_agents.runs.methods import DEFAULT_METHOD, METHODS, Method
from mopo_agents.runs.resolve import resolve
from mopo_env.errors import ConfigError, UnknownNameError
from mopo_env.tasks import get_task


def test_what_is_given_comes_before_the_method_and_the_method_before_the_task() -> None:
    plain = resolved("MOPO-hopper-mixed", method="mbpo")
    assert (plain.task, plain.penalty, plain.horizon, plain.penalty_coef) == ("hopper-mixed", "none", 5, 5.0)
    assert (plain.agent, plain.random_rollouts) == ("SAC", False)
    options: dict[str, Any] = {"penalty": "learned-variance", "horizon": 2, "penalty_coef": 0.0, "agent": "TD3"}
    given = resolved("hopper-mixed", method="mbpo", random_rollouts=True, **options)
    assert {name: getattr(given, name) for name in options} == options
    assert given.random_rollouts is True
    assert resolved("ant-angle", method="mopo-no-lip").random_rollouts is True


def test_the_task_of_a_run_has_its_numbers() -> None:
    """Whoever holds the run asks its task and nobody else."""
    assert resolve(TrainConfig(task=TASK)).task == get_task(TASK)
    given = {"horizon": 7, "penalty_coef": 0.0, "termination": "never", "real_env": "HalfCheetah-v4"}
    task = resolve(TrainConfig(task=TASK, random_rollouts=True, **given)).task  # type: ignore[arg-type]
    assert (task.horizon, task.penalty_coef, task.termination) == (7, 0.0, "never")
    assert (task.real_env_id, task.rollout_policy) == ("HalfCheetah-v4", "random")
    assert resolve(TrainConfig(task="halfcheetah-jump", random_rollouts=False)).task.rollout_policy == "agent"


@pytest.mark.parametrize("options", [{"method": "mbpo", "seed": 3}, {"method": "bear"}, {"agent": "PPO"}])
def test_nothing_is_left_open(options: dict[str, Any]) -> None:
    """What was resolved resolves to itself, so that a run can be repeated from what it recorded."""
    config = resolved("hopper-mixed", **options)
    assert resolve(config).config == config
    # These are the agent's own where nobody sets them, say that there is none, or belong to the penalty alone.
    may_be_none = {"target_entropy", "exit_reward", "mean_penalty", "dataset", "ensemble"}
    may_be_none |= {"envelope_margin", "envelope_quantile"}
    may_be_none |= {"penalty_members", "penalty_reward", "penalty_units"}
    assert {name for name, value in resolve(config).options.items() if value is None} - may_be_none == {
        name
        for name, needs in NEEDS.items()
        if ("model" in needs and options.get("method") == "bear") or ("off-policy" in needs and "agent" in options)
    } - may_be_none


def test_the_penalty_says_what_it_asks() -> None:
    """A default that stays unnamed may change between versions."""
    config = resolved()
    assert (config.penalty_members, config.penalty_reward, config.penalty_units) == ("all", True, "raw")
    oracle = resolved(penalty="oracle", penalty_reward=True)
    assert (oracle.penalty_members, oracle.penalty_reward, oracle.penalty_units) == ("elites", True, "raw")
    assert resolved(penalty="nearest-neighbour").penalty_units is None
    with pytest.raises(UnknownNameError, match="ensemble-std"):
        resolved(penalty="ensemble-sdt")


@pytest.mark.parametrize(
    ("agent_class", "options", "expected"),
    [(SAC, {}, 50_000), (A2C, {}, 1_024), (None, {"agent": "TQC"}, 50_000), (None, {"agent": "PPO"}, 1_024)],
)
def test_the_default_rollout_batch_depends_on_the_kind_of_agent(
    agent_class: Any, options: dict[str, Any], expected: int
) -> None:
    """On-policy agents evaluate the critic once for each truncated rollout: 50,000 would take them minutes."""
    if options.get("agent") == "TQC":
        pytest.importorskip("sb3_contrib")
    assert resolve(TrainConfig(task=TASK, **options), agent_class).rollout_batch_size == expected
    assert resolve(TrainConfig(task=TASK, rollout_batch_size=7, **options), agent_class).rollout_batch_size == 7


class Mine(OfflineSAC):
    """A baseline of a user's own."""


def test_a_baseline_of_ones_own_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{Mine.__module__}.Mine"
    monkeypatch.setitem(METHODS, "mine", Method(name="mine", title="Mine", train={"agent": name}, model_free=True))
    assert resolve(TrainConfig(task="hopper-mixed"), Mine).method.name == "mine"


def test_what_belongs_to_a_model_stays_open_without_one() -> None:
    """The task's h and λ are silent defaults, and would be read as used if they were filled in."""
    for task in ("hopper-medium", "ant-angle"):
        run = resolve(TrainConfig(task=task, method="bear"))
        assert {run.options[name] for name in MODEL_OPTIONS} == {None}
        assert run.options["gradient_steps"] == 1000


MODEL_CHOICES: dict[str, Any] = {
    "rollout_batch_size": 8,
    "horizon": 5,
    "penalty_coef": 1.0,
    "penalty": "none",
    "penalty_members": "all",
    "penalty_reward": False,
    "penalty_units": "raw",
    "mean_penalty": 1.0,
    "envelope_margin": 1.5,
    "envelope_quantile": 0.9,
    "exit_reward": 0.0,
    "on_exit": "truncate",
    "member_per": "rollout",
    "deterministic": True,
    "precision": "bfloat16",
    "overlap": True,
    "termination": "never",
    "random_rollouts": False,
    "real_ratio": 0.5,
    "retain_epochs": 2,
    "ensemble": "somewhere",
}


@pytest.mark.parametrize("name", MODEL_CHOICES)
def test_what_is_said_about_a_model_that_is_not_there_is_refused(name: str) -> None:
    """Ignored in silence, it would pass for having made no difference. The method or its agent may have been named."""
    choice = {name: MODEL_CHOICES[name]}
    assert resolved("hopper-mixed", **choice).method == DEFAULT_METHOD
    choices: list[dict[str, Any]] = [{"method": "bear"}, {"agent": "BEAR"}]
    for baseline in choices:
        with pytest.raises(ConfigError, match=f"^{name}: BEAR learns from the dataset alone"):
            resolved("hopper-mixed", **baseline, **choice)


OFF_POLICY_CHOICES = {
    "gradient_steps": 5,
    "real_ratio": 0.0,
    "retain_epochs": 1,
    "random_rollouts": True,
    "overlap": True,
}


@pytest.mark.parametrize("agent", ["PPO", "A2C"])
@pytest.mark.parametrize("name", OFF_POLICY_CHOICES)
def test_what_an_on_policy_agent_cannot_use_is_refused(name: str, agent: str) -> None:
    """It has no buffer, no real rows in it and no number of updates: a sweep over any of these would be flat."""
    choice: dict[str, Any] = {name: OFF_POLICY_CHOICES[name]}
    resolved("hopper-mixed", agent="SAC", **choice)
    with pytest.raises(ConfigError, match=f"^{name}: {agent} is on-policy"):
        resolved("hopper-mixed", agent=agent, **choice)


def test_an_on_policy_agent_rolls_out_itself_where_the_task_would_not() -> None:
    run = resolve(TrainConfig(task="halfcheetah-jump", agent="PPO", random_rollouts=False))
    assert (run.task.rollout_policy, run.changed) == ("agent", {})


def test_all_that_is_refused_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"^horizon, penalty_coef: BC learns"):
        resolved("hopper-mixed", method="bc", horizon=1, penalty_coef=1.0)


@pytest.mark.parametrize("agent", ["TD3", "PPO", "BRAC-v"])
def test_a_target_entropy_of_an_agent_without_one_is_refused(agent: str) -> None:
    """It would be accepted and do nothing."""
    with pytest.raises(ConfigError, match=f"^target_entropy: {agent} has none"):
        resolved(agent=agent, target_entropy=-3.0)
    assert resolved(agent="offline-SAC", target_entropy=-3.0).target_entropy == -3.0  # its class does not name it


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, {}),
        ({"epochs": 3, "seed": 9, "agent": "TD3", "evaluate_every": 0, "dataset": "data", "device": "cuda"}, {}),
        ({"penalty": "ensemble-std", "horizon": 5, "penalty_coef": 1.0}, {}),
        ({"penalty": "none"}, {"penalty": "none"}),
        ({"method": "mbpo", "penalty": "none"}, {}),
        ({"method": "mbpo", "penalty": "ensemble-std"}, {"penalty": "ensemble-std"}),
        ({"penalty_members": "elites", "penalty_units": "raw"}, {"penalty_members": "elites"}),
        ({"penalty_coef": 2.0, "horizon": 1}, {"penalty_coef": 2.0, "horizon": 1}),
        ({"real_ratio": 0.5, "member_per": "rollout"}, {"real_ratio": 0.5, "member_per": "rollout"}),
        ({"target_entropy": -3.0, "deterministic": True}, {"target_entropy": -3.0, "deterministic": True}),
        ({"envelope_margin": 2.0, "precision": "bfloat16"}, {"envelope_margin": 2.0, "precision": "bfloat16"}),
        ({"agent_options": {"learning_rate": 0.1}}, {"learning_rate": 0.1}),
        ({"rollout_batch_size": 8, "gradient_steps": 7, "evaluation_episodes": 1}, {}),
        ({"method": "bear"}, {}),
        ({"agent": "bear", "epochs": 3, "gradient_steps": 7, "dataset": "data"}, {}),
        ({"method": "brac-v", "standardise": True}, {"standardise": True}),
        ({"method": "sac", "target_entropy": -3.0}, {"target_entropy": -3.0}),
    ],
)
def test_what_makes_a_run_another_than_its_method(options: dict[str, Any], changed: dict[str, Any]) -> None:
    """A report must not print the paper's number beside a run with other options."""
    run = resolve(TrainConfig(task=TASK, **options))
    found = {name: value for name, value in run.changed.items() if name not in ("agent_options",)}
    assert found == changed
    assert resolve(run.config).changed == run.changed


def test_the_name_of_a_run_says_what_it_is() -> None:
    """The default method is left out of it, and the agent of a method that is one."""
    names = [resolve(TrainConfig(task=TASK, **options)).name for options in ({}, {"method": "mbpo"}, {"agent": "bc"})]
    assert names == [f"{TASK}-SAC-seed0", f"{TASK}-mbpo-SAC-seed0", f"{TASK}-bc-seed0"]
    assert resolve(replace(TrainConfig(task=TASK), seed=7)).name.endswith("seed7")
