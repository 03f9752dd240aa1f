"""The command line `mopo`: the table of commands, and the start. Every command ends with the place of its result."""

from __future__ import annotations

import os
import signal
import sys
import warnings

import tyro

from mopo_agents.cli.cache import cache_app
from mopo_agents.cli.collect import collect_dataset
from mopo_agents.cli.data import data_app
from mopo_agents.cli.evaluate import evaluate_policy
from mopo_agents.cli.fit import fit_dataset, fit_termination_rule, model_app
from mopo_agents.cli.messages import message_of, show_warning
from mopo_agents.cli.report import report_runs, select_policy
from mopo_agents.cli.sweep import sweep_app
from mopo_agents.cli.tasks import list_methods, list_tasks
from mopo_agents.cli.train import train_agent
from mopo_agents.runs.state.interruption import Interrupted
from mopo_env._utils.text import harmless

__all__ = ["main"]

_DEBUG = "--debug"

# The commands import the slow packages inside, so that --help answers at once.
app = tyro.extras.SubcommandApp()
app.command(name="tasks")(list_tasks)
app.command(name="methods")(list_methods)
app.command(name="collect")(collect_dataset)
app.command(data_app, name="data", help="Show a dataset, or import D4RL's or your own data.")
app.command(name="fit")(fit_dataset)
app.command(model_app, name="model", help="Show how good a fitted model is.")
app.command(name="fit-termination")(fit_termination_rule)
app.command(name="train")(train_agent)
app.command(name="evaluate")(evaluate_policy)
app.command(name="select")(select_policy)
app.command(name="report")(report_runs)
app.command(sweep_app, name="sweep", help="Do many runs from one plan, and show how far they are.")
app.command(cache_app, name="cache", help="Show or clear what can be made again.")


def main() -> None:
    """Run the command line."""
    # On shared cores, two threads were measured ten times slower than one. Set this before torch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    arguments = sys.argv[1:]
    debug = _DEBUG in arguments
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            app.cli(
                args=[argument for argument in arguments if argument != _DEBUG],
                prog="mopo",
                description="Train any Stable-Baselines3 agent on a model learned from a fixed dataset. With --debug, "
                "an error shows where it was raised.",
            )
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe. Without this, Python reports it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt as error:
        print("mopo: interrupted", *getattr(error, "__notes__", []), sep="\nmopo: ", file=sys.stderr)
        sys.exit(128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT))
    except Exception as error:
        message = message_of(error)
        if debug or message is None:
            raise
        print(f"mopo: {harmless(message)}", file=sys.stderr)
        sys.exit(2)
