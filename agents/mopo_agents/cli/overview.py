"""What `mopo`, `mopo --help` and a family such as `mopo data` say of themselves."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from mopo_agents.cli.arguments import Command, summary_of

__all__ = ["Family", "Table", "family_help", "first_steps", "full_help"]


@dataclass(frozen=True)
class Family:
    """Commands that share their first word."""

    summary: str
    commands: Mapping[str, Command]


Table = dict[str, dict[str, Command | Family]]


def first_steps() -> str:
    """Return what a newcomer does next."""
    return textwrap.dedent("""\
        mopo: policies from recorded data, by MOPO. What to do next:

          first run      mopo train halfcheetah-mixed --epochs 3 \\
                             --rollout-batch-size 20000 --evaluate-every 0
          own data       mopo data import-table --help, then: mopo fit, mopo train
          see results    mopo report runs
          any trouble    mopo doctor

        All commands: mopo --help. The options of one: mopo train --help""")


def full_help(table: Table) -> str:
    """Return all commands, each with one line."""
    lines = ["usage: mopo COMMAND [options]", ""]
    lines += ["Train any Stable-Baselines3 agent on a model learned from a fixed dataset.", ""]
    for title, commands in table.items():
        lines += [f"{title}:", *_lines(commands), ""]
    return "\n".join([*lines, ""]) + textwrap.dedent("""\
        On every command:
          --help             its options
          --json             the result as JSON on standard output, nothing else there
          --quiet, -q        results and errors only: no progress
          --verbose, -v      also what was decided, and how long it took
          --debug            where an error was raised
          --version          the version of mopo-env""")


def family_help(name: str, family: Family) -> str:
    """Return the commands of a family, each with one line."""
    return "\n".join([f"usage: {name} COMMAND [options]", "", family.summary, "", *_lines(family.commands)])


def _lines(commands: Mapping[str, Command | Family]) -> list[str]:
    return [
        f"  {name:<17}{entry.summary if isinstance(entry, Family) else summary_of(entry)}"
        for name, entry in commands.items()
    ]
