"""What a run leaves of its epochs: logs, evaluations, checkpoints, and a policy that acts as the agent."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.agents import FELL, same_weights
from helpers.interrupted import outcome
from helpers.runs import TASK, UPDATES, B, config, recorded, rows, run
from helpers.runs import run as small_run
from stable_baselines3.common.callbacks import BaseCallback

from mopo_agents.evaluation import evaluate, evaluation_seed
from mopo_agents.policies import load_policy
from mopo_agents.runs.outcome import TrainResult
from mopo_agents.runs.train import train
from mopo_env._utils.store import read_artifact
from mopo_env.datasets.files import load_transitions
from mopo_env.envs.rollouts import Rollouts
from mopo_env.terminations.learned import LearnedTermination, save_termination


@pytest.fixture(scope="module")
def finished(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Two epochs, one evaluation and one checkpoint."""
    return run(dataset, tmp_path_factory.mktemp("runs") / "run", evaluate_every=2, checkpoint_every=1, seed=3)


def test_a_run_leaves_its_files(finished: TrainResult) -> None:
    """Whoever finds the folder later can tell what was run, how it went, and use the policy."""
    names = {path.name for path in finished.folder.iterdir()}
    assert {"config.json", "progress.csv", "evaluations.csv", "result.json", "policy.json", "checkpoints"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not [name for name in names if name.endswith(".tmp")]


def test_progress_csv_has_a_line_for_every_epoch(finished: TrainResult) -> None:
    """The learning curve of the model side, and the mean penalty: the first thing to look at when a run fails."""
    lines = rows(finished.folder / "progress.csv")
    assert [int(line["mopo/epoch"]) for line in lines] == [1, 2]
    for line in lines:
        assert float(line["mopo/penalty_mean"]) > 0
        assert np.isfinite(float(line["mopo/reward_mean"]))
        assert np.isfinite(float(line["train/critic_loss"]))
        assert 0 <= float(line["time/rollout_seconds"]) <= float(line["time/seconds"])
    assert [line["evaluation/return_mean"] != "" for line in lines] == [False, True]


def test_the_means_of_an_epoch_are_its_own(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Means over all epochs so far would hide a policy that starts to exploit the model."""
    seen: list[tuple[float, float]] = []
    advance = Rollouts.advance

    def spy(self: Rollouts, actions: torch.Tensor) -> Any:
        step = advance(self, actions)
        seen.append((float(step.rewards.mean()), float(step.penalties.mean())))
        return step

    monkeypatch.setattr(Rollouts, "advance", spy)
    run(dataset, tmp_path / "run", epochs=3)
    expected = np.array(seen, dtype=float).reshape(3, 5, 2).mean(axis=1)  # three epochs of five steps
    found = [
        [float(line["mopo/reward_mean"]), float(line["mopo/penalty_mean"])]
        for line in rows(tmp_path / "run" / "progress.csv")
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32 means


def test_evaluations_csv_holds_the_evaluations(finished: TrainResult) -> None:
    (line,) = rows(finished.folder / "evaluations.csv")
    (row,) = finished.evaluations
    assert list(line) == ["epoch", "updates", "seed", "seconds", "return_mean", "return_std", "normalised"]
    assert {name: float(value) for name, value in line.items()} == vars(row)
    assert (row.epoch, row.updates) == (2, 2 * UPDATES)
    assert finished.final is not None
    assert finished.final.returns == (row.return_mean,)
    assert (finished.final.lengths, row.return_std) == ((1000,), 0.0)
    assert row.normalised == pytest.approx(100 * (row.return_mean + 280.178953) / (12135 + 280.178953))
    assert 0 < row.seconds < 60


def test_result_json_compares_with_the_dataset(finished: TrainResult, dataset: Path) -> None:
    result = json.loads((finished.folder / "result.json").read_text())
    returns = load_transitions(dataset).rewards.astype(float).reshape(4, 50).sum(axis=1)
    assert (result["dataset_mean"], result["dataset_max"]) == (
        pytest.approx(returns.mean()),
        pytest.approx(returns.max()),
    )
    assert (finished.dataset_mean, finished.dataset_max) == (result["dataset_mean"], result["dataset_max"])
    assert (result["task"], len(result["evaluations"])) == (TASK, 1)
    assert finished.final is not None
    assert result["final_returns"] == list(finished.final.returns)
    assert result["seconds"] > 0
    assert (result["epochs"], result["updates"]) == (2, 2 * UPDATES)


def test_the_policy_and_its_checkpoint_can_be_loaded(finished: TrainResult) -> None:
    """The last policy acts as the agent; the one of epoch 1 had two updates less, so it acts otherwise."""
    states = np.random.default_rng(0).normal(size=(20, 17)).astype(np.float32)
    expected = finished.agent.predict(states, deterministic=True)[0]
    last = load_policy(finished.folder)
    np.testing.assert_array_equal(last.predict(states, deterministic=True)[0], expected)
    # The checkpoint of the last epoch would be the policy itself, twice.
    assert [path.name for path in (finished.folder / "checkpoints").iterdir()] == ["epoch-00001"]
    checkpoint = finished.folder / "checkpoints" / "epoch-00001"
    assert (load_policy(checkpoint).predict(states, deterministic=True)[0] != expected).any()
    for folder, epoch in ((finished.folder, 2), (checkpoint, 1)):
        metadata = read_artifact(folder, "policy")[1]
        assert (metadata["task"], metadata["epoch"], metadata["agent"]) == (TASK, epoch, "SAC")


def test_looking_at_a_run_does_not_change_it(dataset: Path, tmp_path: Path) -> None:
    """Evaluations and checkpoints on or off: the same weights bit for bit, else results depend on how one watches."""
    off = run(dataset, tmp_path / "off", epochs=3, seed=3)
    on = run(dataset, tmp_path / "on", epochs=3, seed=3, evaluate_every=1, checkpoint_every=1)
    assert (len(off.evaluations), len(on.evaluations)) == (0, 3)
    assert off.final is None
    assert same_weights(on.agent, off.agent)
    assert not same_weights(run(dataset, tmp_path / "other", epochs=3, seed=4).agent, off.agent)


def test_the_last_policy_is_always_evaluated(dataset: Path, tmp_path: Path) -> None:
    """Epochs that are no multiple of evaluate_every: the result must be of the policy that was saved."""
    result = run(dataset, tmp_path / "run", epochs=3, evaluate_every=2)
    assert [row.epoch for row in result.evaluations] == [2, 3]


def test_each_evaluation_of_a_run_has_starts_of_its_own(dataset: Path, tmp_path: Path) -> None:
    """The same ten starts each time would leave their luck in every average; the command line repeats any of them."""
    result = run(dataset, tmp_path / "run", evaluate_every=1, seed=3)
    seeds = [row.seed for row in result.evaluations]
    assert seeds == [evaluation_seed(3, 1), evaluation_seed(3, 2)]
    assert seeds[0] != seeds[1]
    again = evaluate(load_policy(tmp_path / "run"), TASK, episodes=1, seed=seeds[1])
    assert result.final is not None
    assert again.returns == result.final.returns


def run_own(data: Path, **changes: Any) -> TrainResult:
    options = {"gradient_steps": 1, "rollout_batch_size": B, "dataset": None, "task": str(data), "evaluate_every": 10}
    return small_run(data, Path("run"), **{**options, **changes})


def test_the_record_of_a_run_without_an_environment(cart: Path) -> None:
    """Whoever finds the folder later must see what was chosen, what the model said, and that nobody checked it."""
    result = run_own(cart, envelope_margin=None, envelope_quantile=None)
    config = json.loads(Path("run/config.json").read_text())
    expected = {"task": str(cart), "horizon": 5, "penalty_coef": 1.0, "termination": "never", "real_env": None}
    assert {name: config[name] for name in expected} == expected
    assert config["standardise"] is True
    found = json.loads(Path("run/result.json").read_text())
    assert (found["real_env"], found["evaluations"], found["final_returns"]) == (None, [], None)
    assert not Path("run/evaluations.csv").exists()

    with Path("run/progress.csv").open(newline="") as stream:
        progress = list(csv.DictReader(stream))
    names = {"reward": "reward_mean", "model_reward": "model_reward_mean", "penalty": "penalty_mean"}
    names |= {name: f"{name}_share" for name in ("terminated", "non_finite", "outside", "uncertain")}
    assert [{name: float(line[f"mopo/{column}"]) for name, column in names.items()} for line in progress] == [
        pytest.approx(vars(row)) for row in result.model_rows
    ]
    assert [found["model_first_epoch"], found["model_last_epoch"]] == [vars(row) for row in result.model_rows]
    for row in result.model_rows:
        assert row.reward == pytest.approx(row.model_reward - 1.0 * row.penalty, rel=1e-4)
        assert row.terminated == 0.0
    transitions = result.agent.env.rollouts.penalized_model.transitions  # type: ignore[union-attr]
    assert found["dataset_reward"] == pytest.approx(float(transitions.rewards.mean()), rel=1e-5)
    assert found["dataset_terminated"] == pytest.approx(FELL / len(transitions))


def test_the_share_of_terminal_steps_is_counted(cart: Path) -> None:
    """By a rule that calls every step terminal; rollouts that only reach the horizon count for nothing."""
    rule = LearnedTermination(2, 1, hidden_sizes=(2,), num_members=1).requires_grad_(False)
    for tensor in (rule.threshold, *rule.parameters()):
        tensor.zero_()  # a probability of one half everywhere, and a threshold of none
    save_termination(rule, cart)
    assert [row.terminated for row in run_own(cart).model_rows] == [1.0, 1.0]
    assert json.loads(Path("run/config.json").read_text())["termination"] == "learned"


OFFLINE = ["BC", "BEAR", "BRAC-p", "BRAC-v", "offline-SAC"]


def run_offline(data: Path, folder: Path, **changes: Any) -> TrainResult:
    return run(data, folder, **{"agent": "BEAR", "rollout_batch_size": None, **changes})


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


def test_looking_at_a_run_without_a_model_does_not_change_it(without_ensemble: Path, tmp_path: Path) -> None:
    """BEAR's deterministic action is the best of a hundred; were these drawn anew, evaluations would move the seed."""
    off = run_offline(without_ensemble, tmp_path / "off", epochs=3)
    on = run_offline(without_ensemble, tmp_path / "on", epochs=3, evaluate_every=1, checkpoint_every=1)
    assert (len(off.evaluations), len(on.evaluations)) == (0, 3)
    assert same_weights(on.agent, off.agent)


class Watching(BaseCallback):
    """Counts, and asks for the end of the training in vain."""

    def __init__(self) -> None:
        super().__init__()
        self.rollouts = 0

    def _on_step(self) -> bool:
        return False

    def _on_rollout_end(self) -> None:
        self.rollouts += 1


def test_a_callback_of_ones_own_only_watches(dataset: Path, tmp_path: Path) -> None:
    """It sees every rollout; the run ends with the weights and the identity of a run without it."""
    watching = Watching()
    train(config(dataset), folder=tmp_path / "watched", callback=watching, progress=False)
    run(dataset, tmp_path / "alone")
    assert watching.rollouts == 2
    assert outcome(tmp_path / "watched") == outcome(tmp_path / "alone")
    assert recorded(tmp_path / "watched")["identity"] == recorded(tmp_path / "alone")["identity"]
