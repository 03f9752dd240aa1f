"""A whole training run, made small: what it leaves behind, that it can be trusted, and what it refuses first."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.runs import ON_POLICY, TASK, UPDATES, B, config, recorded, rows, run, small, weights
from stable_baselines3 import SAC
from torch import nn

from mopo_agents.agents import make_agent
from mopo_agents.evaluation import evaluate, evaluation_seed
from mopo_agents.policies import load_policy
from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.identity import module_digest
from mopo_agents.runs.methods import METHODS
from mopo_agents.runs.train import TrainResult, train
from mopo_agents.sb3.overlap import OverlappedRollouts
from mopo_env._utils.store import read_artifact
from mopo_env.datasets import locate
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.datasets.relabel import relabel
from mopo_env.envs.rollouts import Rollouts
from mopo_env.errors import ConfigError, MissingExtraError, MopoError, SpaceMismatchError, StoreError, UnknownNameError
from mopo_env.models.ensemble import save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.models.lipschitz import spectral_norms
from mopo_env.penalties import make_penalty, no_penalty
from mopo_env.penalties.oracle import OraclePenalty
from mopo_env.transitions import Transitions

pytest.importorskip("mujoco")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset of HalfCheetah's widths and an ensemble: random numbers do, nothing is learned here."""
    random = np.random.default_rng(0)
    ends = np.arange(200) % 50 == 49
    transitions = Transitions(
        observations=random.normal(size=(200, 17)),
        actions=random.uniform(-1, 1, size=(200, 6)),
        rewards=random.normal(loc=2.0, size=200),
        next_observations=random.normal(size=(200, 17)),
        terminations=np.zeros(200, dtype=bool),
        truncations=ends,
    )
    fit = FitConfig(max_epochs=1, hidden_sizes=(8,), weight_decay=(0.0, 0.0), num_members=2, num_elites=1)
    folder = tmp_path_factory.mktemp("dataset")
    save_transitions(transitions, folder)
    save_ensemble(fit_ensemble(transitions, fit, progress=False), folder)
    return folder


# What makes these runs others than the paper's: the nets are small.
CHANGED = {**small(), "fit.num_members": 2, "fit.num_elites": 1, "fit.hidden_sizes": [8]}


