"""The identity of a run: the same for its seeds, and another for whatever changes the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mopo_agents.runs.config import ROLES, TrainConfig
from mopo_agents.runs.identity import describe, digest, module_digest
from mopo_agents.runs.resolve import resolve
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.terminations.learned import LearnedTermination
from mopo_env.toys import LinearGaussianSystem

TASK = "halfcheetah-mixed"
SYSTEM = LinearGaussianSystem()
DATA = SYSTEM.transitions(num_episodes=2, num_steps=5, seed=0)
WIDTHS = DATA.observation_dim, DATA.action_dim


def ensemble(seed: int = 0, **metadata: Any) -> GaussianEnsemble:
    """An ensemble of the toy's widths that says how it was fitted."""
    model = GaussianEnsemble(*WIDTHS, num_members=2, hidden_sizes=(4,), generator=torch.Generator().manual_seed(seed))
    model.metadata = metadata
    return model.requires_grad_(False)


def record(*, data: Any = DATA, model: Any = None, rule: Any = "never", **options: Any) -> dict[str, Any]:
    """What a run of these options would write; the toy stands for the task's data and ensemble."""
    run = resolve(TrainConfig(**{"task": TASK, **options}))
    if run.method.model_free:
        return describe(run, data, None)
    penalized_model = PenalizedModel(ensemble() if model is None else model, data, termination=rule)
    return describe(run, data, penalized_model)


DIFFERENT: dict[str, dict[str, Any]] = {
    "task": {"task": "halfcheetah-random"},
    "method": {"method": "mopo"},
    "agent": {"agent": "TD3"},
    "learning rate": {"agent_options": {"learning_rate": 1e-4}},
    "net": {"agent_options": {"policy_kwargs": {"net_arch": [8]}}},
    "epochs": {"epochs": 2},
    "updates": {"gradient_steps": 2},
    "b": {"rollout_batch_size": 2},
    "h": {"horizon": 2},
    "λ": {"penalty_coef": 2.0},
    "penalty": {"penalty": "learned-variance"},
    "members of the penalty": {"penalty_members": "elites"},
    "termination": {"termination": "hopper"},
    "roll-outs": {"random_rollouts": True},
    "real rows": {"real_ratio": 0.1},
    "buffer": {"retain_epochs": 2},
    "target entropy": {"target_entropy": -3.0},
    "standardise": {"standardise": True},
    "envelope": {"envelope": False},
    "range": {"envelope_margin": 1.5},
    "quantile": {"envelope_quantile": 0.9},
    "price": {"exit_reward": -1.0},
    "truncation": {"on_exit": "terminate"},
    "early stop": {"stop_when_collapsing": True},
    "mean penalty": {"mean_penalty": 0.5},
    "precision": {"precision": "bfloat16"},
    "overlap": {"overlap": True},
    "real environment": {"real_env": "HalfCheetah-v4"},
    "episodes of an evaluation": {"evaluation_episodes": 3},
    "cadence of evaluations": {"evaluate_every": 3},
    "data": {"data": SYSTEM.transitions(num_episodes=2, num_steps=5, seed=1)},
    "ensemble": {"model": ensemble(seed=1)},
    "learned termination": {"rule": LearnedTermination(*WIDTHS, hidden_sizes=(2,), num_members=1)},
}


def test_whatever_changes_the_result_changes_the_identity() -> None:
    """Pairwise, since two that share one would be averaged as seeds."""
    identities = [record()["identity"], *(record(**difference)["identity"] for difference in DIFFERENT.values())]
    assert len(set(identities)) == len(identities)


@pytest.mark.parametrize(
    "same",
    [
        {"seed": 5},
        {"device": "cuda", "threads": 4, "checkpoint_every": 1},
        {"task": f"MOPO-{TASK}", "agent": "sac", "method": "ours"},
        {"horizon": 5, "penalty_coef": 1, "penalty": "ensemble-std", "penalty_members": "all"},
        {"dataset": "somewhere", "ensemble": "elsewhere"},  # what lies there is the same
    ],
)
def test_how_and_where_it_runs_does_not(same: dict[str, Any]) -> None:
    """Nor does what is said that would hold unsaid; runs of one identity are seeds of one another."""
    assert record(**same)["identity"] == record()["identity"]


def test_every_option_is_covered() -> None:
    """An option that is added must be tried above, or be one that cannot matter."""
    tried = {name for difference in DIFFERENT.values() for name in difference} & set(ROLES)
    equivalent = {
        "penalty_reward",
        "penalty_units",
        "member_per",
        "deterministic",
        "dataset",
        "ensemble",
    }
    assert set(ROLES) - tried - equivalent == {name for name, role in ROLES.items() if role in ("how", "seed")}
    for name, value in (("penalty_reward", False), ("penalty_units", "normalised"), ("member_per", "rollout")):
        assert record(**{name: value})["identity"] != record()["identity"]
    assert record(deterministic=True)["identity"] != record()["identity"]


def test_own_data_are_the_same_elsewhere(tmp_path: Path) -> None:
    """Their name is a path, and no part of what they are."""
    from mopo_env.datasets.files import save_transitions

    found = []
    for name in ("here", "there"):
        save_transitions(DATA, tmp_path / name)
        found.append(record(task=str(tmp_path / name))["identity"])
    assert found[0] == found[1]


def test_the_identity_of_a_run_is_what_it_was() -> None:
    """Reports compare files of years: another digest for the same run would split its seeds in two."""
    assert digest({"b": [1, 2.5, None, True], "a": {"x": "λ", "y": 1.0}}) == digest(
        {"a": {"y": 1, "x": "λ"}, "b": (1.0, np.float64(2.5), None, True)}
    )
    assert digest({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


def test_a_network_is_its_tensors() -> None:
    layer = nn.Linear(2, 2)
    other = nn.Linear(2, 2)
    assert module_digest(layer) != module_digest(other)
    other.load_state_dict(layer.state_dict())
    assert module_digest(layer) == module_digest(other)


def test_an_ensemble_of_another_kind_is_said_to_be() -> None:
    """The paper's number does not belong beside a method whose nets are of another size, or know other data."""
    fit = {"num_members": 2, "num_elites": 1, "hidden_sizes": [4], "max_epochs": 3}
    network = {"fit.num_members": 2, "fit.num_elites": 1, "fit.hidden_sizes": [4]}
    plain = {"num_members": 7, "num_elites": 5, "hidden_sizes": [200] * 4, "max_epochs": 3}
    assert record(model=ensemble(config=fit))["changed"] == network
    assert record(model=ensemble(config=fit))["fit"] == fit
    assert record(model=ensemble(config=plain, dataset_fingerprint=DATA.fingerprint))["changed"] == {}
    assert record(model=ensemble(config=plain, dataset_fingerprint="?"))["changed"] == {"ensemble": "of other data"}
    assert record(model=ensemble(config=plain), method="mopo")["changed"] == {"fit.lipschitz": None}
