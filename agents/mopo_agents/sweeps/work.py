"""Do one job, wherever it was left: `python -m mopo_agents.sweeps.work JOB.json`.

The slow packages are imported late, because a job may bring the variables of the environment that they read.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mopo_agents.sweeps.plan import Job

CRASHED = 1
REFUSED = 2  # the same attempt would end the same way
BUSY = 3  # another process works on the run
SAVED = 130  # asked to stop, the run has saved itself
_ENVIRONMENT = ("MOPO_", "MINARI_", "MUJOCO_")


def attempt(file: Path, log: Path | None = None) -> int:
    """Do the job of a file; return 0 when it is done, otherwise how this process could not do it.

    The log gets everything that this process prints from now on; None: it is printed.
    """
    content = json.loads(file.read_text())
    if log is not None:
        with log.open("ab") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
    os.environ.update(content["environment"])
    os.chdir(content["directory"])
    from mopo_env.errors import BusyError, MopoError

    try:
        do_job(content["config"], Path(content["folder"]))
    except MopoError as error:
        sys.stderr.write(f"mopo: {error}\n")
        return BUSY if isinstance(error, BusyError) else REFUSED
    except KeyboardInterrupt:
        return SAVED
    except Exception:
        traceback.print_exc()
        return CRASHED
    finally:
        sys.stderr.flush()
    return 0


def do_job(options: dict[str, Any], folder: Path) -> None:
    """Begin a run, continue it, or do nothing if it is done. A run that diverged is done."""
    from mopo_agents.runs.config import TrainConfig
    from mopo_agents.runs.folder import is_finished
    from mopo_agents.runs.resume import resume
    from mopo_agents.runs.train import train
    from mopo_env._utils.references import is_reference
    from mopo_env.errors import DivergenceError

    if is_finished(folder):
        return
    try:
        if (folder / "config.json").exists():
            # The plan is the user's own, so what it names is named again.
            named = {name: options[name] for name in ("penalty", "termination", "real_env")}
            resume(folder, progress=False, **{name: value for name, value in named.items() if is_reference(value)})
        else:
            train(TrainConfig(**options), folder=folder, progress=False)
    except DivergenceError as error:
        sys.stderr.write(f"mopo: {error}\n")


def write_job(job: Job, file: Path) -> None:
    """Write a job for another process, also on another machine that sees the same files."""
    from mopo_env._utils.json_files import json_text
    from mopo_env._utils.store import write_file

    content = {
        "folder": str(job.folder.absolute()),
        "config": asdict(job.config),
        "directory": str(Path.cwd()),
        "environment": {name: value for name, value in os.environ.items() if name.startswith(_ENVIRONMENT)},
    }
    write_file(file, json_text(content))


def _follow_parent() -> None:
    """Save and end when the parent has ended, even if it was killed: its end of the pipe is then closed."""
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_follow_parent, daemon=True).start()
    sys.exit(attempt(Path(sys.argv[1])))
