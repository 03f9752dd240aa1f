"""What others published: the paper's returns, and settings of h, λ and more by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mopo_env.tasks import TASKS


def of_table_3(mixed: float, jump: float) -> dict[str, float]:
    """Return a row of Table 3."""
    return {"halfcheetah-mixed": mixed, "halfcheetah-jump": jump}


MOPO_RETURNS = {task.name: task.paper_return for task in TASKS.values() if task.paper_return is not None}

# Tables 1 and 2. Table 1 has no BRAC-p. On D4RL's data, all numbers but MBPO's are D4RL's own.
_COLUMNS = ("MBPO", "SAC", "BEAR", "BRAC-v", "BRAC-p")
_TABLES_1_AND_2 = {
    "halfcheetah-random": (3533.0, 3502.0, 2885.6, 3207.3),
    "hopper-random": (126.6, 347.7, 289.5, 370.5),
    "walker2d-random": (395.9, 192.0, 307.6, 23.9),
    "halfcheetah-medium": (3230.0, -808.6, 4508.7, 5365.3),
    "hopper-medium": (137.8, 5.7, 1527.9, 1030.0),
    "walker2d-medium": (582.5, 44.2, 1526.7, 3734.3),
    "halfcheetah-mixed": (5598.4, -581.3, 4211.3, 5413.8),
    "hopper-mixed": (1599.2, 93.3, 802.7, 5.3),
    "walker2d-mixed": (1021.8, 87.8, 495.3, 44.5),
    "halfcheetah-med-expert": (929.6, -55.7, 6132.5, 5342.4),
    "hopper-med-expert": (1803.6, 32.9, 109.8, 5.1),
    "walker2d-med-expert": (351.7, -5.1, 1193.6, 3058.0),
    "halfcheetah-jump": (2971.4, -3588.2, 16.8, 871.0, 1069.9),
    "ant-angle": (65.9, -966.4, 1873.7, 2333.0, 1806.7),
}


def column(title: str) -> dict[str, float]:
    """Return the returns of a column of Tables 1 and 2 by task; a title that they do not have has none."""
    if title not in _COLUMNS:
        return {}
    number = _COLUMNS.index(title)
    return {task: row[number] for task, row in _TABLES_1_AND_2.items() if number < len(row)}


# MBPO has horizons of its own (Table 4). For the out-of-distribution tasks, the paper names one h for all methods.
MBPO_HORIZONS = {
    name: {"horizon": 1 if name in ("walker2d-mixed", "walker2d-med-expert") else 5}
    for name in _TABLES_1_AND_2
    if name not in ("halfcheetah-jump", "ant-angle")
}


def _settings(data: Sequence[str], **h_and_lambda: Sequence[tuple[int, float]]) -> dict[str, dict[str, Any]]:
    """Return h and λ by task, given both for each robot and the kinds of its data."""
    return {
        f"{robot}-{kind}": {"horizon": horizon, "penalty_coef": penalty_coef}
        for robot, settings in h_and_lambda.items()
        for kind, (horizon, penalty_coef) in zip(data, settings, strict=True)
    }


OF_THE_KIT = _settings(
    ("medium", "mixed", "med-expert"),
    halfcheetah=((5, 0.5), (5, 0.5), (5, 2.5)),
    hopper=((5, 5.0), (5, 2.5), (5, 5.0)),
    walker2d=((5, 0.5), (1, 2.5), (1, 2.5)),
)
OF_MOBILE = _settings(
    ("random", "medium", "mixed", "med-expert"),
    halfcheetah=((5, 0.5), (5, 0.5), (5, 0.1), (5, 1.0)),
    hopper=((5, 5.0), (5, 1.5), (5, 0.1), (5, 1.5)),
    walker2d=((5, 2.0), (5, 0.5), (1, 0.5), (1, 1.5)),
)
for _task in ("hopper-medium", "hopper-mixed"):
    OF_MOBILE[_task]["agent_options"] = {"ent_coef": 0.2}
OF_MOBILE["halfcheetah-med-expert"]["real_ratio"] = 0.5
