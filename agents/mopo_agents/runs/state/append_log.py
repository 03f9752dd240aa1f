"""Arrays on disk that only grow: what was written is never written again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mopo_env._utils.store import read_artifact, write_artifact
from mopo_env.errors import StoreError

__all__ = ["AppendLog"]


class AppendLog:
    """Parts in one folder, each an artifact named after the position where it starts.

    A part that was written before a crash, but is not counted by whoever keeps the position, is replaced by the next
    one that starts there; so the log needs no clean-up.

    Attributes:
        position: What has been appended or read so far, in the unit of the one who appends, such as rows.
    """

    def __init__(self, folder: Path) -> None:
        self.position = 0
        self._folder = folder

    def append(self, arrays: dict[str, np.ndarray], *, length: int) -> None:
        """Write one more part.

        Args:
            arrays: By name; nothing is asked of their shapes.
            length: How far the part reaches, in the unit of the position.

        Raises:
            StoreError: If it cannot be written; the position is then as before.
        """
        write_artifact(self._folder, self._name(), arrays, {"length": length})
        self.position += length

    def read(self, *, until: int | None = None) -> list[dict[str, np.ndarray]]:
        """Return the parts from the start, and go on behind them.

        Args:
            until: The position to stop at; None: the last part there is.

        Raises:
            StoreError: If a part is damaged, or missing before that position.
        """
        self.position = 0
        parts = []
        while self.position < until if until is not None else self._part_exists():
            arrays, metadata = read_artifact(self._folder, self._name())
            parts.append(arrays)
            length = metadata.get("length")
            if not isinstance(length, int) or length < 1 or (until is not None and self.position + length > until):
                raise StoreError(
                    f"{self._folder / self._name()}.json: found a part of length {length!r} at {self.position}, "
                    f"expected one that ends by {until}. The files are not of one run: remove the folder to start anew."
                )
            self.position += length
        return parts

    def _name(self) -> str:
        return f"part-{self.position:010d}"

    def _part_exists(self) -> bool:
        return (self._folder / f"{self._name()}.json").is_file()
