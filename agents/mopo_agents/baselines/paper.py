"""What the paper prints for the methods that MOPO is compared with: Tables 1 and 2."""

from __future__ import annotations

__all__ = ["PAPER_RETURNS"]

_TABLE_1 = """
                       MBPO     offline-SAC  BEAR    BRAC-v
halfcheetah-random     3533.0   3502.0       2885.6  3207.3
hopper-random          126.6    347.7        289.5   370.5
walker2d-random        395.9    192.0        307.6   23.9
halfcheetah-medium     3230.0   -808.6       4508.7  5365.3
hopper-medium          137.8    5.7          1527.9  1030.0
walker2d-medium        582.5    44.2         1526.7  3734.3
halfcheetah-mixed      5598.4   -581.3       4211.3  5413.8
hopper-mixed           1599.2   93.3         802.7   5.3
walker2d-mixed         1021.8   87.8         495.3   44.5
halfcheetah-med-expert 929.6    -55.7        6132.5  5342.4
hopper-med-expert      1803.6   32.9         109.8   5.1
walker2d-med-expert    351.7    -5.1         1193.6  3058.0
"""

_TABLE_2 = """
                       MBPO     offline-SAC  BEAR    BRAC-p  BRAC-v
halfcheetah-jump       2971.4   -3588.2      16.8    1069.9  871
ant-angle              65.9     -966.4       1873.7  1806.7  2333
"""


def _read(table: str) -> dict[str, dict[str, float]]:
    header, *rows = (line.split() for line in table.strip().splitlines())
    return {task: dict(zip(header, map(float, returns), strict=True)) for task, *returns in rows}


# Task → method → mean undiscounted return of the last policies of three seeds. The methods that are agents here have
# their names in `AGENTS`; "MBPO" is MOPO without penalty and Lipschitz term. Those of Table 1 but MBPO are D4RL's. The
# paper leaves BRAC-p out of Table 1 and behaviour cloning out of both.
PAPER_RETURNS: dict[str, dict[str, float]] = _read(_TABLE_1) | _read(_TABLE_2)
