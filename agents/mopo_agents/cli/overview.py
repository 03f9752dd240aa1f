"""What `mopo`, its commands and families of them, such as `mopo data`, say of themselves."""

from __future__ import annotations

import contextlib
import inspect
import io
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tyro

from mopo_agents.cli.arguments import Command, form_of, words_of

_EVERYWHERE = "Every command also has --json, --quiet, -v and --debug: see `mopo --help`."


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


def command_help(name: str, command: Command, arguments: Sequence[str]) -> str:
    """Return the options of a command, as wide as the terminal."""
    width, form = min(100, shutil.get_terminal_size().columns), form_of(command, arguments)
    about = (inspect.getdoc(command) or "").partition("\nArgs:")[0].strip()
    paragraphs = [textwrap.fill(" ".join(text.split()), width) for text in (*about.split("\n\n"), _EVERYWHERE)]
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        tyro.cli(form, prog=name, description="", args=["--help"])
    usage = textwrap.fill(f"usage: {' '.join([name, *words_of(form)])} [options]", width, subsequent_indent=" " * 7)
    options = "\n".join(line.rstrip() for line in shown.getvalue().splitlines()[1:]).strip("\n")
    return "\n\n".join([usage, *paragraphs, options])


def completion(table: Table, shell: str) -> str:
    """Return tyro's script that lets a shell complete commands and options."""
    commands = {name: entry for group in table.values() for name, entry in group.items()}
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        _app(commands).cli(prog="mopo", args=["--tyro-print-completion", shell])
    return shown.getvalue().rstrip()


def _app(commands: Mapping[str, Any]) -> tyro.extras.SubcommandApp:
    app = tyro.extras.SubcommandApp()
    for name, entry in commands.items():
        made = _app(entry.commands) if isinstance(entry, Family) else form_of(entry)
        app.command(made, name=name, help=_summary(entry))
    return app


def _summary(entry: Command | Family) -> str:
    return entry.summary if isinstance(entry, Family) else (inspect.getdoc(entry) or "").partition("\n")[0]


def _lines(commands: Mapping[str, Command | Family]) -> list[str]:
    return [f"  {name:<17}{_summary(entry)}" for name, entry in commands.items()]
