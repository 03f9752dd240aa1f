"""Scores of a run's policies by the model alone: when, what is kept, when training stops, and choosing among runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.agents import same_weights
from helpers.damage import rewrite_json
from helpers.runs import recorded, rows, run

from mopo_agents.evaluation import Policy
from mopo_agents.runs import watch
from mopo_agents.runs.policy_files import find_policy
from mopo_agents.runs.select import select
from mopo_agents.trust.alarms import find_alarms, has_collapsed
from mopo_agents.trust.score import PolicyScore
from mopo_env._utils.store import read_artifact
from mopo_env.errors import ConfigError, StoreError

pytest.importorskip("mujoco")

PLAIN = PolicyScore(score=0.0, worst_member=0.0, spread=0.0, model_return=0.0, left=0.0, length=50.0)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give the policies of a run the scores that a test needs."""

    def tell(*scores: float, left: float = 0.0) -> None:
        following = iter(scores)

        def score(self: Any, policy: Policy) -> PolicyScore:
            return replace(PLAIN, score=next(following), left=left)

        monkeypatch.setattr(watch.PolicyScorer, "score", score)

    return tell


def test_looking_changes_nothing_and_is_written_down(dataset: Path, tmp_path: Path) -> None:
    """The same weights with and without scores; the last policy always has one."""
    with_scores = run(dataset, tmp_path / "with", epochs=3, score_every=2)
    without = run(dataset, tmp_path / "without", epochs=3, score_every=0)
    assert same_weights(with_scores.agent, without.agent)
    assert [row.epoch for row in with_scores.scores] == [2, 3]
    written = rows(tmp_path / "with" / "scores.csv")
    assert [(int(row["epoch"]), float(row["score"])) for row in written] == [
        (row.epoch, pytest.approx(row.score)) for row in with_scores.scores
    ]
    assert without.scores == ()
    assert not (tmp_path / "without" / "scores.csv").exists()
    assert recorded(tmp_path / "with")["identity"] == recorded(tmp_path / "without")["identity"]


def test_the_policy_with_the_best_score_is_kept(dataset: Path, tmp_path: Path, told: Callable[..., None]) -> None:
    """Policies rise and collapse; nobody without a simulator would find the second of four again."""
    told(1.0, 9.0, 3.0, 8.0)
    run(dataset, tmp_path / "run", epochs=4, score_every=1, checkpoint_every=50)
    best = find_policy(tmp_path / "run", "best-score")
    assert int(read_artifact(best, "policy")[1]["epoch"]) == 2


def test_a_collapse_is_told_and_may_stop_the_training(
    dataset: Path, tmp_path: Path, told: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a gain of 10, more than 4 are lost in the third epoch. Without the option the run goes on."""
    told(0.0, 10.0, 5.0, 20.0)
    going_on = run(dataset, tmp_path / "on", epochs=4, score_every=1)
    assert len(going_on.scores) == 4
    assert "Warning, epoch 3: the score fell from 10 to 5." in capsys.readouterr().err
    told(0.0, 10.0, 5.0, 20.0)
    stopped = run(dataset, tmp_path / "stop", epochs=4, score_every=1, evaluate_every=4, stop_when_collapsing=True)
    assert [row.epoch for row in stopped.scores] == [1, 2, 3]
    assert [row.epoch for row in stopped.evaluations] == [3], "the policy that is saved is evaluated"
    result = json.loads((tmp_path / "stop" / "result.json").read_text())
    assert (result["epochs"], list(result["alarms"])) == (3, ["fallen"])
    assert len(rows(tmp_path / "stop" / "progress.csv")) == 3
    assert int(read_artifact(tmp_path / "stop", "policy")[1]["epoch"]) == 3


@pytest.mark.parametrize("agent", ["SAC", "PPO"])
def test_a_stop_ends_every_kind_of_agent(agent: str, dataset: Path, tmp_path: Path, told: Callable[..., None]) -> None:
    told(0.0, 10.0, 0.0)
    options: dict[str, Any] = {"agent": agent, "stop_when_collapsing": True, "score_every": 1}
    if agent == "PPO":
        options |= {"gradient_steps": 1000, "agent_options": {"batch_size": 8, "policy_kwargs": {"net_arch": [8]}}}
    assert len(run(dataset, tmp_path / "run", epochs=5, **options).scores) == 3


@pytest.mark.parametrize(
    ("scores", "collapsed"),
    [
        ([5.0], False),
        ([0.0, 10.0], False),
        ([0.0, 10.0, 6.5], False),
        ([0.0, 10.0, 5.9], True),
        ([3.0, 2.0, 1.0], False),
    ],
)
def test_what_counts_as_a_collapse(scores: list[float], collapsed: bool) -> None:
    """Two fifths of the gain over the first score. What never rose cannot collapse."""
    assert has_collapsed([replace(PLAIN, score=score) for score in scores]) is collapsed


def test_a_policy_that_leaves_the_data_is_called_so() -> None:
    assert find_alarms([]) == {}
    assert find_alarms([replace(PLAIN, left=0.5)]) == {}
    assert "leaves the data in 63%" in find_alarms([replace(PLAIN, left=0.63)])["left"]


def test_choosing_among_runs(dataset: Path, tmp_path: Path, told: Callable[..., None]) -> None:
    """The best score over all runs and epochs; a policy that was not kept is listed, and has no folder."""
    told(1.0, 9.0, 3.0)
    run(dataset, tmp_path / "a", epochs=3, score_every=1, checkpoint_every=50)
    told(10.0, 2.0, 8.0)
    run(dataset, tmp_path / "b", epochs=3, score_every=1, checkpoint_every=0, seed=1)
    found = select([tmp_path / "a", tmp_path / "b"])
    assert [(candidate.run.name, candidate.row.epoch) for candidate in found[:3]] == [("b", 1), ("a", 2), ("b", 3)]
    assert [candidate.folder for candidate in found[:3]] == [
        None,
        tmp_path / "a" / "checkpoints" / "epoch-00002",
        tmp_path / "b",
    ]


def test_runs_that_cannot_be_compared_are_refused(dataset: Path, tmp_path: Path) -> None:
    """A score is a return in a model: in another model it is another number."""
    run(dataset, tmp_path / "a", epochs=1)
    run(dataset, tmp_path / "none", epochs=1, score_every=0)
    with pytest.raises(ConfigError, match=r"no policy was scored.*--score-every"):
        select([tmp_path / "none"])
    rewrite_json(tmp_path / "none" / "config.json", lambda record: record.update(ensemble_digest="other"))
    with pytest.raises(ConfigError, match="different data or ensembles"):
        select([tmp_path / "a", tmp_path / "none"])
    (tmp_path / "a" / "scores.csv").write_text("epoch,score\n1,x\n")
    with pytest.raises(StoreError, match=r"scores.csv: cannot be read"):
        select([tmp_path / "a"])
