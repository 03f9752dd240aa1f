"""The rows of the paper's tables: their numbers as printed, their options as described, and who has the last word."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import resolved

from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.methods import DEFAULT_METHOD, METHODS, get_method
from mopo_agents.runs.resolve import resolve
from mopo_env.errors import UnknownNameError
from mopo_env.models.fit_config import FitConfig
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
    assert resolved("halfcheetah-mixed", method=method.name).penalty == PENALTIES[penalty]
    config = FitConfig(**method.fit)
    assert (config.lipschitz is not None) == lipschitz
    alone = "no ens." in title
    assert (config.num_members, config.num_elites) == ((1, 1) if alone else (7, 5))


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
        assert resolved(task, method=name).horizon == horizon
    for name in ("mopo", "mopo-no-penalty", "mopo-no-lip"):
        assert resolved(task, method=name).horizon == mopo_horizon


@pytest.mark.parametrize("task", [task.name for task in TASKS.values() if task.paper_return is not None])
def test_mopos_returns_are_those_of_the_tasks(task: str) -> None:
    assert METHODS["mopo"].paper_returns[task] == TASKS[task].paper_return
    no_lip = METHODS["mopo-no-lip"].paper_returns[task]
    assert no_lip == {"halfcheetah-mixed": 6393.3, "halfcheetah-jump": 3912.3}.get(task, TASKS[task].paper_return)


def test_the_row_that_the_papers_code_runs() -> None:
    """By its name alone everything is the paper's again: penalty, random actions where it has them, no envelope."""
    config = resolved("halfcheetah-jump", method="mopo-no-lip")
    assert (config.penalty, config.envelope, config.random_rollouts) == ("learned-variance", False, True)
    assert (config.agent, config.member_per, METHODS["mopo-no-lip"].fit) == ("SAC", "step", {})


def test_without_a_method_it_is_what_was_measured_to_be_better() -> None:
    config = resolved("halfcheetah-jump")
    assert (config.method, config.penalty, config.envelope, config.random_rollouts) == (
        "ours",
        "ensemble-std",
        True,
        False,
    )


def test_settings_by_task_come_before_those_for_all() -> None:
    """MOBILE fixes the entropy coefficient on Hopper alone; an option of the agent is merged, not replaced."""
    config = resolved("hopper-mixed", method="mobile", agent_options={"learning_rate": 1e-4})
    assert config.agent_options == {"ent_coef": 0.2, "learning_rate": 1e-4}
    assert (config.agent, config.horizon, config.penalty_coef, config.penalty) == ("MOBILE", 5, 0.1, "none")
    assert resolve(config).changed == {"learning_rate": 1e-4}
    long = resolved("halfcheetah-mixed", method="mopo-trunc", member_per="step")
    assert (long.horizon, long.rollout_batch_size, long.member_per) == (50, 5_000, "step")
    assert resolved("halfcheetah-med-expert", method="mobile").real_ratio == 0.5


# As printed: Table 1, then Table 2, which alone has BRAC-p.
BASELINES = """
halfcheetah-random      3502.0   2885.6  -       3207.3
hopper-random           347.7    289.5   -       370.5
walker2d-random         192.0    307.6   -       23.9
halfcheetah-medium      -808.6   4508.7  -       5365.3
hopper-medium           5.7      1527.9  -       1030.0
walker2d-medium         44.2     1526.7  -       3734.3
halfcheetah-mixed       -581.3   4211.3  -       5413.8
hopper-mixed            93.3     802.7   -       5.3
walker2d-mixed          87.8     495.3   -       44.5
halfcheetah-med-expert  -55.7    6132.5  -       5342.4
hopper-med-expert       32.9     109.8   -       5.1
walker2d-med-expert     -5.1     1193.6  -       3058.0
halfcheetah-jump        -3588.2  16.8    1069.9  871
ant-angle               -966.4   1873.7  1806.7  2333
"""


def test_the_returns_of_the_baselines_are_those_of_tables_1_and_2() -> None:
    printed = [line.split() for line in BASELINES.strip().splitlines()]
    for column, name in enumerate(["sac", "bear", "brac-p", "brac-v"], start=1):
        expected = {row[0]: float(row[column]) for row in printed if row[column] != "-"}
        assert METHODS[name].paper_returns == expected
    assert METHODS["bc"].paper_returns == {}, "the paper has no such row"


def test_mopo_is_best_where_the_paper_says_so() -> None:
    """Nine tasks, in bold there: a slip in a digit or a column would likely show."""
    others = [METHODS[name].paper_returns for name in ("mbpo", "sac", "bear", "brac-p", "brac-v")]
    best = [
        task
        for task, value in METHODS["mopo"].paper_returns.items()
        if value > max(returns.get(task, -np.inf) for returns in others)
    ]
    assert len(best) == 9


BASELINE_AGENTS = {"sac": "offline-SAC", "bear": "BEAR", "brac-p": "BRAC-p", "brac-v": "BRAC-v", "bc": "BC"}


@pytest.mark.parametrize(("name", "agent"), BASELINE_AGENTS.items())
def test_a_baseline_and_its_agent_name_each_other(name: str, agent: str) -> None:
    """SAC alone is MOPO's agent and not the baseline that the paper calls so."""
    assert METHODS[name].model_free
    assert resolved("hopper-mixed", method=name).agent == agent
    assert resolved("hopper-mixed", agent=agent.lower()).method == name
    assert resolved("hopper-mixed", agent="SAC").method == DEFAULT_METHOD


def test_every_option_of_a_method_is_one() -> None:
    """A misspelt key would be data that nobody reads."""
    train_options = {option.name for option in dataclasses.fields(TrainConfig)}
    for method in METHODS.values():
        assert set(method.train) <= train_options
        assert set(method.by_task) | set(method.paper_returns) <= set(TASKS)
        assert {name for options in method.by_task.values() for name in options} <= train_options


def test_an_unknown_method_lists_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown method 'mopo-nolip'.*Did you mean 'mopo-no-lip'"):
        get_method("mopo-nolip")
    with pytest.raises(UnknownNameError, match="unknown method"):
        resolved("halfcheetah-mixed", method="mpo")


def test_the_code_of_the_page_runs() -> None:
    """The page promises that a penalty of JSON makes an environment, and that a perfect model gives the best policy."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "methods.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, {})  # noqa: S102


def test_the_page_shows_the_table_of_methods() -> None:
    """Numbers that are copied by hand drift."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "methods.md").read_text().replace("−", "-")
    page = page.partition("## Every method")[0]  # where there is another table, of our own returns
    for method in METHODS.values():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{method.name}`")]
        returns = (method.paper_returns.get(task, "–") for task in ("halfcheetah-mixed", "halfcheetah-jump"))
        assert [cell.strip() for cell in line.split("|")[2:5]] == [method.title, *map(str, returns)]
