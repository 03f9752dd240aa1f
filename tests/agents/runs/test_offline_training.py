"""Whole runs of the agents without a model: the files are those of any run, and say that there was no model."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from helpers.runs import MODEL_OPTIONS, TASK, UPDATES, config, recorded, rows, run, small, weights

from mopo_agents.baselines import BEAR, OfflineSAC
from mopo_agents.policies import load_policy
from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.methods import METHODS, Method
from mopo_agents.runs.train import TrainResult, train
from mopo_env._utils.store import read_artifact
from mopo_env.datasets.files import save_transitions
from mopo_env.datasets.locate import load_dataset
from mopo_env.errors import ConfigError
from mopo_env.transitions import Transitions

Mopo = Callable[..., tuple[int, str, str]]
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
    description = recorded(result.folder)
    assert TrainConfig.__dataclass_fields__.keys() <= description.keys()
    assert {description[name] for name in MODEL_OPTIONS} == {None}
    assert (description["agent"], description["gradient_steps"]) == ("BEAR", UPDATES)
    assert description["dataset_fingerprint"] == read_artifact(without_ensemble, "dataset")[1]["fingerprint"]


def test_what_is_refused_leaves_nothing_behind(without_ensemble: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^horizon: BEAR learns from the dataset alone"):
        run_offline(without_ensemble, tmp_path / "run", horizon=5)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("method", "agent", "message"),
    [
        ("mopo", "BEAR", r"^method: mopo trains in a model, but BEAR learns.*one of sac, bear, brac-p, brac-v, bc"),
        ("bear", "SAC", r"^agent: the method bear is BEAR, found SAC"),
        ("bear", "BC", r"^agent: the method bear is BEAR, found BC"),
        ("sac", "SAC", r"^agent: the method sac is offline-SAC, found SAC"),
    ],
)
def test_an_agent_under_the_name_of_another_method_is_refused(
    method: str, agent: str, message: str, without_ensemble: Path, tmp_path: Path
) -> None:
    """A report would print the paper's number for the one beside the return of the other."""
    with pytest.raises(ConfigError, match=message):
        run_offline(without_ensemble, tmp_path / "run", method=method, agent=agent)
    assert not (tmp_path / "run").exists()


def test_the_target_entropy_is_an_option_of_those_that_have_one(without_ensemble: Path, tmp_path: Path) -> None:
    """Offline SAC is SAC; its class takes the option, though it does not name it."""
    result: Any = run_offline(without_ensemble, tmp_path / "sac", agent="offline-SAC", target_entropy=-3.0)
    assert result.agent.target_entropy == -3.0
    with pytest.raises(ConfigError, match="target_entropy: BRAC-v has none"):
        run_offline(without_ensemble, tmp_path / "run", agent="BRAC-v", target_entropy=-3.0)


@pytest.mark.parametrize("name", OFFLINE)
def test_own_data_are_standardised_in_any_unit(name: str, tmp_path: Path) -> None:
    """Columns in millionths give the policy of columns in units; a network that saw raw ones would differ."""
    scale = np.float32(2.0**20)  # a power of two: scaling it away rounds nothing
    random = np.random.default_rng(0)
    states = random.normal(size=(101, 3)).astype(np.float32)
    agents = []
    for folder, factor in (("units", np.float32(1.0)), ("millionths", scale)):
        columns = {
            "observations": states[:-1] * factor,
            "actions": np.linspace(-1, 1, 200).reshape(100, 2),
            "rewards": states[1:, 0],
            "next_observations": states[1:] * factor,
            "terminations": np.zeros(100, dtype=bool),
            "truncations": np.arange(100) % 10 == 9,
        }
        save_transitions(Transitions(**columns), tmp_path / folder)
        own = TrainConfig(task=str(tmp_path / folder), agent=name, epochs=2, gradient_steps=3, agent_options=small())
        result = train(own, folder=tmp_path / f"run-{folder}", progress=False)
        assert result.evaluations == ()
        assert recorded(result.folder)["standardise"] is True
        policy = load_policy(result.folder)
        agents.append(policy.predict(states[:20] * factor, deterministic=True)[0])
    np.testing.assert_allclose(agents[0], agents[1], atol=1e-4)


def test_own_data_are_named_once(without_ensemble: Path, tmp_path: Path) -> None:
    """As for agents with a model."""
    with pytest.raises(ConfigError, match="is a dataset already; name only one"):
        run_offline(without_ensemble, tmp_path / "run", task=str(without_ensemble))


