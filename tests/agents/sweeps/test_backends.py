"""The same plan on Ray and by way of submitit, with workers that are killed: the policies are those of single runs."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers.interrupted import outcome
from helpers.runs import config, process_of, run

from mopo_agents.sweeps.backends import Backend
from mopo_agents.sweeps.execute import run_jobs
from mopo_agents.sweeps.plan import Job, make_job, read_plan
from mopo_agents.sweeps.slurm import slurm_queue
from mopo_agents.sweeps.status import status_of
from mopo_env.errors import ConfigError

pytest.importorskip("mujoco")

EPOCHS = 30


def jobs_of(data: Path, out: Path) -> list[Job]:
    return [make_job(config(data, seed=seed, epochs=EPOCHS, save_every=0.0), out) for seed in (0, 1)]


def send_in_mid_job(job: Job, number: signal.Signals) -> threading.Thread:
    """Send a signal to the process that works on a job, once; its number is in the lock of the run."""

    def wait_and_send() -> None:
        while status_of(job).epoch < 5:
            time.sleep(0.02)
        os.kill(process_of(job.folder), number)

    thread = threading.Thread(target=wait_and_send, daemon=True)
    thread.start()
    return thread


def check_equal_to_single_runs(jobs: list[Job], data: Path, tmp_path: Path) -> None:
    for job in jobs:
        alone = run(data, tmp_path / f"alone{job.config.seed}", seed=job.config.seed, epochs=EPOCHS, save_every=0.0)
        expected, found = outcome(alone.folder), outcome(job.folder)
        del expected["config"], found["config"]
        assert found == expected


def sweep_on_ray(data: Path, tmp_path: Path, *, epochs: int, workers: int) -> tuple[list[Job], subprocess.Popen[str]]:
    """Type the command. It gets a process of its own, because Ray leaves threads in the one that imports it."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs the extra ray")
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f"""
        out = "out"
        [options]
        task = "halfcheetah-mixed"
        dataset = "{data}"
        epochs = {epochs}
        gradient_steps = 2
        rollout_batch_size = 8
        evaluate_every = 0
        checkpoint_every = 0
        save_every = 0
        agent_options = {{policy_kwargs = {{net_arch = [16]}}}}
        [[grid]]
        seed = [0, 1]
        """
    )
    code = "from mopo_agents.cli.main import main; main()"
    command = [sys.executable, "-c", code, "sweep", "run", str(plan), "--backend", "ray", "--workers", str(workers)]
    home = {"HOME": str(tmp_path / "home")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **home}
    )
    return list(read_plan(plan).jobs), process


@pytest.mark.slow
def test_ray(dataset: Path, tmp_path: Path) -> None:
    """A worker that is killed is replaced, and Ray leaves nothing behind: no folder, no token."""
    before = set(Path("/tmp").glob("*ray*"))  # noqa: S108
    jobs, process = sweep_on_ray(dataset, tmp_path, epochs=EPOCHS, workers=2)
    send_in_mid_job(jobs[0], signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 0, err
    words = [line.split()[0] for line in out.splitlines() if line.startswith(("begin", "again", "done", "fail"))]
    assert sorted(words) == ["again", "begin", "begin", "done", "done"]
    assert err == ""
    assert [len(json.loads((job.folder / "result.json").read_text())["resumed"]) for job in jobs] == [1, 0]
    assert {path.name for path in tmp_path.iterdir()} == {"plan.toml", "out"}
    assert set(Path("/tmp").glob("*ray*")) <= before  # noqa: S108
    check_equal_to_single_runs(jobs, dataset, tmp_path)


@pytest.mark.slow
def test_ctrl_c_on_ray(dataset: Path, tmp_path: Path) -> None:
    """The job that runs finishes its epoch and saves, and the one that waits for its turn is taken back."""
    jobs, process = sweep_on_ray(dataset, tmp_path, epochs=100_000, workers=1)
    while not any(status_of(job).epoch >= 2 for job in jobs):
        time.sleep(0.05)
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert process.returncode == 130, out
    assert sorted(status_of(job).state for job in jobs) == ["begun", "open"]
    (begun,) = (job for job in jobs if status_of(job).state == "begun")
    assert any((begun.folder / "unfinished").glob("*.json"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR2])
def test_submitit(number: signal.Signals, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its executor of local processes stands for Slurm. SIGUSR2 says that the time is over, which is no death."""
    pytest.importorskip("submitit")
    monkeypatch.setattr(
        "mopo_agents.sweeps.slurm.slurm_queue", lambda backend, folder: slurm_queue(backend, folder, cluster="local")
    )
    jobs, lines = jobs_of(dataset, tmp_path / "out"), list[str]()
    killer = send_in_mid_job(jobs[0], number)
    retries = 1 if number == signal.SIGKILL else 0
    failed = run_jobs(jobs, tmp_path / "out", Backend(backend="slurm", retries=retries), notify=lines.append)
    killer.join(1.0)
    assert failed == []
    assert sorted(line.split()[0] for line in lines) == ["again", "begin", "begin", "done", "done"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "jobs",
        "logs",
        "slurm",
        *(job.folder.name for job in jobs),
    }
    check_equal_to_single_runs(jobs, dataset, tmp_path)


def test_no_slurm_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says so, instead of a traceback of submitit's."""
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"backend: cannot use Slurm: .*srun"):
        slurm_queue(Backend(backend="slurm"), tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "rey"}, "backend: .*'rey'"),
        ({"address": "auto"}, "address: found it with the backend local"),
        ({"backend": "ray", "partition": "gpu"}, "partition: found it with the backend ray"),
        ({"backend": "slurm", "gpus_per_job": 0.25}, "gpus_per_job: expected a whole number for Slurm, found 0.25"),
        ({"backend": "slurm", "slurm_parameters": ("mem",)}, "slurm_parameters: expected name=value, found 'mem'"),
        ({"workers": 0}, "workers: expected an integer of at least 1"),
    ],
)
def test_options_of_another_backend_are_refused(options: dict[str, object], message: str) -> None:
    """An option that is ignored in silence is believed."""
    with pytest.raises(ConfigError, match=message):
        Backend(**options)  # type: ignore[arg-type]
