"""Read logged data from a table with one row a step: CSV, or Parquet."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from mopo_env._utils.spaces import ActionSpace
from mopo_env.datasets.rows import transitions_from_rows
from mopo_env.datasets.table_files import Table, read_table
from mopo_env.errors import ConfigError, DatasetError
from mopo_env.transitions import Transitions

__all__ = ["load_table"]


def load_table(
    path: Path | str,
    *,
    observations: Sequence[str],
    actions: Sequence[str],
    reward: str,
    next_observations: Sequence[str] | None = None,
    terminated: str | None = None,
    truncated: str | None = None,
    episode: str | None = None,
    action_space: ActionSpace | None = None,
) -> Transitions:
    """Read a table whose rows are steps, in the order in which they were recorded.

    A row holds a state, the action taken in it, and the reward that followed. An episode ends at a row flagged
    `terminated` or `truncated`, before a row with another label in `episode`, and at the end of the table. With none
    of these three columns the whole table is one episode.

    Without `next_observations` the next state of a row is the state of the following row of the same episode. The last
    row of each episode is then dropped, terminated or not, since its next state is not in the table.

    Args:
        path: Ends in ``.csv`` (UTF-8, commas, names in the first line) or ``.parquet`` (needs the extra ``tables``).
        observations: The columns of the state, in the order in which the environment shall show them.
        actions: The columns of the action; one column for discrete actions.
        reward: The column of the reward.
        next_observations: The columns of the next state, in the order of `observations`.
        terminated: The column that says whether the next state is terminal: zeros and ones, or false and true.
        truncated: The column that says whether the episode was cut off with this row.
        episode: The column that tells episodes apart. Its value, any text or number, is constant within an episode.
        action_space: A box, or `gymnasium.spaces.Discrete`. Default: the box from −1 to 1, if every action lies in it.

    Returns:
        The transitions; `metadata` has the file's name, the columns, and the number of dropped rows.

    Raises:
        DatasetError: If the file or a cell is wrong; the message names file, line and column.
        UnknownNameError: If there is no such column; the message holds the nearest names.
        ConfigError: If the columns asked for do not fit together.
        MissingExtraError: If a Parquet file is to be read and pyarrow is not installed.
    """
    path = Path(path)
    groups = {"observations": observations, "actions": actions, "next_observations": next_observations}
    names = {role: _check_columns(role, value) for role, value in groups.items() if value is not None}
    if next_observations is not None and len(names["next_observations"]) != len(names["observations"]):
        raise ConfigError(
            f"next_observations: found {len(names['next_observations'])} columns, expected "
            f"{len(names['observations'])} as in observations."
        )
    names["reward"] = [reward]
    flags = [name for name in (terminated, truncated) if name is not None]
    try:
        table = read_table(path, [*(name for group in names.values() for name in group), *flags], label=episode)
        arrays = {role: table.numbers(group) for role, group in names.items()}
        died, cut = table.flags(terminated), table.flags(truncated)
        if table.labels is not None:
            last = _last_of_label(table, table.labels, str(episode))
            early = np.flatnonzero((died | cut) & ~last)
            if len(early):
                raise DatasetError(
                    f"{table.place(int(early[0]))}: flagged as the end of an episode, but the next row has the same "
                    "episode; expected these columns to agree. Leave one of them out, or repair the table."
                )
            cut = cut | last
        return transitions_from_rows(
            observations=arrays["observations"],
            actions=arrays["actions"],
            rewards=arrays["reward"][:, 0],
            next_observations=arrays.get("next_observations"),
            terminated=died,
            truncated=cut,
            action_space=action_space,
            metadata={"name": path.stem, "source": "table", "columns": names},
        )
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error


def _check_columns(role: str, value: Sequence[str]) -> list[str]:
    # A string is a sequence of letters.
    if isinstance(value, str) or not value or len(set(value)) != len(value):
        raise ConfigError(f"{role}: expected a list of different column names, found {value!r}.")
    return list(value)


def _last_of_label(table: Table, labels: Sequence[Hashable], name: str) -> np.ndarray:
    """Flag the last row of each label, and refuse a label that comes back."""
    last = np.ones(len(labels), dtype=bool)
    seen: set[Hashable] = set()
    for row, label in enumerate(labels):
        if row and label == labels[row - 1]:
            last[row - 1] = False
            continue
        if label in seen:
            raise DatasetError(
                f"{table.place(row, name)}: found {label!r} again after another episode; expected the "
                "rows of an episode one after the other. Sort the table by episode and time."
            )
        seen.add(label)
    return last
