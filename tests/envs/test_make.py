"""Environments from names and paths, of data for which there is no task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from helpers.models import fitted_ensemble

import mopo_env
from mopo_env.datasets.files import save_transitions
from mopo_env.datasets.minari.reader import save_minari
from mopo_env.datasets.shared import load_shared_termination
from mopo_env.envs.make import make_env, make_penalized_model, make_vector_env
from mopo_env.errors import ConfigError, SpaceMismatchError, StoreError, UnknownNameError
from mopo_env.models.ensemble import save_ensemble
from mopo_env.terminations import hopper, never
from mopo_env.terminations.learned import LearnedTermination, save_termination
from mopo_env.toys import LinearGaussianSystem
from mopo_env.transitions import Transitions


def data() -> Transitions:
    return LinearGaussianSystem().transitions(num_episodes=10, num_steps=5, seed=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Data of one's own and an ensemble; nothing says which task they are of."""
    save_transitions(data(), tmp_path / "pump")
    save_ensemble(fitted_ensemble(data()), tmp_path / "pump")
    return tmp_path / "pump"


def rule(**metadata: Any) -> LearnedTermination:
    """Return a rule that calls everything terminal."""
    made = LearnedTermination(2, 1, hidden_sizes=(2,), num_members=1)
    made.threshold.fill_(0.0)
    made.metadata = metadata
    return made


def test_a_dataset_is_enough(folder: Path) -> None:
    """No task, no id: h = 5, λ = 1, and episodes that end at the horizon alone."""
    env = mopo_env.make_env(dataset=str(folder))
    assert (env.horizon, env.penalized_model.penalty_coef, env.penalized_model.termination) == (5, 1.0, never)
    env.reset(seed=0)
    env.action_space.seed(0)  # some random actions leave the envelope
    steps = [env.step(env.action_space.sample()) for _ in range(5)]
    assert [step[3] for step in steps] == [False] * 4 + [True]
    assert steps[0][1] == pytest.approx(steps[0][4]["reward_model"] - steps[0][4]["penalty"], rel=1e-5)


def test_the_dataset_may_stand_in_the_tasks_place(folder: Path) -> None:
    """As `mopo train FOLDER` has it."""
    assert make_env(folder, horizon=3).horizon == 3
    assert make_vector_env(str(folder), num_envs=4).rollouts.horizon == 5
    assert mopo_env.make_vector_env(dataset=folder, num_envs=4, horizon=2).rollouts.horizon == 2
    penalized_model = make_penalized_model(folder, penalty_coef=0.25, termination="hopper")
    assert (penalized_model.penalty_coef, penalized_model.termination) == (0.25, hopper)


def test_a_minari_dataset_with_an_ensemble_elsewhere(folder: Path) -> None:
    save_minari(data(), "plant/pump-v0")
    assert make_env("plant/pump-v0", ensemble=folder).penalized_model.transitions.fingerprint == data().fingerprint
    with pytest.raises(StoreError, match="no ensemble"):
        make_env("plant/pump-v0")


def test_the_learned_rule_is_found_and_obeyed(folder: Path, tmp_path: Path) -> None:
    """Beside the dataset or beside the ensemble, by default and by name; others come first if they are named."""
    save_ensemble(fitted_ensemble(data()), tmp_path / "model")
    save_termination(rule(), tmp_path / "model")
    assert make_penalized_model(folder).termination is never
    elsewhere = make_penalized_model(folder, ensemble=tmp_path / "model")
    assert isinstance(elsewhere.termination, LearnedTermination)
    save_termination(rule(), folder)
    env = make_env(dataset=folder)
    env.reset(seed=0)
    assert env.step(np.zeros(1, np.float32))[2]
    assert make_penalized_model(folder, termination="never").termination is never
    assert isinstance(make_penalized_model(folder, termination="learned").termination, LearnedTermination)


def test_a_task_can_use_a_learned_rule(folder: Path) -> None:
    """Its own is analytic, so it must be asked for."""
    save_termination(rule(), folder)
    options = {"dataset": str(folder), "ensemble": str(folder)}
    assert gym.make("MOPO-hopper-mixed", **options).unwrapped.penalized_model.termination is hopper  # type: ignore[attr-defined]
    made = gym.make("MOPO-hopper-mixed", termination="learned", **options).unwrapped
    assert isinstance(made.penalized_model.termination, LearnedTermination)  # type: ignore[attr-defined]


def test_a_learned_rule_that_is_not_there(folder: Path) -> None:
    with pytest.raises(StoreError, match=r"no learned termination rule in .*pump.*mopo fit-termination"):
        make_penalized_model(folder, termination="learned")
    with pytest.raises(StoreError, match="pump"):
        load_shared_termination(None, folder)


def test_a_learned_rule_of_other_data_is_refused(folder: Path) -> None:
    """Of other widths it would fail in the first step, of other bounds never."""
    save_termination(rule(observation_space={"low": [-1.0] * 2, "high": [1.0] * 2}), folder)
    with pytest.raises(SpaceMismatchError, match="learned termination rule was fitted to data of"):
        make_penalized_model(folder)


def test_a_rule_that_is_written_anew_is_read_anew(folder: Path) -> None:
    save_termination(rule(), folder)
    first = make_penalized_model(folder).termination
    assert make_penalized_model(folder).termination is first
    other = rule(note="new")
    other.threshold.fill_(1.0)
    save_termination(other, folder)
    found = make_penalized_model(folder).termination
    assert isinstance(found, LearnedTermination)
    assert torch.equal(found.threshold, other.threshold)


def test_two_datasets_are_one_too_many(folder: Path) -> None:
    with pytest.raises(ConfigError, match="is a dataset already; name only one"):
        make_penalized_model(folder, dataset="halfcheetah-mixed")


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^task: found none"):
        make_env()


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="nowhere"):
        make_env(dataset=tmp_path / "nowhere")


def test_objects_are_refused_with_the_way_to_use_them() -> None:
    options: Any = {"dataset": data()}
    with pytest.raises(ConfigError, match=r"^dataset: .*PenalizedModel\(model, transitions"):
        make_env(**options)
