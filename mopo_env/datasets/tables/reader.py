"""Read logged data from CSV or Parquet tables with one row for each step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mopo_env._utils.options import check_boolean, check_number
from mopo_env._utils.spaces import ActionSpace
from mopo_env.datasets.rows import transitions_from_rows
from mopo_env.datasets.tables.bad_cells import refuse_bad_cells
from mopo_env.datasets.tables.files import read_table
from mopo_env.datasets.tables.joined import TableRows, time_steps
from mopo_env.datasets.tables.roles import Roles
from mopo_env.datasets.tables.text_files import TableFormat, unpacked
from mopo_env.errors import ConfigError, DatasetError
from mopo_env.transitions import Transitions


def load_table(
    paths: Path | str | Sequence[Path | str],
    *,
    observations: Sequence[str],
    actions: Sequence[str],
    reward: str,
    next_observations: Sequence[str] | None = None,
    terminated: str | None = None,
    truncated: str | None = None,
    episode: str | None = None,
    time: str | None = None,
    time_tolerance: float = 0.5,
    one_hot: Sequence[str] = (),
    na: Sequence[str] = (),
    drop_missing: bool = False,
    delimiter: str | None = None,
    decimal: str = ".",
    encoding: str = "utf-8",
    action_space: ActionSpace | None = None,
) -> Transitions:
    """Read tables whose rows are steps.

    A row holds a state, the action in it, and the reward that followed. An episode ends at a row that is flagged as
    `terminated` or `truncated`, before a row with another label in `episode`, at a gap or a duplicate in `time`, at a
    row with a missing value, and at the end of a file.

    Without `next_observations`, the next state of a row is the state of the following row of the same episode. The last
    row of each episode is then dropped, also if it is terminated, since its next state is not in the table.

    With `time`, rows are sorted by it, within each file and each label in `episode`. The usual step is the median. A
    step that differs from it by half of it or more is a gap, since no step of that length is in the data. Without
    `time`, rows must be in the order in which they were recorded, and without gaps.

    Args:
        paths: One or more files. A name ends in ``.csv``, ``.tsv`` or ``.txt``, also compressed (``.gz``, ``.bz2``,
            ``.xz``), or in ``.parquet`` (needs the extra ``tables``). All files must have the columns.
        observations: The columns of the state, in the order of the observation.
        actions: The columns of the action; one column for discrete actions.
        reward: The column of the reward.
        next_observations: The columns of the next state, in the order of `observations`.
        terminated: The column that says whether the next state is terminal: zeros and ones, or false and true.
        truncated: The column that says whether the episode was cut off with this row.
        episode: The column that identifies episodes. Its value, any text or number, is constant within an episode.
        time: The column of times: numbers in any unit, or ISO 8601 timestamps (in UTC, if they have no offset).
        time_tolerance: The share of the usual step by which other steps differ from it less than gaps do.
        one_hot: Columns of the state that hold categories. Each becomes one column of zeros and ones for each category,
            named ``column=category``. The column of the next state at the same position shares them.
        na: Texts that mean a missing value, beside empty cells and ``nan``. A number stands for all its spellings.
        drop_missing: Drop rows with missing values, and end their episodes. Otherwise missing values are refused.
        delimiter: What separates the cells of text files, or ``"tab"``. Default: a comma, and a tab in ``.tsv``.
        decimal: The decimal mark of text files: a point or a comma.
        encoding: The encoding of text files.
        action_space: A box, or `gymnasium.spaces.Discrete`. Default: the box from −1 to 1, if every action lies in it.

    Returns:
        The transitions. Their `metadata` have the files' names, the columns, the number of rows that were dropped as
        the last of an episode (``rows_dropped``), and under ``log`` the numbers of rows read, of rows with missing
        values, of gaps, of duplicate times and of places where rows were out of order, and the usual step.

    Raises:
        DatasetError: If a file or a cell is wrong. The message names file, line and column of the first ten cells.
        UnknownNameError: If there is no such column. The message holds the nearest names.
        ConfigError: If an option has the wrong type, a list of columns is empty or has duplicates, or the widths of the
            two states differ.
        MissingExtraError: If pyarrow is needed for Parquet and not installed.
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if not files:
        raise ConfigError("found no file to read, expected one or more.")
    check_number("time_tolerance", time_tolerance, above=0.0)
    check_boolean("drop_missing", drop_missing)
    roles = Roles(
        observations=observations,
        next_observations=next_observations,
        actions=actions,
        reward=reward,
        terminated=terminated,
        truncated=truncated,
        episode=episode,
        time=time,
        one_hot=one_hot,
    )
    table_format = TableFormat(delimiter=delimiter, decimal=decimal, encoding=encoding, na=na)
    tables = [read_table(file, roles.columns, table_format) for file in files]
    states = [*observations, *(next_observations or [])]
    refuse_bad_cells(tables, states=states, drop_missing=drop_missing)
    metadata = {"name": unpacked(files[0]).stem, "source": "table", "files": [file.name for file in files]}
    try:
        return _assemble(TableRows(tables, roles), roles, time_tolerance, action_space, metadata)
    except DatasetError as error:
        more = f" and {len(files) - 1} more files" * (len(files) > 1)
        raise DatasetError(f"{files[0]}{more}: {error}") from error


