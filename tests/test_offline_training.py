"""Whole runs of the agents without a model: the files are those of any run, and say that there was no model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training import TASK, UPDATES, config, rows, run, small, weights

from mopo_agents.baselines import OfflineSAC
from mopo_agents.config import MODEL_OPTIONS, TrainConfig
from mopo_agents.policy_files import load_policy
from mopo_agents.training import TrainResult, train
from mopo_env.datasets.files import save_transitions
from mopo_env.errors import ConfigError
from mopo_env.store import read_artifact
from mopo_env.transitions import Transitions

OFFLINE = ["BC", "BEAR", "BRAC-p", "BRAC-v", "offline-SAC"]


def run_offline(data: Path, folder: Path, **changes: Any) -> TrainResult:
    return run(data, folder, **{"agent": "BEAR", "rollout_batch_size": None, **changes})


@pytest.fixture(scope="module")
def without_ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset of HalfCheetah's widths, and no ensemble."""
    random = np.random.default_rng(0)
    states = random.normal(size=(101, 17))
    transitions = Transitions(
        observations=states[:-1],
        actions=random.uniform(-1, 1, size=(100, 6)),
        rewards=random.normal(size=100),
        next_observations=states[1:],
        terminations=np.zeros(100, dtype=bool),
        truncations=np.zeros(100, dtype=bool),
    )
    folder = tmp_path_factory.mktemp("dataset")
    save_transitions(transitions, folder)
    return folder


@pytest.mark.parametrize("name", OFFLINE)
def test_agents_without_a_model_leave_the_same_files(name: str, without_ensemble: Path, tmp_path: Path) -> None:
    """No ensemble is needed or looked for; what the reports read is all there, and the policy can be loaded."""
    result = run_offline(
        without_ensemble, tmp_path / "run", agent=name, evaluate_every=2, checkpoint_every=1, gradient_steps=3
    )
    names = {path.name for path in result.folder.iterdir()}
    assert {"config.json", "progress.csv", "evaluations.csv", "result.json", "policy.json", "checkpoints"} <= names
    agent: Any = result.agent
    assert agent._n_updates == 2 * 3
    lines = rows(result.folder / "progress.csv")
    assert [int(line["mopo/epoch"]) for line in lines] == [1, 2]
    assert all(float(line["time/update_seconds"]) > 0 for line in lines)
    assert "mopo/penalty_mean" not in lines[0]
    assert [row.epoch for row in result.evaluations] == [2]
    summary = json.loads((result.folder / "result.json").read_text())
    assert summary["diverged_epoch"] is None
    assert len(summary["final_returns"]) == 1
    states = np.random.default_rng(0).normal(size=(20, 17)).astype(np.float32)
    expected = agent.predict(states, deterministic=True)[0]
    np.testing.assert_array_equal(load_policy(result.folder).predict(states, deterministic=True)[0], expected)
    metadata = read_artifact(result.folder, "policy")[1]
    assert (metadata["agent"], metadata["epoch"], metadata["task"]) == (name, 2, TASK)
    assert (result.folder / "checkpoints" / "epoch-00001" / "policy.json").is_file()


def test_the_record_of_a_run_without_a_model_claims_no_model(without_ensemble: Path, tmp_path: Path) -> None:
    """A horizon in the record of a run that rolled nothing out would be read as one that was used."""
    result = run_offline(without_ensemble, tmp_path / "run")
    description = json.loads((result.folder / "config.json").read_text())
    assert TrainConfig.__dataclass_fields__.keys() <= description.keys()
    assert {description[name] for name in MODEL_OPTIONS} == {None}
    assert (description["agent"], description["gradient_steps"]) == ("BEAR", UPDATES)
    assert description["dataset_fingerprint"] == read_artifact(without_ensemble, "dataset")[1]["fingerprint"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rollout_batch_size", 8),
        ("horizon", 5),
        ("penalty_coef", 1.0),
        ("penalty", "none"),
        ("random_rollouts", False),
        ("real_ratio", 0.5),
        ("retain_epochs", 2),
        ("ensemble", "somewhere"),
    ],
)
def test_what_is_said_about_a_model_that_is_not_there_is_refused(
    name: str, value: Any, without_ensemble: Path, tmp_path: Path
) -> None:
    """Ignored in silence, it would pass for having made no difference."""
    assert name in MODEL_OPTIONS
    with pytest.raises(ConfigError, match=f"^{name}: BEAR learns from the dataset alone"):
        run_offline(without_ensemble, tmp_path / "run", **{name: value})
    assert not (tmp_path / "run").exists()


def test_every_option_of_the_model_is_one_of_the_config() -> None:
    assert set(MODEL_OPTIONS) <= TrainConfig.__dataclass_fields__.keys()


def test_looking_at_a_run_without_a_model_does_not_change_it(without_ensemble: Path, tmp_path: Path) -> None:
    """BEAR's deterministic action is the best of a hundred; were these drawn anew, evaluations would move the seed."""
    off = run_offline(without_ensemble, tmp_path / "off", epochs=3)
    on = run_offline(without_ensemble, tmp_path / "on", epochs=3, evaluate_every=1, checkpoint_every=1)
    assert (len(off.evaluations), len(on.evaluations)) == (0, 3)
    expected, found = weights(off.agent), weights(on.agent)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_run_that_diverges_ends_with_a_record_of_it(
    without_ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epoch 2 of 5: the run ends there, its policy is that of epoch 1, and that is what is evaluated and saved."""
    update = OfflineSAC._train_epoch

    def explode(self: OfflineSAC, gradient_steps: int, batch_size: int) -> None:
        update(self, gradient_steps, batch_size)
        if self._n_updates > UPDATES:
            with torch.no_grad():
                next(self.critic.parameters())[0] = torch.inf

    monkeypatch.setattr(OfflineSAC, "_train_epoch", explode)
    result = run_offline(without_ensemble, tmp_path / "run", agent="offline-SAC", epochs=5, evaluate_every=5)
    assert result.diverged_epoch == 2
    summary = json.loads((result.folder / "result.json").read_text())
    assert summary["diverged_epoch"] == 2
    assert [(row.epoch, row.updates) for row in result.evaluations] == [(2, UPDATES)]
    assert np.isfinite(summary["final_returns"]).all()
    assert len(rows(result.folder / "progress.csv")) == 2
    assert read_artifact(result.folder, "policy")[1]["epoch"] == 1
    states = np.random.default_rng(0).normal(size=(20, 17)).astype(np.float32)
    assert np.isfinite(load_policy(result.folder).predict(states, deterministic=True)[0]).all()


def test_a_class_of_ones_own_that_needs_no_model(without_ensemble: Path, tmp_path: Path) -> None:
    """What decides is the class and not its name."""

    class Mine(OfflineSAC):
        pass

    result = train(
        config(without_ensemble, epochs=1, rollout_batch_size=None),
        folder=tmp_path / "run",
        agent_class=Mine,
        agent_options=small(),
        progress=False,
    )
    assert type(result.agent) is Mine
