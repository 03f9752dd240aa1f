"""The logs of a run: ``progress.csv`` and TensorBoard's events, without gaps or doubled rows after a resume."""

from __future__ import annotations

import csv
import importlib.util
import io
import time
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat, filter_excluded_keys

from mopo_agents._utils.csv_tables import csv_text
from mopo_env._utils.store import write_file


class ProgressTable(KVWriter):
    """A CSV file that is replaced as a whole after each row, so that a crash leaves all of the last row or none of it.

    Stable-Baselines3's writer empties the file when it opens it, and rewrites it in place when a column is new.

    Attributes:
        text: All rows as CSV.
    """

    def __init__(self, path: Path, text: str = "") -> None:
        """Start with the rows of a CSV text."""
        self._path, self.text = path, text
        if text:
            write_file(path, text.encode())
        else:
            path.unlink(missing_ok=True)

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Add a row."""
        row = {name: str(value) for name, value in filter_excluded_keys(key_values, key_excluded, "csv").items()}
        (columns,) = csv.reader([self.text.partition("\n")[0]]) if self.text else [[]]
        if row.keys() <= set(columns):
            # Rows of thousands of epochs are kept as text: as mappings they would take ten times the memory.
            self.text += csv_text([{name: row.get(name, "") for name in columns}]).partition("\n")[2]
        else:
            self.text = csv_text([*csv.DictReader(io.StringIO(self.text, newline="")), row])
        write_file(self._path, self.text.encode())

    def close(self) -> None:
        """Do nothing; the file is closed after each row."""


class _TensorBoard(TensorBoardOutputFormat):
    """Stable-Baselines3's format in a folder that may hold earlier events; those from a step on are void."""

    def __init__(self, folder: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # TensorBoard reads the files by name, which begins with the second in which they were made.
        seconds = [path.name.split(".")[3] for path in folder.glob("events.out.tfevents.*.*")]
        wait = max((int(second) for second in seconds if second.isdigit()), default=0) + 1 - time.time()
        time.sleep(min(max(wait, 0.0), 2.0))
        self.writer = SummaryWriter(log_dir=str(folder), purge_step=first_step)
        self._is_closed = False


def make_logger(folder: Path, table: ProgressTable, *, epoch: int) -> Logger:
    """Return a logger that continues after an epoch."""
    formats: list[KVWriter] = [table]
    if importlib.util.find_spec("tensorboard") is not None:
        formats.append(_TensorBoard(folder, epoch + 1))
    return Logger(folder=str(folder), output_formats=formats)
