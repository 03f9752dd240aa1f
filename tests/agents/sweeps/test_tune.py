"""A search is runs like any other: resumed, never done twice, and the same whatever interrupts it."""

from __future__ import annotations

import itertools
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
from helpers.runs import config

from mopo_agents.cli.arguments import read_call
from mopo_agents.cli.sweep import command_of
from mopo_agents.cli.train import train_agent
from mopo_agents.runs.config import TrainConfig
from mopo_agents.sweeps import tune as searching
from mopo_agents.sweeps.backends import Backend
from mopo_agents.sweeps.plan import Job
from mopo_agents.sweeps.status import status_of
from mopo_agents.sweeps.tune import best_job, read_search, tune
from mopo_agents.sweeps.work import do_job
from mopo_env.errors import ConfigError, UnknownNameError

pytest.importorskip("optuna")
pytest.importorskip("mujoco")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:optuna.*", "ignore::DeprecationWarning:alembic.*")

Mopo = Callable[..., tuple[int, str, str]]
SEARCH = """
horizon = {low = 1, high = 5, int = true}
penalty_coef = {low = 0.01, high = 10.0, log = true}
penalty_members = {choices = ["all", "elites"]}
"agent_options.learning_rate" = {low = 1e-4, high = 1e-2, log = true}
"""


def plan_of(tmp_path: Path, data: Path | str, *, name: str = "plan", head: str = "", search: str = SEARCH) -> Path:
    path = tmp_path / f"{name}.toml"
    path.write_text(
        f"""
        out = "{tmp_path / name}"
        {head}
        [options]
        task = "halfcheetah-mixed"
        dataset = "{data}"
        epochs = 1
        gradient_steps = 2
        rollout_batch_size = 8
        evaluate_every = 0
        score_every = 1
        agent_options = {{policy_kwargs = {{net_arch = [16]}}}}
        [search]
        """
        + search
    )
    return path


def in_this_process(jobs: Sequence[Job], out: Path, backend: Backend, **_: object) -> list[Job]:
    """Do jobs without the seconds that a new process takes."""
    for job in jobs:
        do_job(asdict(job.config), job.folder)
    return []


def trials_of(path: Path) -> list[tuple[object, ...]]:
    """Return what a finished search tried and found."""
    study = tune(read_search(path), Backend())
    return [(trial.params, trial.value) for trial in study.trials if len(trial.params) == 4]


def test_a_search_ends_the_same_wherever_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the runs, between two questions, between two answers, and within a question. A formula stands for the runs."""
    import optuna

    sizes: list[int] = []

    def run_nothing(jobs: Sequence[Job], *_: object, **__: object) -> list[Job]:
        sizes.append(len(jobs))
        return []

    monkeypatch.setattr(searching, "run_jobs", run_nothing)
    monkeypatch.setattr(searching, "_value", lambda job, _: -abs(job.config.horizon - 3.2) - job.config.penalty_coef)
    head = "trials = 15\nbatch = 3"  # more than TPE's ten random ones
    expected = trials_of(plan_of(tmp_path, "data", head=head))
    assert len({str(trial) for trial in expected}) == len(expected) == 15
    assert sizes == [3] * 5
    other = plan_of(tmp_path, "data", name="other", head=head)

    def sometimes(owner: object, name: str, every: int) -> None:
        function, calls = getattr(owner, name), itertools.count(1)

        def call(*arguments: object, **options: object) -> object:
            if next(calls) % every == 0:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    sometimes(searching, "run_jobs", 4)
    sometimes(optuna.Study, "ask", 7)
    sometimes(optuna.Study, "tell", 5)
    sometimes(optuna.Trial, "_suggest", 31)
    interruptions = 0
    while True:
        try:
            found = trials_of(other)
        except KeyboardInterrupt:
            interruptions += 1
        else:
            break
    assert interruptions > 5
    assert found == expected


def test_the_best_options_are_a_command(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that is printed at the end trains that run, and the best is the one with the highest score."""
    monkeypatch.setattr(searching, "run_jobs", in_this_process)
    search = read_search(plan_of(tmp_path, dataset, head="trials = 3"))
    study = tune(search, Backend())
    job, value = best_job(study, search)
    assert value == max(trial.value for trial in study.trials) == status_of(job).best_score
    assert parsed(command_of(job.config)) == job.config


