"""What the columns of a table are."""

from collections.abc import Sequence
from dataclasses import dataclass

from mopo_env.datasets.tables.cells import Column
from mopo_env.datasets.tables.text_files import check_texts
from mopo_env.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Roles:
    """The columns of a table by what they hold. `mopo_env.load_table` describes each.

    Raises:
        ConfigError: If a list is empty, has duplicates or does not fit another one.
    """

    observations: Sequence[str]
    next_observations: Sequence[str] | None
    actions: Sequence[str]
    reward: str
    terminated: str | None
    truncated: str | None
    episode: str | None
    time: str | None
    one_hot: Sequence[str]

    def __post_init__(self) -> None:
        """Check the lists."""
        for name in ("observations", "next_observations", "actions"):
            columns = getattr(self, name)
            # A string would pass as a sequence of letters.
            if columns is not None and (isinstance(columns, str) or not columns or len({*columns}) != len(columns)):
                raise ConfigError(f"{name}: expected a list of different column names, found {columns!r}.")
        check_texts("one_hot", self.one_hot)
        if self.next_observations is not None and len(self.next_observations) != len(self.observations):
            raise ConfigError(
                f"next_observations: found {len(self.next_observations)} columns, expected {len(self.observations)} "
                "as in observations."
            )
        for name in self.one_hot:
            if name not in [*self.observations, *(self.next_observations or [])]:
                is_action = name in self.actions
                hint = " Number the actions from 0, and pass action_space=Discrete(n) (--discrete-actions)." * is_action
                raise ConfigError(f"one_hot: found {name!r}, expected columns of observations.{hint}")

    @property
    def states(self) -> list[tuple[Column, ...]]:
        """Return the columns of each part of the state: now, and after the step if the table has them."""
        sides = [self.observations, *([] if self.next_observations is None else [self.next_observations])]
        return [
            tuple(Column("number" if set(names).isdisjoint(self.one_hot) else "text", name) for name in names)
            for names in zip(*sides, strict=True)
        ]

    @property
    def placing(self) -> list[Column]:
        """Return the columns without which a row cannot be the next state of the row before it."""
        episode = [] if self.episode is None else [Column("text", self.episode)]
        time = [] if self.time is None else [Column("time", self.time)]
        return [*(part[0] for part in self.states), *episode, *time]

    @property
    def columns(self) -> list[Column]:
        """Return each column to read, once for each kind."""
        states = [column for part in self.states for column in part]
        numbers = [Column("number", name) for name in (*self.actions, self.reward)]
        flags = [Column("flag", name) for name in (self.terminated, self.truncated) if name is not None]
        return list(dict.fromkeys([*states, *numbers, *flags, *self.placing]))
