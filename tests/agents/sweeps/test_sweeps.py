"""A plan becomes jobs; jobs are done once, resumed, and end as single runs do."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import pytest
from helpers.interrupted import outcome
from helpers.runs import process_of, run

from mopo_agents.runs.folder import is_finished, running
from mopo_agents.sweeps import execute, local
from mopo_agents.sweeps.backends import Backend
from mopo_agents.sweeps.execute import run_jobs
from mopo_agents.sweeps.plan import Job, read_plan
from mopo_agents.sweeps.status import status_of
from mopo_agents.sweeps.tune import read_search
from mopo_agents.sweeps.work import do_job
from mopo_env.errors import BusyError, ConfigError, UnknownNameError

pytest.importorskip("mujoco")

Mopo = Callable[..., tuple[int, str, str]]

OPTIONS = """
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
"""


def plan_of(tmp_path: Path, data: Path | str, grid: str, *, epochs: int = 2) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(f'out = "{tmp_path / "out"}"\n' + OPTIONS.format(data=data, epochs=epochs) + grid)
    return path


def test_a_plan_is_every_combination_once(tmp_path: Path) -> None:
    """Two grids add up; what stands in both is one job, and so is what says the default aloud."""
    grids = '[[grid]]\nseed = [0, 1]\nmethod = ["ours", "mbpo"]\n[[grid]]\nseed = [1, 2]\npenalty = ["ensemble-std"]\n'
    plan = read_plan(plan_of(tmp_path, "data", grids))
    found = {(job.config.seed, job.config.method) for job in plan.jobs}
    assert len(plan.jobs) == len({job.folder for job in plan.jobs}) == 5
    assert found == {(0, "ours"), (0, "mbpo"), (1, "ours"), (1, "mbpo"), (2, None)}
    assert plan.varied == ("task", "method", "seed", "penalty")


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("[[grid]]\nsead = [1]\n", "unknown option in .*plan.toml 'sead'.*Did you mean 'seed'"),
        ("[[grid]]\nseed = 1\n", "seed: found 1 in a grid, expected a list"),
        ('[[grid]]\nmethod = ["mbop"]\n', "plan.toml: unknown method 'mbop'.*Did you mean .*'mbpo'"),
        ("[[grid]]\nhorizon = [0]\n", "plan.toml: horizon: expected an integer of at least 1"),
        ("[[gird]]\nseed = [1]\n", "unknown part of the plan .* 'gird'"),
        ("", r"one or more tables \[\[grid\]\]"),
        ("[[grid\n", "cannot be read as a plan in TOML"),
        ("[[grid]]\nseed = " + "[" * 5000, "cannot be read as a plan in TOML"),
    ],
)
def test_what_is_no_plan_is_refused_before_anything_runs(grid: str, message: str, tmp_path: Path) -> None:
    """A typo in the last line must not be found after a night."""
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        read_plan(plan_of(tmp_path, "data", grid))
    assert not (tmp_path / "out").exists()


def test_a_sweep_is_its_runs(dataset: Path, tmp_path: Path, mopo: Mopo) -> None:
    """Each ends as the same run alone, bit for bit; the second time there is nothing to do."""
    plan = plan_of(tmp_path, dataset, "[[grid]]\nseed = [0, 1]\n")
    code, out, err = mopo("sweep", "run", plan, "--workers", 2)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:5]].count("begin") == 2
    assert out.strip().endswith("2 done")
    for job in read_plan(plan).jobs:
        alone = run(dataset, tmp_path / f"alone{job.config.seed}", seed=job.config.seed, save_every=0)
        expected, found = outcome(alone.folder), outcome(job.folder)
        del expected["config"], found["config"]
        assert found == expected
    code, out, _ = mopo("sweep", "run", plan)
    assert code == 0
    assert "begin" not in out
    parquet = pytest.importorskip("pyarrow.parquet")
    code, out, _ = mopo("sweep", "status", plan, "--csv", tmp_path / "table.csv", "--parquet", tmp_path / "table")
    assert code == 0
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [(row["seed"], row["state"], row["epoch"]) for row in rows] == [("0", "done", "2"), ("1", "done", "2")]
    same = parquet.read_table(tmp_path / "table").to_pylist()
    assert [{name: "" if cell is None else str(cell) for name, cell in row.items()} for row in same] == rows
    assert [row["best_score"] for row in same] == [status_of(job).best_score for job in read_plan(plan).jobs]
    code, _, err = mopo("sweep", "status", plan, "--parquet", tmp_path / "table")
    assert (code, "--parquet" in err) == (2, True)


def test_a_worker_that_is_killed_is_replaced(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its job continues from the saved state, and ends as if nothing had been."""
    plan = read_plan(plan_of(tmp_path, dataset, "[[grid]]\nseed = [3]\n", epochs=40))
    (job,) = plan.jobs
    begin, processes = local.start, []

    def start(*arguments: object) -> object:
        processes.append(begin(*arguments))  # type: ignore[arg-type]
        if len(processes) == 1:
            threading.Thread(target=kill, daemon=True).start()
        return processes[-1]

    def kill() -> None:
        while status_of(job).epoch < 5:
            time.sleep(0.05)
        os.kill(processes[0].pid, signal.SIGKILL)

    monkeypatch.setattr(local, "start", start)
    lines: list[str] = []
    assert run_jobs(plan.jobs, plan.out, Backend(), notify=lines.append) == []
    assert [line.split()[0] for line in lines] == ["begin", "again", "done"]
    assert len(json.loads((job.folder / "result.json").read_text())["resumed"]) == 1
    alone = run(dataset, tmp_path / "alone", seed=3, epochs=40, save_every=0)
    assert outcome(job.folder)["progress.csv"] == outcome(alone.folder)["progress.csv"]