def parsed(command: str) -> TrainConfig:
    """Read a command line as `mopo train` does."""
    program, name, *arguments = shlex.split(command)
    assert (program, name) == ("mopo", "train")

    config: TrainConfig = read_call("mopo train", train_agent, arguments).keywords["config"]  # type: ignore[attr-defined]
    return config


@pytest.mark.parametrize(
    "changes",
    [
        {"deterministic": True, "fast": False, "envelope": False, "save_every": None},
        {"target_entropy": -1e-5, "exit_reward": -3.0},
        {"agent_options": {"learning_rate": 1e-4, "policy_kwargs": {"net_arch": [16, 16]}}, "real_ratio": 0.1},
    ],
)
def test_every_kind_of_option_can_be_typed(changes: dict[str, object]) -> None:
    """Flags, numbers below zero, JSON and None."""
    expected = config(Path("a folder"), **changes)
    assert parsed(command_of(expected)) == expected


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("horizn = {low = 1, high = 5}", "unknown option to search 'horizn'.*Did you mean 'horizon'"),
        ("seed = {choices = [0, 1]}", "unknown option to search 'seed'"),
        ("horizon = {low = 1}", r"search.horizon: found .*expected \{low, high\}"),
        ("horizon = {low = 1, high = 5, step = 2}", "search.horizon: found"),
        ("horizon = 5", "search.horizon: found 5"),
        ("penalty_coef = {low = 0, high = 1, log = true}", "search.penalty_coef: found"),
        ("horizon = {low = 0, high = 5, int = true}", "plan.toml: horizon: expected an integer of at least 1"),
        ("horizon = {low = 1.5, high = 5.5}", "plan.toml: horizon: expected an integer"),
        ('penalty = {choices = ["none", "nome"]}', "unknown penalty 'nome'"),
        ("", r"a table \[search\] with one or more names"),
    ],
)
def test_what_is_no_search_is_refused_before_anything_runs(search: str, message: str, tmp_path: Path) -> None:
    """Both ends of a range are tried as options: a wrong one must not be found at the tenth trial."""
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        read_search(plan_of(tmp_path, "data", search=search))
    assert not (tmp_path / "plan").exists()


def test_an_objective_that_is_never_measured_is_refused(tmp_path: Path) -> None:
    """The plan turns evaluations off, and asks for the return."""
    with pytest.raises(ConfigError, match="evaluate_every: found 0, but the objective is the return"):
        read_search(plan_of(tmp_path, "data", head='objective = "return"'))


@pytest.mark.slow
def test_a_search_that_is_killed(dataset: Path, tmp_path: Path, mopo: Mopo) -> None:
    """The command itself, with real processes, killed while a run trains; the runs that were done stay as they are."""
    plan = plan_of(tmp_path, dataset, head="trials = 4\nbatch = 2")
    command = [sys.executable, "-c", "from mopo_agents.cli.main import main; main()", "tune", str(plan)]
    process = subprocess.Popen([*command, "--workers", "2"], stdout=subprocess.DEVNULL)
    while len(done := list((tmp_path / "plan").glob("*/result.json"))) < 1:
        time.sleep(0.05)
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    times = {path: path.stat().st_mtime_ns for path in done}
    code, out, err = mopo("tune", plan, "--workers", 2)
    assert (code, err) == (0, "")
    assert {path: path.stat().st_mtime_ns for path in done} == times
    assert out.count("\ntrial ") == 4
    assert out.splitlines()[-1].startswith("mopo train halfcheetah-mixed '--agent-options=")
    expected = trials_of(plan_of(tmp_path, dataset, name="other", head="trials = 4\nbatch = 2"))
    assert trials_of(plan) == expected
