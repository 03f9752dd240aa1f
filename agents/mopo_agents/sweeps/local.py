"""Do the jobs of a plan in processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mopo_agents.runs.folder import is_finished
from mopo_agents.runs.state.interruption import interruptible
from mopo_agents.sweeps.plan import Job
from mopo_agents.sweeps.work import write_job
from mopo_env._utils.options import check_integer

__all__ = ["run_local"]

_NOTICE = "The runs finish their epoch and save; the same command continues them."
_REFUSED = 2  # the exit code of our own errors: the same attempt would end the same way


def run_local(
    jobs: Sequence[Job],
    out: Path,
    *,
    workers: int = 1,
    retries: int = 2,
    notify: Callable[[str], None] = lambda line: None,
) -> list[Job]:
    """Do jobs, `workers` at a time, and return those that failed.

    Jobs that are done are skipped. A job whose process dies is tried again, and continues from its saved state. A
    failure does not stop the others. ``logs/`` in `out` has what each process prints.

    Args:
        jobs: The jobs.
        out: The folder of the plan.
        workers: Number of processes. Each computes with one thread.
        retries: How often a process that died is replaced.
        notify: Gets a line for each job that begins or ends.

    Raises:
        ConfigError: If a number is wrong.
        KeyboardInterrupt: After SIGINT, SIGTERM or SIGHUP, when the processes have saved their runs.
    """
    workers, retries = check_integer("workers", workers), check_integer("retries", retries, minimum=0)
    waiting = [(job, 0) for job in jobs if not is_finished(job.folder)]
    running: list[tuple[Job, int, subprocess.Popen[bytes]]] = []
    failed: list[Job] = []
    with interruptible(_NOTICE) as interrupted:
        try:
            while waiting or running:
                if interrupted():
                    raise KeyboardInterrupt
                while waiting and len(running) < workers:
                    job, attempt = waiting.pop(0)
                    notify(f"{'begin' if attempt == 0 else 'again'} {job.folder.name}")
                    running.append((job, attempt, _start(job, out)))
                time.sleep(0.2)
                for entry in [entry for entry in running if entry[2].poll() is not None]:
                    running.remove(entry)
                    job, attempt, process = entry
                    if process.returncode == 0:
                        notify(f"done  {job.folder.name}")
                    elif process.returncode != _REFUSED and attempt < retries:
                        waiting.insert(0, (job, attempt + 1))
                    else:
                        failed.append(job)
                        notify(f"fail  {job.folder.name}: exit code {process.returncode}, see {_log(job, out)}")
        finally:
            for *_, process in running:
                process.terminate()  # it finishes its epoch and saves
            for *_, process in running:
                process.wait()
    return failed


def _start(job: Job, out: Path) -> subprocess.Popen[bytes]:
    file = out / "jobs" / f"{job.key[:16]}.json"
    write_job(job, file)
    log = _log(job, out)
    log.parent.mkdir(parents=True, exist_ok=True)
    # A session of its own: a signal of the terminal reaches the parent alone, which then tells each child once.
    with log.open("ab") as stream:
        return subprocess.Popen(  # noqa: S603  # our own module, with the name of a file that we wrote
            [sys.executable, "-m", "mopo_agents.sweeps.work", str(file), str(os.getpid())],
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )


def _log(job: Job, out: Path) -> Path:
    return out / "logs" / f"{job.folder.name}.txt"
