"""The rows of the paper's tables: their numbers as printed, their options as described, and who has the last word."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from mopo_agents import methods
from mopo_agents.config import TrainConfig
from mopo_agents.methods import METHODS, Method, changed_options, get_method, resolve
from mopo_env.errors import UnknownNameError
from mopo_env.fit_config import FitConfig
from mopo_env.tasks import TASKS

# Table 3 as printed: halfcheetah-mixed, halfcheetah-jump, penalty type, Lip?
TABLE_3 = {
    "MOPO": (6418.3, 4140.6, "learned var", True),
    "MOPO, no Lip": (6393.3, 3912.3, "learned var", False),
    "MOPO, ens. penalty": (6405.2, 3763.2, "ensemble", True),
    "MOPO, no Lip, ens. penalty": (6502.4, 3239.4, "ensemble", False),
    "MOPO, no penalty": (6409.1, -980.8, "no penalty", True),
    "MBPO": (5598.4, 2971.4, "no penalty", False),
    "MBPO, no ens.": (2247.2, -68.7, "no penalty", False),
    "MOPO, oracle uncertainty": (7092.1, 3948.8, "oracle", True),
    "MOPO, no Lip, oracle uncertainty": (6837.3, 3917.6, "oracle", False),
}
PENALTIES = {
    "learned var": "learned-variance",
    "ensemble": "ensemble-disagreement",
    "no penalty": "none",
    "oracle": "oracle",
}


@pytest.mark.parametrize("title", TABLE_3)
def test_a_row_of_table_3(title: str) -> None:
    mixed, jump, penalty, lipschitz = TABLE_3[title]
    (method,) = [method for method in METHODS.values() if method.title == title]
    assert (method.paper_returns["halfcheetah-mixed"], method.paper_returns["halfcheetah-jump"]) == (mixed, jump)
    assert resolve(TrainConfig(task="halfcheetah-mixed", method=method.name)).penalty == PENALTIES[penalty]
    config = FitConfig(**method.fit)
    assert (config.lipschitz is not None) == lipschitz
    alone = "no ens." in title
    assert (config.num_members, config.num_elites) == ((1, 1) if alone else (7, 5))


def test_the_names_are_those_of_the_command_line() -> None:
    """They are in scripts and files."""
    expected = ["mopo", "mopo-no-lip", "mopo-ens-penalty", "mopo-no-lip-ens-penalty", "mopo-no-penalty", "mbpo"]
    assert list(METHODS) == [*expected, "mbpo-no-ens", "mopo-oracle", "mopo-no-lip-oracle"]
    assert all(name == method.name for name, method in METHODS.items())


# Table 1 and 2: MBPO's return; Table 4: MBPO's h and MOPO's, in the order of the table.
MBPO = {
    "halfcheetah-random": (3533.0, 5, 5),
    "hopper-random": (126.6, 5, 5),
    "walker2d-random": (395.9, 5, 1),
    "halfcheetah-medium": (3230.0, 5, 1),
    "hopper-medium": (137.8, 5, 5),
    "walker2d-medium": (582.5, 5, 5),
    "halfcheetah-mixed": (5598.4, 5, 5),
    "hopper-mixed": (1599.2, 5, 1),
    "walker2d-mixed": (1021.8, 1, 1),
    "halfcheetah-med-expert": (929.6, 5, 5),
    "hopper-med-expert": (1803.6, 5, 5),
    "walker2d-med-expert": (351.7, 1, 1),
    "halfcheetah-jump": (2971.4, 5, 5),
    "ant-angle": (65.9, 25, 25),
}


@pytest.mark.parametrize("task", MBPO)
def test_mbpo_has_horizons_and_returns_of_its_own(task: str) -> None:
    """The same as MOPO minus regularisation and penalty (Table 1), but searched over h on its own (Table 4)."""
    found_return, horizon, mopo_horizon = MBPO[task]
    assert METHODS["mbpo"].paper_returns[task] == found_return
    for name in ("mbpo", "mbpo-no-ens"):
        assert resolve(TrainConfig(task=task, method=name)).horizon == horizon
    for name in ("mopo", "mopo-no-penalty", "mopo-no-lip"):
        assert resolve(TrainConfig(task=task, method=name)).horizon == mopo_horizon


@pytest.mark.parametrize("task", [task.name for task in TASKS.values() if task.paper_return is not None])
def test_mopos_returns_are_those_of_the_tasks(task: str) -> None:
    assert METHODS["mopo"].paper_returns[task] == TASKS[task].paper_return
    no_lip = METHODS["mopo-no-lip"].paper_returns[task]
    assert no_lip == {"halfcheetah-mixed": 6393.3, "halfcheetah-jump": 3912.3}.get(task, TASKS[task].paper_return)


def test_what_is_given_comes_before_the_method_and_the_method_before_the_task() -> None:
    plain = resolve(TrainConfig(task="MOPO-hopper-mixed", method="mbpo"))
    assert (plain.task, plain.penalty, plain.horizon, plain.penalty_coef) == ("hopper-mixed", "none", 5, 5.0)
    assert (plain.agent, plain.random_rollouts) == ("SAC", False)
    options: dict[str, Any] = {"penalty": "learned-variance", "horizon": 2, "penalty_coef": 0.0, "agent": "TD3"}
    given = resolve(TrainConfig(task="hopper-mixed", method="mbpo", random_rollouts=True, **options))
    assert {name: getattr(given, name) for name in options} == options
    assert given.random_rollouts is True
    assert resolve(TrainConfig(task="ant-angle")).random_rollouts is True


def test_resolving_twice_changes_nothing() -> None:
    config = resolve(TrainConfig(task="hopper-mixed", method="mbpo", seed=3))
    assert resolve(config) == config
    assert config.seed == 3


def test_without_a_method_it_is_what_the_papers_code_runs() -> None:
    config = resolve(TrainConfig(task="halfcheetah-mixed"))
    assert (config.method, config.penalty, config.agent) == ("mopo-no-lip", "learned-variance", "SAC")
    assert METHODS["mopo-no-lip"].fit == {}


def test_a_method_may_be_an_agent_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model-free baseline is one entry: its agent names the method, and the method its agent."""
    baseline = Method(name="brac-value", title="BRAC-v", train={"agent": "BRAC-v"})
    monkeypatch.setitem(methods.METHODS, "brac-value", baseline)
    assert resolve(TrainConfig(task="hopper-mixed", method="brac-value")).agent == "BRAC-v"
    assert resolve(TrainConfig(task="hopper-mixed", agent="brac-V")).method == "brac-value"
    assert resolve(TrainConfig(task="hopper-mixed", agent="TD3")).method == "mopo-no-lip"


