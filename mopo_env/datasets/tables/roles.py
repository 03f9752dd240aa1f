"""What the columns of a table are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mopo_env.datasets.tables.files import Columns, check_texts
from mopo_env.errors import ConfigError

__all__ = ["Roles"]


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
            if name not in [column for columns in self.states for column in columns]:
                is_action = name in self.actions
                hint = " Number the actions from 0, and pass action_space=Discrete(n) (--discrete-actions)." * is_action
                raise ConfigError(f"one_hot: found {name!r}, expected columns of observations.{hint}")

    @property
    def states(self) -> list[tuple[str, ...]]:
        """Return the columns of each part of the state: now, and after the step if the table has them."""
        sides = [self.observations, *([] if self.next_observations is None else [self.next_observations])]
        return list(zip(*sides, strict=True))

    @property
    def flags(self) -> list[str]:
        """Return the columns of zeros and ones."""
        return [name for name in (self.terminated, self.truncated) if name is not None]

    @property
    def placing(self) -> list[str]:
        """Return the columns without which a row cannot be the next state of the row before it."""
        return [*self.observations, *([] if self.episode is None else [self.episode])]

    @property
    def columns(self) -> Columns:
        """Return the columns to read."""
        numbers = [name for names in self.states if not self.is_categorical(names) for name in names]
        texts = [name for names in self.states if self.is_categorical(names) for name in names]
        return Columns(
            numbers=tuple(dict.fromkeys([*numbers, *self.actions, self.reward, *self.flags])),
            texts=tuple(dict.fromkeys([*texts, *([] if self.episode is None else [self.episode])])),
            time=self.time,
        )

    def is_categorical(self, names: Sequence[str]) -> bool:
        """Return whether a part of the state, in an entry of `states`, becomes one-hot."""
        return not set(names).isdisjoint(self.one_hot)
