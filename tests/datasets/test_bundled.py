"""The bundled data and model, end to end: what a new user meets first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from helpers.transitions import transitions
from stable_baselines3 import SAC

import mopo_env
from mopo_env import PenalizedModelEnv, load_dataset, load_ensemble, make_penalized_model, save_transitions
from mopo_env.datasets.folders import bundled_folder
from mopo_env.datasets.shared import load_shared_ensemble
from mopo_env.errors import DatasetError, SpaceMismatchError, StoreError, UnknownNameError
from mopo_env.real.real_env import make_real_env
from mopo_env.tasks import TASKS

ID = "MOPO-halfcheetah-mixed"


@pytest.fixture(scope="module")
def folder() -> Path:
    found = bundled_folder("halfcheetah-mixed")
    assert found is not None
    return found


def test_the_id_works_in_a_fresh_process_without_an_import(tmp_path: Path) -> None:
    """`gym.make("mopo_env:…")` is Gymnasium's way to name the module; nothing may be printed or written by it."""
    make = f"import gymnasium; env = gymnasium.make('mopo_env:{ID}')"
    program = f"{make}; env.reset(seed=0); env.step(env.action_space.sample())"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert not [path for path in tmp_path.iterdir() if path.name not in {"mopo", "minari"}]


def test_model_and_real_environment_have_equal_spaces() -> None:
    """Stable-Baselines3 refuses `set_env` and `load(env=…)` where they differ."""
    model, real = gym.make(ID), make_real_env("halfcheetah-mixed")
    assert model.observation_space == real.observation_space
    assert model.action_space == real.action_space


def test_keywords_change_what_the_id_stands_for(folder: Path) -> None:
    """Each override must reach the model, not only be accepted."""
    env = gym.make(
        ID,
        penalty_coef=3.0,
        horizon=7,
        penalty="ensemble-disagreement",
        termination="hopper",
        dataset=str(folder),
        ensemble=str(folder),
    ).unwrapped
    assert isinstance(env, PenalizedModelEnv)
    assert (env.horizon, env.penalized_model.penalty_coef) == (7, 3.0)
    assert env.penalized_model.penalty is mopo_env.penalties.ensemble_disagreement  # type: ignore[attr-defined]
    assert env.penalized_model.termination is mopo_env.terminations.hopper  # type: ignore[attr-defined]


def test_penalties_in_units_of_the_data() -> None:
    """The bundled ensemble knows the scale of its targets; joint velocities, of std 20, no longer decide alone."""
    raw, normalised = (
        gym.make(ID, penalty={"name": "ensemble-std", "units": units}).unwrapped for units in ("raw", "normalised")
    )
    infos = []
    for env in (raw, normalised):
        env.reset(seed=0)
        infos.append(env.step(np.zeros(6))[4])
    assert infos[0]["reward_model"] == infos[1]["reward_model"], "the penalty changes nothing else"
    assert infos[0]["penalty"] > 3 * infos[1]["penalty"] > 0
    transitions = load_dataset("halfcheetah-mixed")
    model = raw.penalized_model.model  # type: ignore[attr-defined]
    change = transitions.next_observations - transitions.observations
    found = np.column_stack([change, transitions.rewards]).std(axis=0)
    np.testing.assert_allclose(model.target_std, found, rtol=0.01)  # 1,000 of the 101,000 rows are held out


def test_the_model_predicts_the_real_environment(folder: Path) -> None:
    """On states of the dataset the model is far better than "nothing changes"; off the data its uncertainty grows."""
    transitions = load_dataset("halfcheetah-mixed")
    rows = np.random.default_rng(0).choice(len(transitions), 2000, replace=False)
    observations, actions, next_observations = (
        torch.tensor(array[rows])
        for array in (transitions.observations, transitions.actions, transitions.next_observations)
    )
    ensemble = load_ensemble(folder)
    prediction = ensemble.predict(observations, actions)
    error = (prediction.mean[ensemble.elites, :, :-1] - next_observations).square().mean()
    assert error < 0.05 * (observations - next_observations).square().mean()
    penalty = mopo_env.penalties.learned_variance  # type: ignore[attr-defined]
    inside = penalty(prediction).median()
    outside = penalty(ensemble.predict(observations + 5.0 * observations.std(dim=0), -actions)).median()
    assert outside > 2.0 * inside


def test_the_recorded_returns_are_those_of_the_arrays(folder: Path) -> None:
    """The metadata were written while collecting; the arrays are what is trained on."""
    metadata = json.loads((folder / "dataset.json").read_text())["metadata"]
    returns = load_dataset("halfcheetah-mixed").episode_returns
    np.testing.assert_allclose(metadata["episode_returns"], returns, atol=0.01)
    fitted = json.loads((folder / "ensemble.json").read_text())["metadata"]
    assert fitted["dataset_fingerprint"] == metadata["fingerprint"]


