"""Arrays on disk that only grow: each row is written once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mopo_env._utils.store import read_artifact, write_artifact
from mopo_env.errors import StoreError

__all__ = ["AppendLog"]


class AppendLog:
    """Parts in one folder. Each is an artifact whose name is the position at which it starts.

    If a run crashes after it wrote a part and before it saved the position, the next part replaces that one. The log
    therefore needs no clean-up.

    Attributes:
        position: The length of what was appended or read so far, in the caller's unit, such as rows.
    """

    def __init__(self, folder: Path) -> None:
        self.position = 0
        self._folder = folder

    def append(self, arrays: dict[str, np.ndarray], *, length: int) -> None:
        """Write one more part.

        Args:
            arrays: The arrays by name, of any shapes.
            length: The length of the part, in the unit of the position.

        Raises:
            StoreError: If the part cannot be written; the position is then unchanged.
        """
        write_artifact(self._folder, self._name(), arrays, {"length": length})
        self.position += length

    def read(self, *, until: int | None = None) -> list[dict[str, np.ndarray]]:
        """Return the parts from the start. The next `append` continues after them.

        Args:
            until: The position at which to stop. None: after the last part.

        Raises:
            StoreError: If a part before that position is damaged or missing.
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
                    f"expected one that ends by {until}. The files are of different runs: remove the folder to start anew."
                )
            self.position += length
        return parts

    def _name(self) -> str:
        return f"part-{self.position:010d}"

    def _part_exists(self) -> bool:
        return (self._folder / f"{self._name()}.json").is_file()