@pytest.mark.parametrize("name", OFFLINE)
def test_numbered_actions_are_refused(name: str, tmp_path: Path) -> None:
    """Before anything is written, and with the name of what can."""
    columns = {
        "observations": np.zeros((20, 2)),
        "actions": np.arange(20) % 2,
        "rewards": np.zeros(20),
        "next_observations": np.zeros((20, 2)),
        "terminations": np.zeros(20, dtype=bool),
        "truncations": np.arange(20) % 10 == 9,
    }
    save_transitions(Transitions(**columns, action_space=Discrete(2)), tmp_path / "data")
    message = r"^action_space: \w+ needs continuous actions with finite bounds, found Discrete\(2\)\. In a model, DQN"
    with pytest.raises(ConfigError, match=message):
        train(TrainConfig(task=str(tmp_path / "data"), agent=name), folder=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


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


class Mine(OfflineSAC):
    """A class that has no name among the agents."""


def run_mine(data: Path, folder: Path, **changes: Any) -> TrainResult:
    mine = config(data, epochs=1, rollout_batch_size=None, **changes)
    return train(mine, folder=folder, agent_class=Mine, progress=False)


def test_a_class_of_ones_own_that_needs_no_model(
    without_ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a variant of the method it derives from, or a method of its own; never MOPO, which is the default."""
    with pytest.raises(ConfigError, match=r"^method: mopo-no-lip trains in a model, but .*Mine learns.*enter a method"):
        run_mine(without_ensemble, tmp_path / "refused")
    result = run_mine(without_ensemble, tmp_path / "variant", method="sac")
    assert type(result.agent) is Mine
    name = f"{Mine.__module__}.Mine"
    mine = Method(name="mine", title="Mine", train={"agent": name}, model_free=True)
    monkeypatch.setitem(METHODS, "mine", mine)
    run_mine(without_ensemble, tmp_path / "entered")
    found = [recorded(tmp_path / run) for run in ("variant", "entered")]
    assert [(one["method"], one["agent"]) for one in found] == [("sac", name), ("mine", name)]


def test_a_known_class_is_as_good_as_its_name(without_ensemble: Path, tmp_path: Path) -> None:
    """Given as a class, BEAR must not pass for MOPO in the record."""
    bear = config(without_ensemble, epochs=1, rollout_batch_size=None)
    train(bear, folder=tmp_path / "run", agent_class=BEAR, progress=False)
    record = recorded(tmp_path / "run")
    assert (record["method"], record["agent"], record["changed"]) == ("bear", "BEAR", small())


def test_from_the_name_of_a_method_to_a_report(mopo: Mopo, without_ensemble: Path, tmp_path: Path) -> None:
    """By the command line alone: BC and BRAC-v beside MOPO on two bundled episodes, the paper's numbers with them."""
    data = tmp_path / "slice"
    whole = load_dataset(TASK)
    part = Transitions.from_episodes(itertools.islice(whole.episodes(), 2), action_space=whole.action_space)
    save_transitions(replace(part, metadata={"name": TASK}), data)
    short = ["--dataset", data, "--epochs=1", "--gradient-steps=20", "--evaluation-episodes=1"]
    for method in ("bc", "brac-v"):
        code, out, _ = mopo("train", TASK, "--method", method, *short)
        assert code == 0
        agent = METHODS[method].train["agent"]
        assert f"{TASK}: {agent} learns from the dataset alone, real environment: HalfCheetah-v5" in out
        assert "λ" not in out
        assert out.splitlines()[-1].startswith(f"Policy, logs and result.json are in runs/{TASK}-{method}-seed0.")
    tiny = ["--max-epochs=1", "--hidden-sizes", "8", "--weight-decay", "0", "0", "--num-members=2", "--num-elites=1"]
    assert mopo("fit", data, *tiny)[0] == 0
    assert mopo("train", TASK, *short, "--rollout-batch-size=8")[0] == 0

    code, out, _ = mopo("evaluate", f"runs/{TASK}-brac-v-seed0", "--episodes=1")
    assert code == 0
    assert f"MOPO-{TASK}, 1 episodes: return " in out

    code, out, err = mopo("report", "--csv", tmp_path / "table.csv")
    assert (code, err) == (0, "")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line[:1] == "|"]
    assert {line[0] for line in lines[2:]} == {f"{TASK} on slice"}
    network, rest = "fit.num_members=2, fit.num_elites=1, fit.hidden_sizes=[8]", "evaluation_episodes=1"
    assert [[*line[1:4], *line[5:7], line[13]] for line in lines[2:]] == [
        [f"mopo-no-lip, {network}, {rest}", "SAC", "8", "20", "1", "–"],
        [f"brac-v, {rest}", "BRAC-v", "–", "20", "1", "5413.8"],
        [f"bc, {rest}", "BC", "–", "20", "1", "–"],
    ]
    assert [row["rollout_batch_size"] for row in rows(tmp_path / "table.csv")] == ["8", "", ""]


def test_the_command_line_refuses_what_belongs_to_a_model(mopo: Mopo, without_ensemble: Path) -> None:
    code, _, err = mopo("train", TASK, "--method", "bc", "--dataset", without_ensemble, "--horizon", 3)
    assert (code, err.splitlines()) == (
        2,
        [
            "mopo: horizon: BC learns from the dataset alone, so there is no model for which this could be chosen. "
            "Leave it out."
        ],
    )
    assert not Path("runs").exists()


def test_own_data_with_a_baseline_on_the_command_line(mopo: Mopo, without_ensemble: Path) -> None:
    """No ensemble, no real environment: the table says what is known, and does not speak of a model."""
    code, out, _ = mopo("train", without_ensemble, "--agent", "bc", "--epochs=1", "--gradient-steps=2")
    assert code == 0
    label = without_ensemble.name
    lines = out.splitlines()
    assert lines[0] == (
        f"{label}: BC learns from the dataset alone, real environment: none, so the policy is not evaluated"
    )
    assert [line.split("|")[1].strip() for line in lines[1:4]] == [label, "---", "dataset"]
    assert lines[4:] == [
        "The policy was not evaluated: there is no real environment.",
        f"Policy, logs and result.json are in runs/{label}-bc-seed0.",
    ]
