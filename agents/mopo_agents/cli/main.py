"""The command line `mopo`: the table of commands, and the start. Every command ends with the place of its result."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from tyro.conf import Positional

from mopo_agents._utils.processes import environment_variable
from mopo_agents._utils.streams import lasting_streams
from mopo_agents.cli.arguments import Command, parameters_of, read_call
from mopo_agents.cli.cache import clear_cache, list_cache, show_cache_path
from mopo_agents.cli.data import collect_dataset, show_dataset
from mopo_agents.cli.doctor import diagnose
from mopo_agents.cli.evaluate import evaluate_policy
from mopo_agents.cli.fit import fit_dataset, fit_termination_rule, show_model
from mopo_agents.cli.imports import import_d4rl, import_minari, import_table
from mopo_agents.cli.messages import Failed, as_json, in_words_of, message_of, near, show_warning
from mopo_agents.cli.overview import Family, Table, command_help, completion, family_help, first_steps, full_help
from mopo_agents.cli.report import report_runs, select_policy
from mopo_agents.cli.share import export, pull_shared, push_shared
from mopo_agents.cli.sweep import reproduce_table, run_sweep, search_options, show_sweep
from mopo_agents.cli.tasks import list_methods, list_tasks
from mopo_agents.cli.train import train_agent
from mopo_agents.runs.state.interruption import Interrupted
from mopo_env import __version__
from mopo_env._utils.text import harmless
from mopo_env.errors import ConfigError


def show_completion(shell: Positional[Literal["bash", "zsh", "fish", "tcsh"]], /) -> dict[str, str]:
    """Print a script that lets a shell complete commands.

    Args:
        shell: Your shell.
    """
    script = completion(COMMANDS, shell)
    print(script)
    return {"script": script}


# The commands import the slow packages inside, so that --help answers at once. Each returns what --json prints.
COMMANDS: Table = {
    "What there is": {"tasks": list_tasks, "methods": list_methods, "doctor": diagnose},
    "Data and model": {
        "collect": collect_dataset,
        "data": Family(
            "Show a dataset, or import D4RL's or your own data.",
            {
                "show": show_dataset,
                "import-d4rl": import_d4rl,
                "import-minari": import_minari,
                "import-table": import_table,
            },
        ),
        "fit": fit_dataset,
        "model": Family("Show how good a fitted model is.", {"show": show_model}),
        "fit-termination": fit_termination_rule,
    },
    "Training": {
        "train": train_agent,
        "sweep": Family(
            "Do many runs from one plan, and show how far they are.", {"run": run_sweep, "status": show_sweep}
        ),
        "tune": search_options,
        "reproduce": reproduce_table,
    },
    "Results": {"evaluate": evaluate_policy, "select": select_policy, "report": report_runs},
    "Files": {
        "export": export,
        "push": push_shared,
        "pull": pull_shared,
        "completion": show_completion,
        "cache": Family(
            "Show or clear what can be made again.",
            {"path": show_cache_path, "list": list_cache, "clear": clear_cache},
        ),
    },
}

_GLOBAL = {"--json": "json", "--quiet": "quiet", "-q": "quiet", "-v": "verbose", "--verbose": "verbose"}
_GLOBAL |= {"--debug": "debug", "--version": "version", "-V": "version"}


def main() -> None:
    """Run the command line."""
    with lasting_streams():
        _start()


def _start() -> None:
    # On shared cores, two threads were measured ten times slower than one. Set this before torch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    given = {_GLOBAL[word] for word in sys.argv[1:] if word in _GLOBAL}
    arguments = [word for word in sys.argv[1:] if word not in _GLOBAL]
    typed: dict[str, str] = {}
    try:
        with warnings.catch_warnings(), _as_asked(given):
            warnings.showwarning = show_warning
            _run(arguments, given, typed)
    except Failed as failed:
        _print_result(failed.result, given)
        sys.exit(1)
    except KeyboardInterrupt as error:
        print("mopo: interrupted", *getattr(error, "__notes__", []), sep="\nmopo: ", file=sys.stderr)
        sys.exit(128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT))
    except Exception as error:
        message = message_of(error)
        if "debug" in given or message is None:
            raise
        print(f"mopo: {harmless(in_words_of(message, typed))}", file=sys.stderr)
        sys.exit(2)


def _run(arguments: Sequence[str], given: set[str], typed: dict[str, str]) -> None:
    """Find the command, read its arguments and do it. `typed` gets how its parameters are typed."""
    if "version" in given:
        print(as_json({"mopo-env": __version__}) if "json" in given else f"mopo-env {__version__}")
    elif arguments[:1] in (["--help"], ["-h"]):
        print(full_help(COMMANDS))
    elif not arguments:
        print(first_steps(), file=sys.stderr)
        sys.exit(2)
    else:
        name, command, rest = _find(arguments)
        typed |= parameters_of(command)
        if {"-h", "--help"} & set(rest):
            print(command_help(name, command, rest))
            return
        call = read_call(name, command, rest)
        started = time.monotonic()
        aside = io.StringIO() if "quiet" in given else sys.stderr
        with contextlib.redirect_stdout(aside) if "json" in given else contextlib.nullcontext():
            result = call()
        _print_result(result, given)
        logging.getLogger("mopo").info("%s took %.1f s", name, time.monotonic() - started)


def _find(arguments: Sequence[str]) -> tuple[str, Command, Sequence[str]]:
    """Return a command's name, its function, and the words after its name."""
    entries: dict[str, Any] = {name: entry for group in COMMANDS.values() for name, entry in group.items()}
    name, rest = "mopo", list(arguments)
    while True:
        word = rest.pop(0)
        if word not in entries:
            raise ConfigError(f"{word}: `{name}` has no such command.{near(word, entries)} `{name} --help` lists them.")
        name, entry = f"{name} {word}", entries[word]
        if not isinstance(entry, Family):
            return name, entry, rest
        if not rest or rest[0] in ("-h", "--help"):
            print(family_help(name, entry), file=sys.stdout if rest else sys.stderr)
            sys.exit(0 if rest else 2)
        entries = dict(entry.commands)


@contextlib.contextmanager
def _as_asked(given: set[str]) -> Iterator[None]:
    """Show more or less than usual on standard error."""
    log, handler = logging.getLogger("mopo"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("mopo: %(message)s"))
    if "verbose" in given:
        log.setLevel(logging.INFO)
        log.addHandler(handler)
    try:
        with environment_variable("TQDM_DISABLE", "1") if "quiet" in given else contextlib.nullcontext():
            yield
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)


def _print_result(result: Any, given: set[str]) -> None:
    if "json" in given:
        print(as_json(result))
