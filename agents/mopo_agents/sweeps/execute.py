"""Do jobs on a backend: what is done is skipped, what died is tried again, and a signal saves every run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mopo_agents.runs.folder import is_finished
from mopo_agents.runs.state.interruption import interruptible
from mopo_agents.sweeps import local
from mopo_agents.sweeps.backends import Attempt, Backend, Start
from mopo_agents.sweeps.plan import Job
from mopo_agents.sweeps.work import BUSY, REFUSED, SAVED, write_job

_NOTICE = "The runs finish their epoch and save; the same command continues them."


def run_jobs(
    jobs: Sequence[Job], out: Path, backend: Backend, *, notify: Callable[[str], None] = lambda line: None
) -> list[Job]:
    """Do jobs, and return those that failed. A failure does not stop the others.

    A job whose process dies is tried again, and continues from its saved state. So does one that was asked to stop by
    others, such as a cluster that takes a machine back. A job on which another process works is waited for. The folder
    `out` gets the jobs as files, and in ``logs/`` what each process prints. `notify` gets a line
    for each job that begins or ends.

    Raises:
        ConfigError: If the backend cannot be used as asked.
        MissingExtraError: If its package is not installed.
        KeyboardInterrupt: After SIGINT, SIGTERM or SIGHUP, when the processes have saved their runs.
    """
    waiting = [(job, 0) for job in jobs if not is_finished(job.folder)]
    running: list[tuple[Job, int, Attempt]] = []
    failed: list[Job] = []
    if not waiting:
        return failed
    with _opened(backend, out) as start, interruptible(_NOTICE) as interrupted:
        try:
            while waiting or running:
                if interrupted():
                    raise KeyboardInterrupt
                while waiting and (backend.at_once is None or len(running) < backend.at_once):
                    job, died = waiting.pop(0)
                    notify(f"{'again' if (job.folder / 'config.json').exists() else 'begin'} {job.folder.name}")
                    running.append((job, died, start(_write(job, out), _log(job, out))))
                time.sleep(0.2)
                for entry in running[:]:
                    job, died, process = entry
                    code = process.poll()
                    if code is None:
                        continue
                    running.remove(entry)
                    if code == 0:
                        notify(f"done  {job.folder.name}")
                    elif code == BUSY:
                        notify(f"busy  {job.folder.name}: another process works on it")
                        waiting.append((job, died))
                    elif code == SAVED:
                        waiting.insert(0, (job, died))
                    elif code != REFUSED and died < backend.retries:
                        waiting.insert(0, (job, died + 1))
                    else:
                        failed.append(job)
                        notify(f"fail  {job.folder.name}: exit code {code}, see {_log(job, out)}")
        finally:
            for *_, process in running:
                process.terminate()  # it finishes its epoch and saves
            while any(process.poll() is None for *_, process in running):
                time.sleep(0.2)
    return failed


@contextmanager
def _opened(backend: Backend, out: Path) -> Iterator[Start]:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if backend.backend == "ray":
        from mopo_agents.sweeps.ray import ray_cluster

        with ray_cluster(backend) as start:
            yield start
    elif backend.backend == "slurm":
        from mopo_agents.sweeps.slurm import slurm_queue

        yield slurm_queue(backend, out / "slurm")
    else:
        yield local.start


def _write(job: Job, out: Path) -> Path:
    file = out.absolute() / "jobs" / f"{job.key[:16]}.json"
    write_job(job, file)
    return file


def _log(job: Job, out: Path) -> Path:
    log = out.absolute() / "logs" / f"{job.folder.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    return log
