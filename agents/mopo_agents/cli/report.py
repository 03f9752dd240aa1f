"""`mopo report` and `mopo select`: compare runs, with or without the real environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from mopo_agents._utils.outputs import check_output, write_output
from mopo_env.errors import ConfigError

__all__ = ["report_runs", "select_policy"]


def select_policy(folders: Positional[list[Path]], /, *, rows: int = 10) -> list[Any]:
    """Rank policies by the model alone, without the real system.

    Args:
        folders: Training runs on the same data and ensemble.
        rows: How many policies to show.
    """
    from mopo_agents.runs.select import select

    candidates = select(folders)
    print(f"{'score':>10}{'worst member':>14}{'left data':>11}{'epoch':>7}  run")
    for candidate in candidates[:rows]:
        row, kept = candidate.row, "" if candidate.folder else " (policy not kept)"
        print(f"{row.score:>10.1f}{row.worst_member:>14.1f}{row.left:>11.0%}{row.epoch:>7}  {candidate.run}{kept}")
    best = next((candidate for candidate in candidates if candidate.folder), None)
    if best is not None:
        print(f"The best policy that was kept is in {best.folder}. It has never been in the real system.")
    return list(candidates[:rows])


def report_runs(*runs: Positional[Path], csv: Path | None = None, overwrite: bool = False) -> dict[str, Any]:
    """Compare training runs in a table.

    Runs that differ only in their seed share one row.

    Args:
        runs: Folders of runs, or folders that hold runs. Default: runs/.
        csv: Also write the table to this file, unrounded and with more columns. A pipe or a device is written to.
        overwrite: Replace the file of --csv if it exists.
    """
    check_output(csv, "--csv", overwrite=overwrite)
    from mopo_agents.runs.comparison import compare, markdown
    from mopo_agents.runs.results import csv_text, find_runs

    rows, left_out = compare(find_runs(runs or (Path("runs"),)))
    for reason in left_out:
        print(f"left out: {reason}", file=sys.stderr)
    if not rows:
        raise ConfigError(f"runs: found {len(left_out)}, but none of them can be reported.")
    print(markdown(rows))
    print(
        "\nReturns are in the real environment: last is the last evaluation, last 10 the mean of the last ten (or of "
        "all, if there are fewer). ± is one standard deviation over seeds. A diverged seed counts with the policy of "
        "the epoch before.\nThe paper's returns are on the paper's data, and only for methods without changes. "
        "Identity is the beginning of the digest in config.json."
    )
    if csv is not None:
        write_output(csv, csv_text(rows).encode())
        print(f"All columns are in {csv}.")
    return {"rows": rows, "left_out": left_out}
