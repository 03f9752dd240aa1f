"""Which of a run's policies is meant: the last, the best so far, or that of an epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.agents import make_small, toy_model
from helpers.runs import config, rows, run

from mopo_agents.evaluation import Evaluation
from mopo_agents.policies import save_policy
from mopo_agents.runs import callback
from mopo_agents.runs.policy_files import find_policy, remove_checkpoints_after
from mopo_agents.runs.train import train
from mopo_env._utils.store import read_artifact
from mopo_env.errors import ConfigError, StoreError

pytest.importorskip("mujoco")


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give the evaluations of a run the returns that a test needs."""

    def score(*returns: float) -> None:
        left = iter(returns)

        def evaluate(*_: object, **__: object) -> Evaluation:
            return Evaluation(returns=(next(left),), lengths=(1,), normalised=None)

        monkeypatch.setattr(callback, "evaluate", evaluate)

    return score


def epoch_of(folder: Path) -> int:
    return int(read_artifact(folder, "policy")[1]["epoch"])


def test_each_new_best_is_kept(scored: Callable[..., None], dataset: Path, tmp_path: Path) -> None:
    """A policy that rises and collapses must not be lost between two checkpoints."""
    scored(5.0, 9.0, 7.0, 9.0, 1.0)
    run(dataset, tmp_path / "run", epochs=5, evaluate_every=1, checkpoint_every=3)
    names = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert names == {"epoch-00001", "epoch-00002", "epoch-00003"}, "a first, a better one, and the third by its turn"
    assert epoch_of(find_policy(tmp_path / "run", "best")) == 2
    assert epoch_of(find_policy(tmp_path / "run", "epoch-00003")) == 3
    assert find_policy(tmp_path / "run") == find_policy(tmp_path / "run", "last") == tmp_path / "run"


def test_the_last_policy_can_be_the_best(scored: Callable[..., None], dataset: Path, tmp_path: Path) -> None:
    scored(1.0, 2.0)
    run(dataset, tmp_path / "run", epochs=2, evaluate_every=1, checkpoint_every=1)
    assert find_policy(tmp_path / "run", "best") == tmp_path / "run"


def test_an_unfinished_run_has_a_last_policy_too(scored: Callable[..., None], dataset: Path, tmp_path: Path) -> None:
    scored(3.0, 2.0, 1.0)
    run(dataset, tmp_path / "run", epochs=3, evaluate_every=1, checkpoint_every=1)
    (tmp_path / "run" / "policy.json").unlink()
    assert epoch_of(find_policy(tmp_path / "run")) == 2
    assert epoch_of(find_policy(tmp_path / "run", "best")) == 1


def test_what_is_not_there_is_named(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", epochs=2, checkpoint_every=1)
    with pytest.raises(
        ConfigError, match=r"checkpoint: found 'epoch-7', expected one of last, best, best-score, epoch-00001\."
    ):
        find_policy(tmp_path / "run", "epoch-7")
    with pytest.raises(
        ConfigError, match=r"'best', but no saved policy .* is in evaluations.csv\. Choose one of last, epoch-0"
    ):
        find_policy(tmp_path / "run", "best")
    (tmp_path / "run" / "evaluations.csv").write_text("epoch,return_mean\n1,much\n")
    with pytest.raises(StoreError, match=r"evaluations\.csv: cannot be read"):
        find_policy(tmp_path / "run", "best")


@pytest.mark.parametrize(("epochs", "every"), [(500, 50), (30, 3), (3, 1)])
def test_a_run_of_any_length_has_checkpoints(epochs: int, every: int, dataset: Path) -> None:
    from mopo_agents.runs.resolve import resolve

    assert resolve(config(dataset, epochs=epochs, checkpoint_every=None)).config.checkpoint_every == every


def test_checkpoints_of_lost_epochs_are_removed(tmp_path: Path) -> None:
    """On a GPU, the resumed run computes others; they must not be mixed."""
    agent = make_small("SAC", toy_model())
    for epoch in (1, 2, 3):
        save_policy(agent, tmp_path / "checkpoints" / f"epoch-{epoch:05d}")
    remove_checkpoints_after(tmp_path, 2)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["epoch-00001", "epoch-00002"]


def test_the_command_line_says_which_policy_it_took(
    mopo: Callable[..., tuple[int, str, str]], dataset: Path, tmp_path: Path
) -> None:
    given = config(dataset, epochs=2, evaluate_every=1, checkpoint_every=1)
    train(given, folder=tmp_path / "run", progress=False)
    best = max(rows(tmp_path / "run" / "evaluations.csv"), key=lambda row: float(row["return_mean"]))
    arguments = ("--episodes", 1, "--seed", best["seed"])
    code, out, _ = mopo("evaluate", tmp_path / "run", "--checkpoint", "best", *arguments)
    assert (code, f"return {float(best['return_mean']):.1f} " in out) == (0, True)
    checkpoint = tmp_path / "run" / "checkpoints" / "epoch-00001"
    code, out, _ = mopo("evaluate", tmp_path / "run", "--checkpoint", "epoch-00001", *arguments)
    assert out.startswith(f"The policy is that of epoch 1, in {checkpoint}.")
    assert f"The returns of all episodes are in {checkpoint}" in out
    code, _, err = mopo("evaluate", tmp_path / "run", "--checkpoint", "epoch-9")
    assert (code, "mopo: --checkpoint: found 'epoch-9'" in err) == (2, True)
