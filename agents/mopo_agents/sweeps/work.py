"""Do one job, wherever it was left: `python -m mopo_agents.sweeps.work JOB.json`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.folder import is_finished
from mopo_agents.runs.resume import resume
from mopo_agents.runs.train import train
from mopo_agents.sweeps.plan import Job
from mopo_env._utils.json_files import read_json
from mopo_env._utils.references import is_reference
from mopo_env._utils.store import json_text, write_file
from mopo_env.errors import DivergenceError, MopoError

__all__ = ["do_job", "write_job"]


def do_job(job: Job) -> None:
    """Begin a run, continue it, or do nothing if it is done. A run that diverged is done."""
    if is_finished(job.folder):
        return
    try:
        if (job.folder / "config.json").exists():
            # The plan is the user's own, so what it names is named again.
            code = {name: getattr(job.config, name) for name in ("penalty", "termination", "real_env")}
            named = {name: value for name, value in code.items() if is_reference(value)}
            resume(job.folder, progress=False, **named)
        else:
            train(job.config, folder=job.folder, progress=False)
    except DivergenceError as error:
        sys.stderr.write(f"mopo: {error}\n")


def write_job(job: Job, path: Path) -> None:
    """Write a job for another process."""
    write_file(path, json_text({"key": job.key, "folder": str(job.folder), "config": asdict(job.config)}))


def _read_job(path: Path) -> Job:
    content = read_json(path)
    return Job(key=content["key"], config=TrainConfig(**content["config"]), folder=Path(content["folder"]))


if __name__ == "__main__":
    try:
        do_job(_read_job(Path(sys.argv[1])))
    except MopoError as error:
        sys.stderr.write(f"mopo: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
