"""Small training runs, and what they leave."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from mopo_agents._utils.csv_tables import csv_text
from mopo_agents.runs.config import NEEDS, TrainConfig
from mopo_agents.runs.identity import digest
from mopo_agents.runs.outcome import TrainResult
from mopo_agents.runs.resolve import resolve
from mopo_agents.runs.rows import ScoreRow
from mopo_agents.runs.train import train
from mopo_env._utils.json_files import json_text
from mopo_env.tasks import TASKS

TASK = "halfcheetah-mixed"  # h = 5, λ = 1
B, UPDATES = 8, 2
MODEL_OPTIONS = [name for name, needs in NEEDS.items() if "model" in needs]
# Options that leave `config` one that an on-policy agent can use.
ON_POLICY: dict[str, Any] = {"agent": "PPO", "gradient_steps": 1000}


def small() -> dict[str, Any]:
    """Options of a small network."""
    return {"policy_kwargs": {"net_arch": [16]}}


def config(data: Path, **changes: Any) -> TrainConfig:
    options = {
        "task": TASK,
        "dataset": str(data),
        "epochs": 2,
        "gradient_steps": UPDATES,
        "rollout_batch_size": B,
        "evaluate_every": 0,
        "evaluation_episodes": 1,
        "checkpoint_every": 0,
        "agent_options": small(),
    }
    return TrainConfig(**{**options, **changes})


def resolved(task: str = TASK, **options: Any) -> TrainConfig:
    """Return the options of a run with what is open filled in."""
    return resolve(TrainConfig(task=task, **options)).config


def run(data: Path, folder: Path, **changes: Any) -> TrainResult:
    return train(config(data, **changes), folder=folder, progress=False)


def process_of(folder: Path) -> int:
    """Return the process that works on a run, as its lock says."""
    return int((folder / "unfinished" / ".run.lock").read_text().removeprefix("process ").partition(" ")[0])


def recorded(folder: Path) -> dict[str, Any]:
    """Return what a run says of itself."""
    record: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return record


def leave_run(
    folder: Path,
    *,
    returns: tuple[float, ...] = (100.0, 200.0),
    scores: tuple[float, ...] = (),
    diverged_epoch: int | None = None,
    **config: Any,
) -> Path:
    """Write what a training run leaves, without the run; options that differ give another identity."""
    task = TASKS.get(config.get("task", TASK))
    record = {
        "task": TASK,
        "method": "mopo",
        "changed": {},
        "agent": "SAC",
        "seed": 0,
        "epochs": 15,
        "rollout_batch_size": 20_000,
        "evaluate_every": 10,
        "evaluation_episodes": 10,
        "dataset": None,
        "dataset_task": None,
        "dataset_fingerprint": "abc",
        "real_env": None if task is None else task.real_env_id,
        **config,
    }
    record.setdefault("identity", digest({name: value for name, value in record.items() if name != "seed"}))
    evaluations = [
        {
            "updates": 1000 * k,
            "return_mean": value,
            "normalised": None if task is None else task.normalised(value),
        }
        for k, value in enumerate(returns, start=1)
    ]
    result = {
        "dataset_mean": 1500.0,
        "dataset_max": 2700.0,
        "dataset_reward": 1.5,
        "model_last_epoch": {"model_reward": 1.25, "penalty": 0.5},
        "evaluations": evaluations,
        "updates": 1000 * len(returns),
        "diverged_epoch": diverged_epoch,
        "alarms": {},
        "seconds": 60.0 * len(returns),
        "machine": "an abacus, 1 thread",
    }
    folder.mkdir(parents=True)
    lines = [f"{k},{1.0 + 0.1 * k},{0.5 / k}" for k in range(1, 4)]
    (folder / "progress.csv").write_text("\n".join(["mopo/epoch,mopo/model_reward_mean,mopo/penalty_mean", *lines]))
    if scores:
        columns = {"worst_member": 1.0, "spread": 1.0, "model_return": 1.0, "left": 0.25, "length": 9.0}
        found = [ScoreRow(epoch=k, score=score, **columns) for k, score in enumerate(scores, start=1)]
        (folder / "scores.csv").write_text(csv_text(found))
    (folder / "config.json").write_bytes(json_text(record))
    (folder / "result.json").write_bytes(json_text(result))
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def cells(table: str) -> list[list[str]]:
    """Return the cells of a table in Markdown."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
