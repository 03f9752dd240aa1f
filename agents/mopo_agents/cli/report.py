"""`mopo report` and `mopo select`: compare runs, with or without the real environment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from mopo_agents._utils.outputs import check_output, write_output
from mopo_env.errors import ConfigError, require_extra


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


def report_runs(
    *runs: Positional[Path],
    csv: Path | None = None,
    png: Path | None = None,
    html: Path | None = None,
    trust: Path | None = None,
    checkpoint: str | None = None,
    ensemble: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Compare training runs in a table.

    Runs that differ only in their seed share one row.

    Args:
        runs: Folders of runs, or folders that hold runs. Default: runs/.
        csv: Also write the table to this file, unrounded and with more columns. A pipe or a device is written to.
        png: Also draw the learning curves into this file.
        html: Also write a page with tables and figures to this file. It needs no other file.
        trust: Instead of a comparison, write a page about the policy of one run, finished or not, for whoever decides
            about its use: what speaks against it, what data and model say, and what nobody knows. It takes a minute or
            two.
        checkpoint: The policy that --trust is about, as in `mopo evaluate`. None: the last one.
        ensemble: For --trust: where the run's ensemble is now. None: where it was.
        overwrite: Replace these files if they exist.
    """
    outputs = {"--csv": csv, "--png": png, "--html": html}
    for option, path in {**outputs, "--trust": trust}.items():
        check_output(path, option, overwrite=overwrite)
    if trust is not None:
        policy = {"checkpoint": checkpoint or "last", "ensemble": ensemble}
        return _report_trust(runs, trust, policy, others=[name for name in outputs if outputs[name]])
    for option, value in {"--checkpoint": checkpoint, "--ensemble": ensemble}.items():
        if value is not None:
            raise ConfigError(f"{option}: is about the policy of --trust. Give --trust too, or leave it out.")
    from mopo_agents._utils.csv_tables import csv_text
    from mopo_agents.figures import draw_learning_curves
    from mopo_agents.reports.comparison import by_task, group_runs, make_row, over_tasks
    from mopo_agents.reports.curves import returns_panel
    from mopo_agents.reports.runs_page import runs_page
    from mopo_agents.reports.terminal import terminal_table
    from mopo_agents.runs.results import find_runs
    from mopo_env.figures.canvas import picture

    groups, left_out = group_runs(find_runs(runs or (Path("runs"),)))
    for reason in left_out:
        print(f"left out: {reason}", file=sys.stderr)
    if not groups:
        raise ConfigError(f"runs: found {len(left_out)}, but none of them can be reported.")
    panels = [panel for task in by_task(groups) if (panel := returns_panel(task)) is not None]
    if png is not None and not panels:
        raise ConfigError("--png: no run was evaluated, so there are no learning curves. Leave it out.")
    rows = [make_row(group) for group in groups]
    print(terminal_table(rows, over_tasks(groups)))
    print(f"\n{_NOTE}")
    if csv is not None:
        write_output(csv, csv_text(rows).encode())
        print(f"All columns are in {csv}.")
    if png is not None:
        write_output(png, picture(draw_learning_curves(*panels), png))
        print(f"The learning curves are in {png}.")
    if html is not None:
        write_output(html, runs_page(groups, left_out).encode())
        print(f"The page is {html}.")
    return {"rows": rows, "left_out": left_out}


def _report_trust(runs: Sequence[Path], path: Path, policy: dict[str, Any], *, others: Sequence[str]) -> dict[str, Any]:
    """Write the page about the policy of one run."""
    if others:
        raise ConfigError(f"--trust: is a page about one policy, without a comparison. Leave out {', '.join(others)}.")
    if len(runs) != 1 or not (runs[0] / "config.json").is_file():
        found = ", ".join(map(str, runs)) or "nothing"
        raise ConfigError(f"--trust: expected the folder of one run, found {found}.")
    from mopo_agents.reports.trust_page import trust_page
    from mopo_agents.trust.evidence import gather_evidence
    from mopo_agents.trust.offline import open_policy

    require_extra("matplotlib", "plots")
    evidence = gather_evidence(open_policy(runs[0], **policy))
    write_output(path, trust_page(evidence).encode())
    print(evidence.verdict)
    for finding in evidence.findings:
        print(f"! {finding.about}: {finding.text}")
    print(f"The page is {path}.")
    report = None if evidence.report is None else evidence.report.as_data()
    return {"verdict": evidence.verdict, "findings": evidence.findings, "missing": evidence.missing, "report": report}


_NOTE = """last 10: mean of the last ten evaluations in the real environment (or of all, if
there are fewer). last: the last evaluation. ±: one standard deviation over
seeds. IQM: interquartile mean of last 10 over seeds, with its 95 % bootstrap
interval. norm.: last 10 on D4RL's scale. The paper's returns are on the paper's
data, and only for methods without changes. A diverged seed counts with the
policy of the epoch before."""
