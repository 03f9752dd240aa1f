"""The command line in front of bad terminals."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterator

import pytest

from mopo_agents.cli import main as cli
from mopo_agents.cli.arguments import Command
from mopo_agents.cli.overview import Family


def run_main(*arguments: object) -> int:
    """Run the command line in this process, and return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["mopo", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def all_commands() -> Iterator[tuple[tuple[str, ...], Command]]:
    """Yield the words and the function of every command."""
    for name, entry in (item for group in cli.COMMANDS.values() for item in group.items()):
        if isinstance(entry, Family):
            yield from (((name, word), command) for word, command in entry.commands.items())
        else:
            yield (name,), entry


def on_terminal(encoding: str, *arguments: object) -> tuple[int, str, str]:
    """Run the command line where only the characters of an encoding exist; return exit code, output and errors."""
    with (
        tempfile.TemporaryFile("w+b") as out,
        tempfile.TemporaryFile("w+b") as err,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, file, errors in (("stdout", out, "strict"), ("stderr", err, "backslashreplace")):
            raw = io.FileIO(file.fileno(), "w", closefd=False)
            patch.setattr(sys, name, io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors))
        code = run_main(*arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        texts = [(file.seek(0), file.read().decode(encoding))[1] for file in (out, err)]
    return code, texts[0], texts[1]


def connect(number: int, to: str) -> None:
    """Connect standard output (1) or error (2) of this process to something that fails; for a process of its own."""
    stream = {1: "stdout", 2: "stderr"}[number]
    if to == "closed":
        os.close(number)
        setattr(sys, stream, None)  # as Python does at its start
        return
    if to == "broken pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(to, os.O_WRONLY)
    os.dup2(writer, number)
    setattr(sys, stream, io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "w", closefd=False)), "utf-8"))
