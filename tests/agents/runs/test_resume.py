"""A run that is killed and resumed ends as if it had not been killed, bit for bit."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from helpers.interrupted import in_child, outcome
from helpers.runs import ON_POLICY, run

from mopo_agents.runs.callback import EpochCallback
from mopo_agents.runs.resume import resume

SAVED: dict[str, Any] = {"epochs": 5, "save_every": 0, "seed": 3}


def die_after_epoch(epoch: int) -> None:
    """Make this process die when it has saved an epoch and is in the middle of the next."""
    count = EpochCallback._on_rollout_end

    def check(self: EpochCallback) -> None:
        if self.epoch == epoch:
            os.kill(os.getpid(), signal.SIGKILL)
        count(self)

    EpochCallback._on_rollout_end = check  # type: ignore[method-assign]


def killed_and_resumed(data: Path, folder: Path, *, after: int = 3, **options: Any) -> None:
    def work() -> None:
        die_after_epoch(after)
        run(data, folder, **{**SAVED, **options})

    assert in_child(work) == -signal.SIGKILL
    assert not (folder / "result.json").exists()
    resume(folder, progress=False)


KINDS: dict[str, dict[str, Any]] = {
    "SAC": {"agent": "SAC", "retain_epochs": 2},
    "SAC, its own code": {"fast": False},
    "SAC, overlapped": {"overlap": True},
    "SAC, rollouts with one member": {"member_per": "rollout", "horizon": 3},
    "SAC, random rollouts": {"random_rollouts": True},
    "TD3": {"agent": "TD3"},
    "TQC": {"agent": "TQC"},
    "CrossQ": {"agent": "CrossQ"},
    "PPO": {**ON_POLICY, "agent_options": {"batch_size": 40, "policy_kwargs": {"net_arch": [16]}}},
    "A2C": {**ON_POLICY, "agent": "A2C"},
    "BC": {"agent": "BC", "rollout_batch_size": None},
    "BEAR": {"agent": "BEAR", "rollout_batch_size": None},
    "BRAC-p": {"agent": "BRAC-p", "rollout_batch_size": None},
    "BRAC-v": {"agent": "BRAC-v", "rollout_batch_size": None},
    "offline-SAC": {"agent": "offline-SAC", "rollout_batch_size": None},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_ends_as_if_it_had_not_been(kind: str, dataset: Path, tmp_path: Path) -> None:
    """Weights, evaluations, logs and checkpoints."""
    options = KINDS[kind]
    run(dataset, tmp_path / "whole", **{**SAVED, **options})
    killed_and_resumed(dataset, tmp_path / "killed", **options)
    whole, killed = outcome(tmp_path / "whole"), outcome(tmp_path / "killed")
    for name in whole:
        assert killed[name] == whole[name], name
