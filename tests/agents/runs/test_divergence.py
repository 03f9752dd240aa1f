"""Numbers that cease to be finite end a run of any agent, with its last good policy and a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.agents import halfcheetah_rows
from helpers.damage import change_tensor, rewritten
from helpers.runs import ON_POLICY, TASK, UPDATES, rows, run

from mopo_agents.agents import get_agent_class
from mopo_agents.policies import load_policy
from mopo_agents.runs.results import read_run
from mopo_agents.runs.watch import non_finite_quantity
from mopo_agents.sb3.fast_sac.update import FastSAC
from mopo_env._utils.store import read_artifact
from mopo_env.datasets.files import save_transitions
from mopo_env.errors import DivergenceError, StoreError
from mopo_env.transitions import Transitions

OFFLINE: dict[str, Any] = {"rollout_batch_size": None}
PPO = {**ON_POLICY, "agent_options": {"batch_size": 40, "policy_kwargs": {"net_arch": [16]}}}
AGENTS: dict[str, dict[str, Any]] = {
    "SAC, its own code": {"agent": "SAC", "fast": False},
    "SAC": {"agent": "SAC"},
    "PPO": PPO,
    "offline-SAC": {"agent": "offline-SAC", **OFFLINE},
}


def diverged(data: Path, folder: Path, **options: Any) -> tuple[str, dict[str, Any]]:
    """Return the message and ``result.json`` of a run that must diverge."""
    with pytest.raises(DivergenceError) as caught:
        run(data, folder, **options)
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return str(caught.value), found


def break_in_second_epoch(monkeypatch: pytest.MonkeyPatch, agent: str, work: Callable[[Any], None]) -> None:
    agent_class: Any = FastSAC if agent == "fast SAC" else get_agent_class(agent)
    update, calls = agent_class.train, []

    def broken(self: Any, *args: Any, **options: Any) -> None:
        update(self, *args, **options)
        calls.append(self)
        if len(calls) == 2:
            work(self)

    monkeypatch.setattr(agent_class, "train", broken)


def spoil(agent: Any) -> None:
    with torch.no_grad():
        next(agent.policy.parameters())[0] = torch.nan


def spoil_and_refuse(agent: Any) -> None:
    """What PyTorch says when it is asked to draw from such numbers."""
    spoil(agent)
    torch.distributions.Normal(torch.tensor(torch.nan), 1.0)


@pytest.mark.parametrize("work", [spoil, spoil_and_refuse])
@pytest.mark.parametrize("kind", AGENTS)
def test_the_run_ends_with_a_record(
    kind: str, work: Callable[[Any], None], dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epoch 2 of 5: the policy of epoch 1 is kept, evaluated and reported, and the message says where and why."""
    break_in_second_epoch(monkeypatch, "fast SAC" if kind == "SAC" else AGENTS[kind]["agent"], work)
    message, result = diverged(dataset, tmp_path / "run", epochs=5, evaluate_every=5, **AGENTS[kind])
    assert message.startswith("epoch 2: a weight in ")
    assert f"{tmp_path / 'run'} holds the policy of epoch 1" in message
    assert (result["diverged_epoch"], result["epochs"]) == (2, 1)
    assert "is nan" in result["diverged_quantity"]
    assert [row["epoch"] for row in result["evaluations"]] == [1]
    assert np.isfinite(result["final_returns"]).all()
    assert read_artifact(tmp_path / "run", "policy")[1]["epoch"] == 1
    states = np.random.default_rng(0).normal(size=(20, 17)).astype(np.float32)
    assert np.isfinite(load_policy(tmp_path / "run").predict(states, deterministic=True)[0]).all()
    assert read_run(tmp_path / "run").diverged
    assert not (tmp_path / "run" / "unfinished").exists()