def test_a_job_that_cannot_be_done_does_not_stop_the_others(dataset: Path, tmp_path: Path) -> None:
    """It is not tried again, since the same refusal would follow, and the log says why."""
    grid = f'[[grid]]\nseed = [0]\ndataset = ["{tmp_path / "nothing"}", "{dataset}"]\n'
    plan = read_plan(plan_of(tmp_path, dataset, grid))
    lines: list[str] = []
    (failed,) = run_jobs(plan.jobs, plan.out, Backend(), notify=lines.append)
    assert failed.config.dataset == str(tmp_path / "nothing")
    assert [line.split()[0] for line in lines] == ["begin", "fail", "begin", "done"]
    assert "nothing" in (plan.out / "logs" / f"{failed.folder.name}.txt").read_text()
    assert [is_finished(job.folder) for job in plan.jobs] == [False, True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_every_run(
    number: signal.Signals, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that outlive their parent would hold their runs, and the next sweep would be refused."""
    plan = read_plan(plan_of(tmp_path, dataset, "[[grid]]\nseed = [3]\n", epochs=100_000))
    (job,) = plan.jobs
    begin, processes = local.start, []

    def start(*arguments: object) -> object:
        processes.append(begin(*arguments))  # type: ignore[arg-type]
        threading.Thread(target=interrupt, daemon=True).start()
        return processes[-1]

    def interrupt() -> None:
        while status_of(job).epoch < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(local, "start", start)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(plan.jobs, plan.out, Backend())
    assert processes[0].returncode == 130
    assert status_of(job).state == "begun"


@pytest.mark.slow
def test_a_run_of_another_process_is_waited_for(dataset: Path, tmp_path: Path) -> None:
    """Two machines share a plan, or an orphan of a command that was killed still ends its epoch."""
    plan = read_plan(plan_of(tmp_path, dataset, "[[grid]]\nseed = [3]\n"))
    (job,) = plan.jobs
    lines: list[str] = []
    with ExitStack() as other:
        other.enter_context(running(job.folder))

        def notify(line: str) -> None:
            lines.append(line.split()[0])
            if lines[-1] == "busy":
                other.close()

        assert run_jobs(plan.jobs, plan.out, Backend(retries=0), notify=notify) == []
    assert lines == ["begin", "busy", "begin", "done"]


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(dataset: Path, tmp_path: Path) -> None:
    """Nobody could stop them otherwise. They save first."""
    plan = plan_of(tmp_path, dataset, "[[grid]]\nseed = [3]\n", epochs=100_000)
    (job,) = read_plan(plan).jobs
    code = "from mopo_agents.cli.main import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, "sweep", "run", str(plan)], stdout=subprocess.DEVNULL)
    while status_of(job).epoch < 2:
        time.sleep(0.05)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60.0
    while True:
        try:
            with running(job.folder):
                break
        except BusyError:
            if time.monotonic() > deadline:
                os.kill(process_of(job.folder), signal.SIGKILL)
                raise
            time.sleep(0.05)
    assert any((job.folder / "unfinished").glob("*.json"))


def test_seeds_of_one_run(dataset: Path, tmp_path: Path, mopo: Mopo, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small form of a plan: the same runs, in runs/ where the report looks, and done once."""
    did: list[int] = []

    def run_here(jobs: Sequence[Job], out: Path, backend: Backend, **_: object) -> list[Job]:
        assert backend == Backend(workers=2)
        for job in jobs:
            did.append(job.config.seed)
            do_job(asdict(job.config), job.folder)
        return []

    monkeypatch.setattr(execute, "run_jobs", run_here)
    sizes = ("--epochs", 1, "--rollout-batch-size", 8, "--gradient-steps", 2, "--evaluate-every", 0)
    command = ("train", "halfcheetah-mixed", "--dataset", dataset, *sizes, "--score-every", 0)
    code, out, err = mopo(*command, "--seeds", 1, 0, "--workers", 2)
    assert (code, err, did) == (0, "", [1, 0])
    folders = out.splitlines()[-1].removeprefix("Next: mopo report ").split()
    assert [Path(folder).parent for folder in folders] == [Path("runs")] * 2
    assert [json.loads((Path(folder) / "config.json").read_text())["seed"] for folder in folders] == [1, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("halfcheetah-mixed", "--seeds", 0, 1, "--seed", 2), "--seed, --seeds: found both"),
        (("halfcheetah-mixed", "--seeds", 0, 1, "--resume", "here"), "--resume, --seeds: found both"),
        (("halfcheetah-mixed", "--workers", 2), "--workers: found it without --seeds"),
        (("halfcheetah-mixed", "--seeds", 0, 1, "--out", "run"), "--out: run holds a run, but with --seeds"),
        (("--seeds", 0, 1), "TASK: found none"),
    ],
)
def test_what_does_not_go_with_seeds(options: tuple[object, ...], message: str, tmp_path: Path, mopo: Mopo) -> None:
    """Each says which two options contradict each other, and nothing is written."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    code, _, err = mopo("train", *options)
    assert (code, message in err) == (2, True), err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_plans_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/sweeps.md says can be saved and run, from Python too."""
    pytest.importorskip("optuna")
    page = Path(__file__).parents[3] / "docs" / "sweeps.md"
    plan, search = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "plan.toml").write_text(plan)
    (tmp_path / "search.toml").write_text(search)
    assert len(read_plan(tmp_path / "plan.toml").jobs) == 12
    assert read_search(tmp_path / "search.toml").trials == 30
    (program,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    begun: list[object] = []
    monkeypatch.setattr("mopo_agents.sweeps.execute.run_jobs", lambda jobs, *_, **__: begun.extend(jobs))
    monkeypatch.chdir(tmp_path)
    exec(program, {})  # noqa: S102
    assert len(begun) == 12
