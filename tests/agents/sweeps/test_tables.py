"""The paper's tables as plans: every row can be trained, and what cannot be is named."""

import json
import sys
from pathlib import Path

import pytest

import mopo_agents.cli.main as cli
from mopo_agents.runs.methods import METHODS
from mopo_agents.sweeps.tables import EPOCHS, TABLES, plan_of
from mopo_env.errors import ConfigError, UnknownNameError
from mopo_env.tasks import TASKS


@pytest.fixture(autouse=True)
def nothing_but_bundled_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Plans must not depend on what was collected on this machine."""
    monkeypatch.setenv("MOPO_DATASETS_PATH", str(tmp_path / "data"))


@pytest.mark.parametrize("name", TABLES)
def test_tables_name_known_tasks_and_methods(name: str) -> None:
    assert set(TABLES[name].tasks) <= set(TASKS)
    assert set(TABLES[name].methods) <= set(METHODS)


def test_a_plan_has_every_task_method_and_seed(tmp_path: Path) -> None:
    """Once each, at the share of the paper's epochs that was asked for."""
    plan, missing = plan_of("table1", scale=0.2, seeds=(0, 1), out=tmp_path)
    assert missing == [task for task in TABLES["table1"].tasks if not task.endswith("-mixed")]
    found = {(job.config.task, job.config.method, job.config.seed) for job in plan.jobs}
    tasks = ("halfcheetah-mixed", "hopper-mixed", "walker2d-mixed")
    assert found == {(task, name, seed) for task in tasks for name in TABLES["table1"].methods for seed in (0, 1)}
    assert len(plan.jobs) == len(found)
    assert {job.config.epochs for job in plan.jobs} == {EPOCHS // 5}


@pytest.mark.parametrize(("scale", "epochs", "size"), [(1.0, 500, 50_000), (0.5, 250, 25_000), (0.001, 1, 20_000)])
def test_scale(scale: float, epochs: int, size: int, tmp_path: Path) -> None:
    """At scale 1 a run is the paper's; agents without a model have no rollouts to scale."""
    plan, _ = plan_of("table3", scale=scale, seeds=(0,), out=tmp_path, methods=("mopo-no-lip", "bc"))
    assert {job.config.epochs for job in plan.jobs} == {epochs}
    sizes = {job.config.method: job.config.rollout_batch_size for job in plan.jobs}
    assert sizes == {"mopo-no-lip": size, "bc": None}


def test_what_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="table4"):
        plan_of("table4", scale=1.0, seeds=(0,), out=tmp_path)
    with pytest.raises(ConfigError, match="mopo collect"):
        plan_of("table1", scale=1.0, seeds=(0,), out=tmp_path, tasks=("hopper-medium",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_table_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained, compared with the paper, and not trained again by the same command."""
    options = f"--scale 0.002 --seeds 0 --methods bc --tasks halfcheetah-mixed --out {tmp_path / 'out'} --json"
    monkeypatch.setattr(sys, "argv", ["mopo", "reproduce", "table3", *options.split()])
    cli.main()
    captured = capsys.readouterr()
    (row,) = json.loads(captured.out)
    assert (row["state"], row["epoch"]) == ("done", 1)
    assert "last 10" in captured.err
    cli.main()
    assert "begin" not in capsys.readouterr().err