def test_every_option_of_a_method_is_one() -> None:
    """A misspelt key would be data that nobody reads."""
    train_options = {option.name for option in dataclasses.fields(TrainConfig)}
    for method in METHODS.values():
        assert set(method.train) <= train_options
        assert set(method.horizons) | set(method.paper_returns) <= set(TASKS)


def test_an_unknown_method_lists_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown method 'mopo-nolip'.*Did you mean 'mopo-no-lip'"):
        get_method("mopo-nolip")
    with pytest.raises(UnknownNameError, match="unknown method"):
        resolve(TrainConfig(task="halfcheetah-mixed", method="mpo"))


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, {}),
        ({"epochs": 3, "seed": 9, "agent": "TD3", "evaluate_every": 0, "dataset": "data", "device": "cuda"}, {}),
        ({"penalty": "learned-variance", "horizon": 5, "penalty_coef": 1.0}, {}),
        ({"penalty": "none"}, {"penalty": "none"}),
        ({"method": "mbpo", "penalty": "none"}, {}),
        ({"method": "mbpo", "penalty": "ensemble-std"}, {"penalty": "ensemble-std"}),
        ({"penalty_members": "elites", "penalty_units": "raw"}, {"penalty_members": "elites", "penalty_units": "raw"}),
        ({"penalty_coef": 2.0, "horizon": 1}, {"penalty_coef": 2.0, "horizon": 1}),
        ({"real_ratio": 0.5, "member_per": "rollout"}, {"real_ratio": 0.5, "member_per": "rollout"}),
        ({"target_entropy": -3.0, "deterministic": True}, {"target_entropy": -3.0, "deterministic": True}),
        ({"halt_threshold": 2.0, "ensemble": "mine"}, {"halt_threshold": 2.0, "ensemble": "mine"}),
    ],
)
def test_what_makes_a_run_another_than_its_method(options: dict[str, Any], changed: dict[str, Any]) -> None:
    """A report must not print the paper's number beside a run with other options."""
    config = TrainConfig(task="halfcheetah-mixed", **options)
    assert changed_options(config) == changed
    assert changed_options(resolve(config)) == changed


def test_the_code_of_the_page_runs() -> None:
    """The page promises that a penalty of JSON makes an environment, and that a perfect model gives the best policy."""
    page = (Path(__file__).resolve().parent.parent / "docs" / "methods.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, {})  # noqa: S102


def test_the_page_shows_the_table_of_methods() -> None:
    """Numbers that are copied by hand drift."""
    page = (Path(__file__).resolve().parent.parent / "docs" / "methods.md").read_text().replace("−", "-")
    for method in METHODS.values():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{method.name}`")]
        returns = (method.paper_returns["halfcheetah-mixed"], method.paper_returns["halfcheetah-jump"])
        assert [cell.strip() for cell in line.split("|")[2:5]] == [method.title, *map(str, returns)]
