"""Do one job, wherever it was left: `python -m mopo_agents.sweeps.work JOB.json [PARENT]`.

With the number of the process that started it, the job ends with that process, even if that is killed.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from mopo_agents._utils.processes import end_with
from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.folder import is_finished
from mopo_agents.runs.resume import resume
from mopo_agents.runs.train import train
from mopo_agents.sweeps.plan import Job
from mopo_env._utils.json_files import read_json
from mopo_env._utils.store import json_text, write_file
from mopo_env.errors import DivergenceError, MopoError

__all__ = ["do_job", "write_job"]


def do_job(job: Job) -> None:
    """Begin a run, continue it, or do nothing if it is done. A run that diverged is done."""
    if is_finished(job.folder):
        return
    try:
        if (job.folder / "config.json").exists():
            resume(job.folder, progress=False)
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
    if len(sys.argv) > 2:
        end_with(int(sys.argv[2]))
    try:
        do_job(_read_job(Path(sys.argv[1])))
    except MopoError as error:
        sys.stderr.write(f"mopo: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