def test_recorded_transitions_replay_in_mujoco() -> None:
    """The rewards belong to the states: v_x of the next state minus the control cost, as HalfCheetah-v5 pays."""
    transitions = load_dataset("halfcheetah-mixed")
    env = make_real_env("halfcheetah-mixed")
    for row in (0, 50_000, 100_500):
        env.reset(seed=0)
        observation = transitions.observations[row].astype(np.float64)
        env.unwrapped.set_state(np.concatenate([[0.0], observation[:8]]), observation[8:])  # type: ignore[attr-defined]
        next_observation, reward, *_ = env.step(transitions.actions[row])
        np.testing.assert_allclose(next_observation, transitions.next_observations[row], atol=2e-3, rtol=1e-3)
        assert reward == pytest.approx(transitions.rewards[row], abs=2e-3)


def test_plain_sac_trains_on_the_id() -> None:
    """No wrapper, no buffer of ours: a user who knows only Stable-Baselines3 must get this far."""
    agent = SAC("MlpPolicy", gym.make(ID), learning_starts=20, seed=0)
    before = agent.policy.state_dict()["actor.mu.weight"].clone()
    agent.learn(40)
    assert not torch.equal(before, agent.policy.state_dict()["actor.mu.weight"])


@pytest.mark.parametrize(
    ("keywords", "error", "parts"),
    [
        ({"dataset": "no-such"}, DatasetError, ["'no-such'", "mopo tasks"]),
        ({"ensemble": "no-such"}, StoreError, ["no-such", "mopo fit"]),
        ({"penalty": "learned-varience"}, UnknownNameError, ["learned-variance"]),
        ({"termination": "hoper"}, UnknownNameError, ["hopper"]),
    ],
)
def test_bad_keywords_are_named(keywords: dict[str, str], error: type[Exception], parts: list[str]) -> None:
    """A typo in a keyword's value is the commonest mistake, and its message must say how to go on."""
    with pytest.raises(error) as caught:
        gym.make(ID, **keywords)
    assert all(part in str(caught.value) for part in parts)


def test_an_ensemble_of_other_spaces_is_refused(folder: Path, tmp_path: Path) -> None:
    """Widths may agree by chance: bounds are what tells one robot's torques from another's."""
    other = transitions(widths=(17, 6), action_space=gym.spaces.Box(-2.0, 2.0, (6,)))
    save_transitions(other, tmp_path / "other")
    with pytest.raises(SpaceMismatchError, match="action_space"):
        gym.make(ID, dataset=str(tmp_path / "other"), ensemble=str(folder))


def test_loaded_data_are_shared_between_environments() -> None:
    """A hundred environments in one process must not hold a hundred ensembles."""
    first, second = make_penalized_model("halfcheetah-mixed"), make_penalized_model("halfcheetah-mixed")
    assert first.model is second.model
    assert first.transitions is second.transitions


# Rows, mean and largest return as docs/datasets.md has them.
BUNDLED = {
    "halfcheetah-mixed": (101_000, 1470.4, 2736.8),
    "hopper-mixed": (200_000, 460.5, 3314.7),
    "walker2d-mixed": (100_000, 360.0, 1246.3),
    "halfcheetah-jump": (100_000, -1010.2, 1763.7),
}


@pytest.mark.parametrize("task", BUNDLED)
def test_every_bundled_task_is_what_its_card_says_and_steps(task: str) -> None:
    """Data, ensemble and documentation must belong together."""
    transitions, model = load_dataset(task), load_shared_ensemble(task)
    returns = transitions.episode_returns
    assert (len(transitions), round(returns.mean(), 1), round(returns.max(), 1)) == BUNDLED[task]
    assert model.metadata["dataset_fingerprint"] == transitions.fingerprint
    assert model.target_std is not None
    assert transitions.metadata["name"] == task
    env = gym.make(f"MOPO-{task}")
    assert env.unwrapped.horizon == TASKS[task].horizon  # type: ignore[attr-defined]
    # Gymnasium's checker refuses h = 1, which some tasks have.
    gymnasium_check_env(gym.make(f"MOPO-{task}", horizon=3).unwrapped, skip_render_check=True)


def test_the_wheel_stays_small() -> None:
    """60 MB is the promise for all bundled data and ensembles, and stale tensor files would break it."""
    folders = [bundled_folder(task) for task in TASKS]
    present = [folder for folder in folders if folder is not None]
    assert {folder.name for folder in present} == set(BUNDLED)
    assert all(len(list(folder.iterdir())) == 4 for folder in present)
    assert sum(path.stat().st_size for folder in present for path in folder.iterdir()) <= 60_000_000
