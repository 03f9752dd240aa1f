"""`TrainConfig` refuses what cannot be run before anything runs."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from torch import nn

from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.resolve import resolve
from mopo_env.errors import ConfigError

TASK = "halfcheetah-mixed"
NAN, INFINITY = float("nan"), float("inf")
POSITIVE = ("epochs", "gradient_steps", "retain_epochs", "evaluation_episodes", "threads")
NOT_NEGATIVE = ("evaluate_every", "seed")
POSITIVE_OR_NONE = ("rollout_batch_size", "horizon")
NUMBER_OR_NONE = ("exit_reward", "target_entropy")
NO_INTEGERS: tuple[Any, ...] = (-1, 2.5, "3", True)
BAD = [
    *[(name, value) for name in POSITIVE for value in (*NO_INTEGERS, 0, None)],
    *[(name, value) for name in NOT_NEGATIVE for value in (*NO_INTEGERS, None)],
    *[(name, value) for name in POSITIVE_OR_NONE for value in (*NO_INTEGERS, 0)],
    *[(name, value) for name in ("random_rollouts", "standardise") for value in (0, 1, "yes", "random", NAN)],
    *[("real_env", value) for value in (5, True, ["Hopper-v5"])],
    *[("checkpoint_every", value) for value in NO_INTEGERS],
    *[(name, value) for name in ("penalty_coef", "save_every") for value in (-0.1, NAN, INFINITY, "1", True)],
    *[("penalty_reward", value) for value in (0, 1, "yes", NAN)],
    *[(name, value) for name in ("deterministic", "overlap", "fast") for value in (0, 1, "yes", None, NAN)],
    *[("penalty_members", value) for value in (5, "some", True, "")],
    *[("penalty_units", value) for value in (1.0, "metres", False)],
    *[("precision", value) for value in ("half", "float64", None, 32)],
    *[("member_per", value) for value in ("episode", 1, True)],
    *[(name, value) for name in NUMBER_OR_NONE for value in (NAN, INFINITY, "1", True)],
    *[("real_ratio", value) for value in (-0.01, 1.01, NAN, INFINITY, "0.5", True)],
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_refused_by_name(name: str, value: Any) -> None:
    """A typo must cost a second and not a night: the message says which option, and what was found."""
    with pytest.raises(ConfigError, match=rf"^{name}: ") as caught:
        TrainConfig(task=TASK, **{name: value})
    assert repr(value) in str(caught.value)


GOOD = [
    *[(name, 1) for name in (*POSITIVE, *POSITIVE_OR_NONE, "real_ratio")],
    *[(name, 0) for name in (*NOT_NEGATIVE, *NUMBER_OR_NONE, "penalty_coef", "real_ratio")],
    *[(name, None) for name in (*POSITIVE_OR_NONE, *NUMBER_OR_NONE, "penalty_coef", "random_rollouts")],
    *[(name, value) for name in ("checkpoint_every", "save_every") for value in (0, None)],
    *[
        (name, None)
        for name in ("penalty_members", "penalty_units", "penalty_reward", "real_ratio", "member_per", "on_exit")
    ],
]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_the_ends_of_each_range_are_allowed(name: str, value: Any) -> None:
    """λ = 0, f = 0 and f = 1 are baselines of the paper."""
    assert getattr(TrainConfig(task=TASK, **{name: value}), name) == value


def test_every_option_is_documented() -> None:
    """The command line shows the docstring's lines as its help."""
    assert TrainConfig.__doc__ is not None
    for field in fields(TrainConfig):
        assert f"\n        {field.name}: " in TrainConfig.__doc__


def test_the_defaults_are_the_papers() -> None:
    """5 % real rows from the text; 1,000 updates an epoch and five epochs' rows kept from the paper's code."""
    config = TrainConfig(task="MOPO-hopper-mixed")
    assert (config.method, config.agent, config.penalty) == (None, None, None)  # the method's
    assert (config.gradient_steps, resolve(config).config.real_ratio, config.retain_epochs) == (1000, 0.05, 5)
    assert (config.horizon, config.penalty_coef, config.random_rollouts) == (None, None, None)  # the task's


class TestAgentOptions:
    """They are written into config.json, from which a run can be repeated."""

    def test_they_are_as_json_gives_them_back(self) -> None:
        """What is trained is what a repetition would train; and who gave them may change theirs afterwards."""
        given = {"policy_kwargs": {"net_arch": (16, np.int64(8))}, "learning_rate": np.float64(1e-3)}
        config = TrainConfig(task=TASK, agent_options=given)
        assert config.agent_options == {"policy_kwargs": {"net_arch": [16, 8]}, "learning_rate": 1e-3}
        given["learning_rate"] = 1.0
        assert config.agent_options["learning_rate"] == 1e-3

    @pytest.mark.parametrize(
        "value", [nn.Tanh, {"activation_fn": nn.Tanh}, lambda left: 1e-3 * left, float("inf"), object(), {1, 2}]
    )
    def test_what_is_no_data_is_refused(self, value: Any) -> None:
        with pytest.raises(ConfigError, match=r"^agent_options: expected data that JSON can hold.*agent_class="):
            TrainConfig(task=TASK, agent_options={"policy_kwargs": value})

    @pytest.mark.parametrize("options", [None, 5, "learning_rate", ["learning_rate"], {1: 2}])
    def test_what_is_no_mapping_is_refused(self, options: Any) -> None:
        with pytest.raises(ConfigError, match=r"^agent_options: expected a mapping from names to values"):
            TrainConfig(task=TASK, agent_options=options)

    def test_nothing_is_said_twice(self) -> None:
        """The agent's would win in silence, and config.json would name the other."""
        with pytest.raises(ConfigError, match=r"^agent_options: found seed, gradient_steps\. Set it as an option"):
            TrainConfig(task=TASK, agent_options={"seed": 1, "learning_rate": 0.1, "gradient_steps": 5})