def _assemble(
    rows: TableRows,
    roles: Roles,
    time_tolerance: float,
    action_space: ActionSpace | None,
    metadata: dict[str, Any],
) -> Transitions:
    """Find the ends of episodes, leave out rows with missing values, and join the columns."""
    died, cut = rows.flags(roles.terminated), rows.flags(roles.truncated)
    last = np.append(np.diff(rows.runs) != 0, True)
    early = np.flatnonzero((died | cut) & ~last)
    if roles.episode is not None and len(early):
        raise DatasetError(
            f"{rows.place(int(early[0]))}: flagged as the end of an episode, but the next row has the same episode; "
            "expected these columns to agree. Omit one of them, or repair the table."
        )
    cut |= last
    complete = rows.known(roles.columns)
    # A row without an action or a reward can still be the next state of the row before it.
    used = rows.known(roles.placing)
    log: dict[str, Any] = {"rows": len(rows), "rows_missing": int((~complete).sum())}
    if rows.times is not None:
        usual, gaps, duplicates = time_steps(rows.times, died | cut, tolerance=time_tolerance)
        cut |= gaps | duplicates
        log |= {
            "time_step": usual,
            "timestamps": rows.timestamps,
            "gaps": int(gaps.sum()),
            "duplicate_times": int(duplicates.sum()),
            "out_of_order": rows.out_of_order,
        }
    # No transition leads across a row that is left out.
    cut[:-1] |= ~used[1:]
    names, states = _states(rows, roles)
    try:
        return transitions_from_rows(
            observations=states[0][used],
            actions=rows.numbers(roles.actions)[used],
            rewards=rows.numbers([roles.reward])[used, 0],
            next_observations=states[1][used] if len(states) > 1 else None,
            terminated=died[used],
            truncated=cut[used],
            complete=complete[used],
            action_space=action_space,
            metadata={**metadata, "columns": names, "log": log},
        )
    except DatasetError as error:
        raise DatasetError(f"{error}{_why_few(log)}") from error


def _states(rows: TableRows, roles: Roles) -> tuple[dict[str, list[str]], list[np.ndarray]]:
    """Return the names of all columns by role, and the states: now, and after the step if the table has them."""
    by_role = {"observations": [], "actions": list(roles.actions), "reward": [roles.reward]}
    states = []
    for role, columns in zip(("observations", "next_observations"), zip(*roles.states, strict=True), strict=False):
        parts = [
            rows.one_hot(name, like=part) if kind == "text" else ([name], rows.numbers([name]))
            for (kind, name), part in zip(columns, roles.states, strict=True)
        ]
        by_role[role] = [name for names, _ in parts for name in names]
        states.append(np.concatenate([block for _, block in parts], axis=1))
    return by_role, states


def _why_few(log: dict[str, Any]) -> str:
    """Say what ended episodes, if it is what most rows did."""
    if sum(log.get(key, 0) for key in ("gaps", "duplicate_times", "rows_missing")) < log["rows"] / 2:
        return ""
    found = [
        f"{log[key]:,} {key.replace('_', ' ')}" for key in ("gaps", "duplicate_times", "rows_missing") if log.get(key)
    ]
    return f" (Found {', '.join(found)}.)" if found else ""
