"""Small training runs, and what they leave."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.train import TrainResult, train

TASK = "halfcheetah-mixed"  # h = 5, λ = 1
B, UPDATES = 8, 2


def small() -> dict[str, Any]:
    """Options of a small network; fresh ones each time, since SB3 writes into the dictionary it is given."""
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
    }
    return TrainConfig(**{**options, **changes})


def run(data: Path, folder: Path, **changes: Any) -> TrainResult:
    return train(config(data, **changes), folder=folder, agent_options=small(), progress=False)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def weights(agent: Any) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in agent.policy.state_dict().items()}