@pytest.mark.parametrize("kind", ["SAC", "PPO"])
def test_actions_that_are_not_finite_end_it_too(
    kind: str, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finite weights can still overflow on the way to an action."""
    agent_class: Any = get_agent_class(AGENTS[kind]["agent"]).policy_aliases["MlpPolicy"]  # type: ignore[attr-defined]
    name = "_predict" if kind == "SAC" else "forward"
    choose, calls = getattr(agent_class, name), []

    def overflow(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(True)
        found = choose(self, *args, **options)
        if len(calls) <= 5:
            return found
        return torch.full_like(found, torch.inf) if kind == "SAC" else (found[0] * torch.nan, *found[1:])

    monkeypatch.setattr(agent_class, name, overflow)
    message, result = diverged(dataset, tmp_path / "run", **AGENTS[kind])
    assert message.startswith("epoch 2: the policy chose actions that are not finite")
    assert result["updates"] == (10 if kind == "PPO" else UPDATES)  # PPO counts its passes over the data


@pytest.mark.parametrize("name", ["offline-SAC", "BEAR", "BRAC-v"])
def test_values_that_really_explode(name: str, tmp_path: Path) -> None:
    """Rewards of 10³⁰ square to infinity in the critic's loss; nothing is staged here.

    No weight becomes NaN: Adam divides by infinity and stands still. A guard of the weights alone would let a dead run
    go on.
    """
    plain = halfcheetah_rows()
    fields = {key: getattr(plain, key) for key in ("observations", "actions", "next_observations", "terminations")}
    huge = Transitions(**fields, truncations=plain.truncations, rewards=np.full(len(plain), 1e30))
    save_transitions(huge, tmp_path / "huge")
    message, result = diverged(tmp_path / "huge", tmp_path / "run", agent=name, **OFFLINE)
    assert message.startswith("epoch 1: train/critic_loss is inf")
    assert result["updates"] == 0


def test_a_learning_rate_that_is_too_large(dataset: Path, tmp_path: Path) -> None:
    options = {"learning_rate": 1e30, "policy_kwargs": {"net_arch": [16]}}
    message, _ = diverged(dataset, tmp_path / "run", epochs=5, agent_options=options)
    assert message.startswith("epoch 1: ")
    assert len(rows(tmp_path / "run" / "progress.csv")) == 1, "the losses of the bad epoch are what one wants to see"


def test_an_error_of_another_kind_is_no_divergence(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(agent: Any) -> None:
        raise ValueError("something else")

    break_in_second_epoch(monkeypatch, "SAC", fail)
    with pytest.raises(ValueError, match="something else"):
        run(dataset, tmp_path / "run", fast=False)
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_variance_that_cannot_be_explained_is_no_divergence(dataset: Path, tmp_path: Path) -> None:
    """PPO logs NaN where all returns are equal."""
    agent = run(dataset, tmp_path / "run", epochs=1, **PPO).agent
    agent.logger.record("train/explained_variance", float("nan"))
    assert non_finite_quantity(agent) is None
    agent.logger.record("train/value_loss", float("nan"))
    assert non_finite_quantity(agent) == "train/value_loss is nan"


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.nan, "non-finite numbers in actor.mu"),
        (np.inf, "non-finite numbers in actor.mu"),
        (1j, "actor.mu.weight: .*complex64"),
    ],
)
def test_such_weights_are_not_loaded(weight: complex, message: str, dataset: Path, tmp_path: Path) -> None:
    """An actor of NaN, or one whose imaginary half is silently dropped, acts without a word."""
    folder = run(dataset, tmp_path / "run", epochs=1).folder
    kind = np.complex64 if isinstance(weight, complex) else np.float32
    name = "weights/actor.mu.weight"
    rewritten(folder, "policy", change_tensor(name, lambda array: np.full_like(array, weight, dtype=kind)))
    with pytest.raises(StoreError, match=message):
        load_policy(folder)


def test_the_command_line_says_it_in_one_sentence(
    mopo: Callable[..., tuple[int, str, str]], dataset: Path, tmp_path: Path
) -> None:
    """And what is left can be evaluated and reported."""
    options = ["--epochs", 3, "--gradient-steps", 2, "--rollout-batch-size", 8, "--evaluation-episodes", 1]
    too_fast = '{"learning_rate": 1e30, "policy_kwargs": {"net_arch": [16]}}'
    code, _, err = mopo("train", TASK, "--dataset", dataset, *options, "--agent-options", too_fast, "--out", "run")
    assert code == 2
    assert "\nmopo: epoch 1: " in err
    assert "Traceback" not in err
    code, out, _ = mopo("evaluate", "run", "--episodes", 1)
    assert (code, "return" in out) == (0, True)
    code, out, _ = mopo("report", "run")
    assert (code, "of 1: 1 diverged" in out) == (0, True)