@pytest.fixture(scope="module")
def finished(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Two epochs, one evaluation and one checkpoint."""
    return run(dataset, tmp_path_factory.mktemp("runs") / "run", evaluate_every=2, checkpoint_every=1, seed=3)


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_leaves_its_files(finished: TrainResult) -> None:
    """Whoever finds the folder later can tell what was run, how it went, and use the policy."""
    names = {path.name for path in finished.folder.iterdir()}
    assert {"config.json", "progress.csv", "evaluations.csv", "result.json", "policy.json", "checkpoints"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not [name for name in names if name.endswith(".tmp")]


def test_config_json_holds_every_choice_as_it_was_resolved(finished: TrainResult, dataset: Path) -> None:
    """A mere reference to the task's defaults is no record: they may change between versions."""
    description = recorded(finished.folder)
    assert TrainConfig.__dataclass_fields__.keys() <= description.keys()
    expected = {"task": TASK, "agent": "SAC", "horizon": 5, "penalty_coef": 1.0, "rollout_batch_size": B, "seed": 3}
    assert {name: description[name] for name in expected} == expected
    assert description["agent_options"] == small()
    assert (description["termination"], description["penalty_units"]) == ("halfcheetah", "raw")
    assert description["dataset_fingerprint"] == read_artifact(dataset, "dataset")[1]["fingerprint"]


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


def test_updates_and_transitions_are_counted(dataset: Path, tmp_path: Path) -> None:
    """Three epochs of b·h model rows, of which the buffer keeps the last retain·b·h."""
    result = run(dataset, tmp_path / "run", epochs=3, retain_epochs=2, horizon=4, real_ratio=0.5)
    agent: Any = result.agent
    assert agent.num_timesteps == 3 * B * 4
    assert agent._n_updates == 3 * UPDATES
    assert agent.replay_buffer.full
    assert agent.replay_buffer.buffer_size * agent.replay_buffer.n_envs == 2 * B * 4
    assert agent.replay_buffer.real_ratio == 0.5
    assert [int(line["mopo/epoch"]) for line in rows(tmp_path / "run" / "progress.csv")] == [1, 2, 3]


def test_options_reach_the_model(dataset: Path, tmp_path: Path) -> None:
    """λ and u of the run are those of the config, and by default those of the task."""
    agent: Any = run(dataset, tmp_path / "one", epochs=1, penalty="none", penalty_coef=2.5).agent
    assert agent.env.rollouts.penalized_model.penalty_coef == 2.5
    assert float(rows(tmp_path / "one" / "progress.csv")[0]["mopo/penalty_mean"]) == 0.0
    default: Any = run(dataset, tmp_path / "two", epochs=1).agent
    assert (default.env.rollouts.penalized_model.penalty_coef, default.env.rollouts.horizon) == (1.0, 5)


def test_the_oracle_is_one_name_away(dataset: Path, tmp_path: Path) -> None:
    """`--penalty oracle`: the true error is what is logged and paid, by as many threads as the run has."""
    options: dict[str, Any] = {"penalty_members": "all", "penalty_reward": True, "penalty_units": "normalised"}
    agent: Any = run(dataset, tmp_path / "oracle", epochs=1, penalty="oracle", threads=1, **options).agent
    penalty = agent.env.rollouts.penalized_model.penalty
    assert (penalty.members, penalty.reward, penalty.units) == ("all", True, "normalised")
    assert (penalty.truth.env_id, penalty.truth.num_threads) == ("HalfCheetah-v5", 1)
    assert 0.0 < float(rows(tmp_path / "oracle" / "progress.csv")[0]["mopo/penalty_mean"]) <= penalty.max_error
    assert recorded(tmp_path / "oracle")["penalty"] == "oracle"


def test_the_methods_with_the_oracle(dataset: Path, tmp_path: Path) -> None:
    """The last two rows of the paper's Table 3, one with an ensemble of its own and one with the dataset's."""
    for method, folders in (("mopo-no-lip-oracle", 0), ("mopo-oracle", 1)):
        agent: Any = run(dataset, tmp_path / method, epochs=1, method=method).agent
        assert isinstance(agent.env.rollouts.penalized_model.penalty, OraclePenalty)
        assert len(list((tmp_path / "mopo").glob("ensembles/*"))) == folders
        description = recorded(tmp_path / method)
        assert (description["method"], description["changed"]) == (method, CHANGED)


def test_options_of_steps_and_penalty_reach_the_model(dataset: Path, tmp_path: Path) -> None:
    """Each is an attribute of what the agent trains in, and a line of the record."""
    options: dict[str, Any] = {"member_per": "rollout", "deterministic": True, "halt_threshold": 1e6}
    penalty = {"penalty": "ensemble-std", "penalty_members": "elites", "penalty_reward": False, "penalty_units": "raw"}
    agent: Any = run(
        dataset, tmp_path / "run", epochs=1, precision="bfloat16", overlap=True, **options, **penalty
    ).agent
    penalized_model = agent.env.rollouts.penalized_model
    assert {name: getattr(penalized_model, name) for name in options} == options
    assert penalized_model.model.precision == "bfloat16"
    assert isinstance(agent, OverlappedRollouts)
    assert penalized_model.penalty == make_penalty("ensemble-std", members="elites", reward=False, units="raw")
    description = recorded(tmp_path / "run")
    assert {name: description[name] for name in (*options, *penalty)} == {**options, **penalty}
    rewards = penalized_model.transitions.rewards
    assert description["halt_reward"] == penalized_model.halt_reward == pytest.approx(-100 * np.abs(rewards).max())


def test_the_target_entropy_reaches_the_agent(dataset: Path, tmp_path: Path) -> None:
    """−3 is the paper's code's, −dim(A) = −6 the default; the temperature that it steers must move otherwise."""
    default: Any = run(dataset, tmp_path / "default", gradient_steps=20).agent
    papers: Any = run(dataset, tmp_path / "papers", gradient_steps=20, target_entropy=-3.0).agent
    assert (default.target_entropy, papers.target_entropy) == (-6.0, -3.0)
    assert default.log_ent_coef.item() != papers.log_ent_coef.item()
    description = recorded(tmp_path / "papers")
    assert (description["target_entropy"], description["changed"]) == (-3.0, {**CHANGED, "target_entropy": -3.0})


@pytest.mark.parametrize("real_ratio", [0.0, 0.5, 1.0])
def test_the_ends_of_the_real_ratio(real_ratio: float, dataset: Path, tmp_path: Path) -> None:
    """With f = 1 nothing the model pays reaches the agent, with f = 0 nothing that was recorded; between, both do."""
    relabelled, transitions = tmp_path / "relabelled", load_transitions(dataset)
    save_transitions(relabel(transitions, lambda s, a, following: transitions.rewards + 50.0), relabelled)

    def critic(folder: str, **changes: Any) -> np.ndarray:
        options = {"real_ratio": real_ratio, "ensemble": str(dataset), **changes}
        agent: Any = run(Path(options.pop("data", dataset)), tmp_path / folder, **options).agent
        return np.concatenate([parameter.detach().numpy().ravel() for parameter in agent.critic.parameters()])

    plain = critic("plain")
    assert np.array_equal(plain, critic("again")), "the premise: a run is decided by its options"
    assert np.array_equal(plain, critic("penalised", penalty_coef=50.0)) == (real_ratio == 1.0)
    assert np.array_equal(plain, critic("recorded", data=relabelled)) == (real_ratio == 0.0)


# ---------------------------------------------------------------- methods


def test_a_run_records_its_method(finished: TrainResult, dataset: Path, tmp_path: Path) -> None:
    """What a report groups by, and whether the paper's number belongs beside it."""
    description = recorded(finished.folder)
    assert (description["method"], description["changed"]) == ("mopo-no-lip", CHANGED)
    assert description["fit"]["hidden_sizes"] == [8]
    run(dataset, tmp_path / "run", epochs=1, method="mbpo", horizon=2, agent="TD3")
    description = recorded(tmp_path / "run")
    assert (description["method"], description["penalty"], description["horizon"]) == ("mbpo", "none", 2)
    assert (description["changed"], description["agent"]) == ({**CHANGED, "horizon": 2}, "TD3")


def test_a_method_gets_the_ensemble_it_asks_for(dataset: Path, tmp_path: Path) -> None:
    """Fitted for the first run, found by the second; one's own is used if it is named."""
    agent: Any = run(dataset, tmp_path / "one", epochs=1, method="mopo").agent
    model = agent.env.rollouts.penalized_model.model
    bound = METHODS["mopo"].fit["lipschitz"]
    np.testing.assert_allclose(spectral_norms(model).prod(dim=0), bound, rtol=1e-4)
    (folder,) = (tmp_path / "mopo" / "ensembles").iterdir()
    description = recorded(tmp_path / "one")
    assert (description["ensemble_digest"], description["fit"]["lipschitz"]) == (module_digest(model), bound)
    changed = (folder / "ensemble.json").stat().st_mtime_ns
    run(dataset, tmp_path / "two", epochs=1, method="mopo-no-penalty")
    assert (folder / "ensemble.json").stat().st_mtime_ns == changed, "the same ensemble serves another method"
    own: Any = run(dataset, tmp_path / "three", epochs=1, method="mopo", ensemble=str(dataset)).agent
    assert own.env.rollouts.penalized_model.model.metadata["config"]["lipschitz"] is None
    assert recorded(tmp_path / "three")["changed"] == {**CHANGED, "fit.lipschitz": None}


@pytest.mark.parametrize("wrong", [{"penalty": "ensemble-sdt"}, {"penalty": "none", "penalty_units": "raw"}])
def test_a_mistake_is_refused_before_an_ensemble_is_fitted(
    wrong: dict[str, str], dataset: Path, tmp_path: Path
) -> None:
    """A fit takes minutes."""
    with pytest.raises(ConfigError, match="penalty"):
        run(dataset, tmp_path / "run", method="mopo", **wrong)
    assert not (tmp_path / "mopo").exists()


def test_an_oracle_that_nobody_has_is_refused_before_an_ensemble_is_fitted(dataset: Path, tmp_path: Path) -> None:
    """Own data have no simulator unless one is named; the methods that ask for the oracle would first fit for it."""
    with pytest.raises(ConfigError, match=f"the oracle asks .*, but {dataset.name} has none.*--real-env"):
        run(dataset, tmp_path / "run", task=str(dataset), dataset=None, method="mopo-oracle")
    with pytest.raises(ConfigError, match=r"but CartPole-v1 cannot be stepped"):
        run(dataset, tmp_path / "run", task="cartpole-mixed", method="mopo-oracle")
    with pytest.raises(SpaceMismatchError, match="those of Hopper-v5 11"):
        run(dataset, tmp_path / "run", task="hopper-mixed", method="mopo-oracle")
    assert list(tmp_path.iterdir()) == []


def test_own_data_with_a_real_environment_have_its_oracle(dataset: Path, tmp_path: Path) -> None:
    agent: Any = run(
        dataset, tmp_path / "run", task=str(dataset), dataset=None, real_env="HalfCheetah-v4", penalty="oracle"
    ).agent
    assert agent.env.rollouts.penalized_model.penalty.truth.env_id == "HalfCheetah-v4"


def test_a_method_of_one_model_has_one(dataset: Path, tmp_path: Path) -> None:
    """The paper's "no ens.": nobody else to disagree with, or to be drawn from."""
    agent: Any = run(dataset, tmp_path / "run", epochs=1, method="mbpo-no-ens").agent
    penalized_model = agent.env.rollouts.penalized_model
    assert (penalized_model.model.num_members, len(penalized_model.model.elites)) == (1, 1)
    assert penalized_model.penalty is no_penalty


def test_looking_at_a_run_does_not_change_it(dataset: Path, tmp_path: Path) -> None:
    """Evaluations and checkpoints on or off: the same weights bit for bit, else results depend on how one watches."""
    off = run(dataset, tmp_path / "off", epochs=3, seed=3)
    on = run(dataset, tmp_path / "on", epochs=3, seed=3, evaluate_every=1, checkpoint_every=1)
    assert (len(off.evaluations), len(on.evaluations)) == (0, 3)
    assert off.final is None
    expected, found = weights(off.agent), weights(on.agent)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    other = weights(run(dataset, tmp_path / "other", epochs=3, seed=4).agent)
    assert any((other[name] != expected[name]).any() for name in expected)


def test_a_run_without_evaluations_says_so(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", epochs=1)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["evaluations"], result["final_returns"]) == ([], None)
    assert not (tmp_path / "run" / "evaluations.csv").exists()


def test_the_last_policy_is_always_evaluated(dataset: Path, tmp_path: Path) -> None:
    """Epochs that are no multiple of evaluate_every: the result must be of the policy that was saved."""
    result = run(dataset, tmp_path / "run", epochs=3, evaluate_every=2)
    assert [row.epoch for row in result.evaluations] == [2, 3]


def test_a_folder_that_holds_a_run_is_refused(finished: TrainResult, dataset: Path) -> None:
    """Days of computing must not be overwritten by pressing the up arrow."""
    before = listing(finished.folder)
    with pytest.raises(ConfigError, match="already holds a run"):
        run(dataset, finished.folder)
    assert listing(finished.folder) == before


def without_mujoco(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)


def test_a_missing_mujoco_is_found_before_anything_is_written(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten epochs in, at the first evaluation, would be late to hear of it."""
    without_mujoco(monkeypatch)
    with pytest.raises(MissingExtraError, match=r"mopo-env\[mujoco\]"):
        run(dataset, tmp_path / "run", evaluate_every=1)
    assert not (tmp_path / "run").exists()


def test_a_run_without_evaluations_needs_no_mujoco(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training is offline: a machine without a simulator can do it."""
    without_mujoco(monkeypatch)
    assert run(dataset, tmp_path / "run", epochs=1).final is None


def test_a_missing_tensorboard_costs_only_its_events(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tensorboard" else real(name, *rest)
    )
    run(dataset, tmp_path / "run", epochs=1)
    assert len(rows(tmp_path / "run" / "progress.csv")) == 1
    assert not list((tmp_path / "run").glob("events.out.tfevents*"))


class Stop(Exception):
    """Raised where the expensive part would start."""


@pytest.mark.parametrize(
    ("task", "choice", "expected"),
    [(TASK, None, False), (TASK, True, True), ("halfcheetah-jump", None, True), ("halfcheetah-jump", False, False)],
)
def test_the_task_decides_who_rolls_out_unless_told(
    task: str, choice: bool | None, expected: bool, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random rollouts are the paper's for its out-of-distribution tasks, and an option everywhere."""

    def stop(*args: Any, **options: Any) -> Any:
        assert options["random_rollouts"] is expected
        raise Stop

    monkeypatch.setattr("mopo_agents.runs.train.make_agent", stop)
    with pytest.raises(Stop):
        run(dataset, tmp_path / "run", task=task, random_rollouts=choice)


def test_ppo_can_be_trained(dataset: Path, tmp_path: Path) -> None:
    """On-policy agents have no buffer and count updates otherwise; the epochs and files are the same."""
    result = train(
        config(dataset, **ON_POLICY, checkpoint_every=1, agent_options={"batch_size": 40, **small()}),
        folder=tmp_path / "run",
        progress=False,
    )
    assert result.agent.num_timesteps == 2 * B * 5
    assert [int(line["mopo/epoch"]) for line in rows(tmp_path / "run" / "progress.csv")] == [1, 2]
    assert (tmp_path / "run" / "checkpoints" / "epoch-00001" / "policy.json").is_file()


class MySAC(SAC):
    """An agent of a user's own."""


def test_an_agent_of_ones_own_can_be_trained(dataset: Path, tmp_path: Path) -> None:
    """Any SB3 class, not only those with a name here; the record says which."""
    result = train(
        config(dataset, epochs=1),
        folder=tmp_path / "run",
        agent_class=MySAC,
        progress=False,
    )
    assert isinstance(result.agent, MySAC)
    assert recorded(tmp_path / "run")["agent"].endswith("MySAC")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"agent": "SACC"}, UnknownNameError),
        ({"penalty": "variance"}, UnknownNameError),
        ({"dataset": "nowhere"}, MopoError),
        ({"dataset": None}, MopoError),
        ({"ensemble": "nowhere"}, StoreError),
        ({"task": "hopper-mixed", "dataset": "empty"}, MopoError),
    ],
)
def test_what_cannot_start_leaves_no_folder(
    changes: dict[str, Any],
    error: type[Exception],
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half a run's folder would be refused the next time, for no reason that the user could see."""
    monkeypatch.setattr("mopo_env.datasets.folders._BUNDLED", tmp_path / "bundled")
    (tmp_path / "empty").mkdir()
    with pytest.raises(error):
        run(dataset, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_data_of_another_robot_are_refused(dataset: Path, tmp_path: Path) -> None:
    """HalfCheetah's 17 numbers cannot be evaluated in Hopper: to hear of it after the first epochs would be late."""
    with pytest.raises(SpaceMismatchError, match="Hopper-v5"):
        run(dataset, tmp_path / "run", task="hopper-mixed", evaluate_every=1)
    assert not (tmp_path / "run").exists()


def test_a_run_closes_its_logs_and_leaves_an_agent_that_can_learn_on(dataset: Path, tmp_path: Path) -> None:
    """SB3 leaves its log files open; to close them must not end the agent's life."""
    agent: Any = run(dataset, tmp_path / "run", epochs=1).agent
    before = listing(tmp_path / "run")
    assert agent.logger.output_formats == []
    agent.learn(B * 5, log_interval=None, reset_num_timesteps=False)
    assert agent._n_updates == 2 * UPDATES
    assert listing(tmp_path / "run") == before


def test_a_run_that_fails_closes_its_logs_too(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pressing Ctrl-C in a notebook is how most runs end."""
    made: list[Any] = []

    def make(*args: Any, **options: Any) -> Any:
        made.append(make_agent(*args, **options))
        monkeypatch.setattr(made[0], "train", interrupt)
        return made[0]

    def interrupt(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mopo_agents.runs.train.make_agent", make)
    with pytest.raises(KeyboardInterrupt):
        run(dataset, tmp_path / "run", epochs=1)
    assert made[0].logger.output_formats == []


def test_an_ensemble_and_a_dataset_may_lie_apart(dataset: Path, tmp_path: Path) -> None:
    """One dataset, several ensembles: the config names both."""
    ensemble = tmp_path / "ensemble"
    ensemble.mkdir()
    alone = tmp_path / "dataset"
    alone.mkdir()
    for path in dataset.iterdir():
        (ensemble if path.name.startswith("ensemble") else alone).joinpath(path.name).write_bytes(path.read_bytes())
    with pytest.raises(StoreError, match="no ensemble"):
        run(alone, tmp_path / "run", epochs=1)
    run(alone, tmp_path / "run", epochs=1, ensemble=str(ensemble))
    assert (tmp_path / "run" / "result.json").is_file()


# ---------------------------------------------------------------- one way for a run's options


def test_a_run_resolves_its_task_once(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each further time is another chance to resolve it otherwise: with other options, or after a file has changed."""
    named: list[Any] = []
    find = locate._named
    monkeypatch.setattr(locate, "_named", lambda name, ensemble: named.append(name) or find(name, ensemble))
    run(dataset, tmp_path / "run", epochs=1, evaluate_every=1, checkpoint_every=1)
    assert named == [TASK]


def test_a_run_can_be_repeated_from_its_record(dataset: Path, tmp_path: Path) -> None:
    """All that was chosen is in config.json, as data: the same identity, and the same weights bit for bit."""
    options: dict[str, Any] = {"agent_options": {**small(), "learning_rate": 1e-4, "tau": 0.01}, "method": "mopo"}
    first = run(dataset, tmp_path / "first", penalty_members="elites", seed=3, **options)
    record = recorded(first.folder)
    known = {name: record[name] for name in TrainConfig.__dataclass_fields__ if record[name] is not None}
    again = train(TrainConfig(**known), folder=tmp_path / "again", progress=False)
    assert recorded(again.folder) == record
    expected, found = weights(first.agent), weights(again.agent)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_seeds_share_an_identity(finished: TrainResult, dataset: Path, tmp_path: Path) -> None:
    """And runs of another learning rate do not: they were once averaged as seeds."""
    options: dict[str, Any] = {"evaluate_every": 2, "checkpoint_every": 0}
    seed = run(dataset, tmp_path / "seed", seed=4, **options)
    other = run(dataset, tmp_path / "other", seed=5, agent_options={**small(), "learning_rate": 1e-5}, **options)
    identities = [recorded(result.folder)["identity"] for result in (finished, seed, other)]
    assert identities[0] == identities[1] != identities[2]


def test_an_on_policy_record_claims_no_buffer(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", epochs=1, agent_options={"batch_size": 40, **small()}, **ON_POLICY)
    record = recorded(tmp_path / "run")
    assert {record[name] for name in ("gradient_steps", "real_ratio", "retain_epochs", "random_rollouts")} == {None}
    assert (record["rollout_batch_size"], record["horizon"]) == (B, 5)


class Curved(SAC):
    """An agent whose policy has no form in JSON."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "policy_kwargs": {"activation_fn": nn.Tanh, "net_arch": [4]}})


def test_a_policy_that_cannot_be_saved_is_not_trained(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was once trained for hours, and lost at the first save."""
    monkeypatch.setattr(Curved, "learn", lambda *args, **options: pytest.fail("training began"))
    with pytest.raises(ConfigError, match=r"policy_kwargs cannot be saved here.*Tanh"):
        train(config(dataset), folder=tmp_path / "run", agent_class=Curved, progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("fails", [False, True])
def test_the_number_of_threads_is_left_as_found(fails: bool, dataset: Path, tmp_path: Path) -> None:
    """Whoever trains in a notebook computes other things as well."""
    torch.set_num_threads(2)
    try:
        with contextlib.suppress(MopoError):
            run(dataset, tmp_path / "run", epochs=1, ensemble="nowhere" if fails else None)
        assert torch.get_num_threads() == 2
        assert (tmp_path / "run").exists() == (not fails)
    finally:
        torch.set_num_threads(1)


def test_each_evaluation_of_a_run_has_starts_of_its_own(dataset: Path, tmp_path: Path) -> None:
    """The same ten starts each time would leave their luck in every average; the command line repeats any of them."""
    result = run(dataset, tmp_path / "run", evaluate_every=1, seed=3)
    seeds = [row.seed for row in result.evaluations]
    assert seeds == [evaluation_seed(3, 1), evaluation_seed(3, 2)]
    assert seeds[0] != seeds[1]
    again = evaluate(load_policy(tmp_path / "run"), TASK, episodes=1, seed=seeds[1])
    assert result.final is not None
    assert again.returns == result.final.returns


def test_without_a_folder_a_run_finds_one(dataset: Path) -> None:
    """As on the command line, and never one that is there."""
    folders = [train(config(dataset, epochs=1), progress=False).folder for _ in range(2)]
    assert folders == [Path("runs") / f"{TASK}-SAC-seed0", Path("runs") / f"{TASK}-SAC-seed0-2"]
