"""A whole training run, made small: what it leaves behind, that it can be trusted, and what it refuses first."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.agents import files, same_weights
from helpers.runs import MODEL_OPTIONS, ON_POLICY, TASK, UPDATES, B, config, recorded, rows, run, small
from helpers.runs import run as small_run
from helpers.transitions import transitions
from stable_baselines3 import SAC
from torch import nn

from mopo_agents.agents import make_agent
from mopo_agents.baselines import BEAR, OfflineSAC
from mopo_agents.evaluation import evaluate
from mopo_agents.policies import load_policy
from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.identity import module_digest
from mopo_agents.runs.methods import METHODS, Method
from mopo_agents.runs.outcome import TrainResult
from mopo_agents.runs.train import train
from mopo_agents.sb3.overlap import OverlappedRollouts
from mopo_agents.sb3.standardise import Standardise
from mopo_env._utils.store import read_artifact
from mopo_env.datasets import locate
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.datasets.relabel import relabel
from mopo_env.errors import ConfigError, MissingExtraError, MopoError, SpaceMismatchError, StoreError, UnknownNameError
from mopo_env.models.lipschitz import spectral_norms
from mopo_env.penalties import make_penalty
from mopo_env.terminations import hopper

pytest.importorskip("mujoco")


# What makes these runs others than the paper's: the nets are small.
CHANGED = {**small(), "fit.num_members": 2, "fit.num_elites": 1, "fit.hidden_sizes": [8]}


@pytest.fixture(scope="module")
def finished(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Two epochs, one evaluation and one checkpoint."""
    return run(dataset, tmp_path_factory.mktemp("runs") / "run", evaluate_every=2, checkpoint_every=1, seed=3)


def test_config_json_holds_every_choice_as_it_was_resolved(finished: TrainResult, dataset: Path) -> None:
    """A mere reference to the task's defaults is no record: they may change between versions."""
    description = recorded(finished.folder)
    assert TrainConfig.__dataclass_fields__.keys() <= description.keys()
    expected = {"task": TASK, "agent": "SAC", "horizon": 5, "penalty_coef": 1.0, "rollout_batch_size": B, "seed": 3}
    assert {name: description[name] for name in expected} == expected
    assert description["agent_options"] == small()
    assert (description["termination"], description["penalty_units"]) == ("halfcheetah", "raw")
    assert description["dataset_fingerprint"] == read_artifact(dataset, "dataset")[1]["fingerprint"]


def test_the_oracle_is_one_name_away(dataset: Path, tmp_path: Path) -> None:
    """`--penalty oracle`: the true error is what is logged and paid, of the run's environment, by its threads."""
    options: dict[str, Any] = {"penalty_members": "all", "penalty_reward": True, "penalty_units": "normalised"}
    options |= {"penalty": "oracle", "real_env": "HalfCheetah-v4", "threads": 1}
    agent: Any = run(dataset, tmp_path / "oracle", epochs=1, **options).agent
    penalty = agent.env.rollouts.penalized_model.penalty
    assert (penalty.members, penalty.reward, penalty.units) == ("all", True, "normalised")
    assert (penalty.truth.env_id, penalty.truth.num_threads) == ("HalfCheetah-v4", 1)
    assert 0.0 < float(rows(tmp_path / "oracle" / "progress.csv")[0]["mopo/penalty_mean"]) <= penalty.max_error
    assert recorded(tmp_path / "oracle")["penalty"] == "oracle"


def test_every_option_reaches_what_it_is_for(dataset: Path, tmp_path: Path) -> None:
    """Each is an attribute of the model, the agent or its buffer, and a line of the record."""
    model: dict[str, Any] = {"member_per": "rollout", "deterministic": True, "penalty_coef": 2.5}
    envelope: dict[str, Any] = {"envelope_margin": 2.0, "envelope_quantile": 0.9, "on_exit": "truncate"}
    penalty = {"penalty": "ensemble-std", "penalty_members": "elites", "penalty_reward": False, "penalty_units": "raw"}
    others = {"horizon": 4, "retain_epochs": 2, "real_ratio": 0.5, "target_entropy": -3.0, "random_rollouts": False}
    others |= {"precision": "bfloat16", "overlap": True, "termination": "hopper"}
    agent: Any = run(dataset, tmp_path / "run", epochs=3, **model, **envelope, **penalty, **others).agent
    penalized_model, buffer = agent.env.rollouts.penalized_model, agent.replay_buffer
    assert {name: getattr(penalized_model, name) for name in model} == model
    assert penalized_model.penalty == make_penalty("ensemble-std", members="elites", reward=False, units="raw")
    assert (penalized_model.model.precision, penalized_model.termination) == ("bfloat16", hopper)
    assert agent.env.rollouts.horizon == 4
    assert isinstance(agent, OverlappedRollouts)
    assert (agent.num_timesteps, agent._n_updates, agent.target_entropy) == (3 * B * 4, 3 * UPDATES, -3.0)
    assert (buffer.full, buffer.buffer_size * buffer.n_envs, buffer.real_ratio) == (True, 2 * B * 4, 0.5)
    description = recorded(tmp_path / "run")
    given = {**model, **envelope, **penalty, **others}
    assert {name: description[name] for name in given} == given
    learned = penalized_model.envelope
    assert learned.on_exit == "truncate"
    assert learned.low.isfinite().all()
    assert learned.penalty_limit < learned.largest_penalty


@pytest.mark.parametrize("real_ratio", [0.0, 0.5, 1.0])
def test_the_ends_of_the_real_ratio(real_ratio: float, dataset: Path, tmp_path: Path) -> None:
    """With f = 1 nothing the model pays reaches the agent, with f = 0 nothing that was recorded; between, both do."""
    relabelled, transitions = tmp_path / "relabelled", load_transitions(dataset)
    save_transitions(relabel(transitions, lambda s, a, following: transitions.rewards + 50.0), relabelled)

    def critic(folder: str, **changes: Any) -> np.ndarray:
        options = {"real_ratio": real_ratio, "ensemble": str(dataset), "allow_other_data": True, **changes}
        options |= {"envelope_margin": None, "envelope_quantile": None}
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
    assert (description["method"], description["changed"]) == ("ours", CHANGED)
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
    (folder,) = (tmp_path / "cache" / "ensembles").iterdir()
    description = recorded(tmp_path / "one")
    assert (description["ensemble_digest"], description["fit"]["lipschitz"]) == (module_digest(model), bound)
    changed = (folder / "ensemble.json").stat().st_mtime_ns
    run(dataset, tmp_path / "two", epochs=1, method="mopo-no-penalty")
    assert (folder / "ensemble.json").stat().st_mtime_ns == changed, "the same ensemble serves another method"
    own: Any = run(dataset, tmp_path / "three", epochs=1, method="mopo", ensemble=str(dataset)).agent
    assert own.env.rollouts.penalized_model.model.metadata["config"]["lipschitz"] is None
    assert recorded(tmp_path / "three")["changed"] == {**CHANGED, "fit.lipschitz": None}


OWN = {"task": None, "dataset": None}  # the dataset itself takes the place of a task
OTHER_ROBOT = {"task": "hopper-mixed", "evaluate_every": 1}
REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"agent": "SACC"}, UnknownNameError, "SACC"),
    ({"penalty": "variance"}, UnknownNameError, "variance"),
    ({"dataset": "nowhere"}, MopoError, "nowhere"),
    ({"dataset": None}, MopoError, "mopo collect"),
    ({"ensemble": "nowhere"}, StoreError, "nowhere"),
    ({"task": "hopper-mixed", "dataset": "empty"}, MopoError, "empty"),
    (OTHER_ROBOT, SpaceMismatchError, "Hopper-v5"),
    ({**OWN, "dataset": "data"}, ConfigError, "name only one"),
    ({**OWN, "termination": "learned"}, StoreError, "termination"),
    ({**OWN, "termination": "hoper"}, UnknownNameError, "hoper"),
    ({**OWN, "evaluate_every": 1, "real_env": "NoSuchEnv-v0"}, ConfigError, "NoSuchEnv-v0"),
    ({**OWN, "evaluate_every": 1, "real_env": "Pendulum-v1"}, SpaceMismatchError, "Pendulum-v1"),
    # Each of these asks for an ensemble of its own, which takes minutes to fit.
    ({"method": "mopo", "penalty": "ensemble-sdt"}, UnknownNameError, "penalty"),
    ({"method": "mopo", "penalty": "none", "penalty_units": "raw"}, ConfigError, "penalty"),
    ({**OWN, "method": "mopo-oracle"}, ConfigError, r"the oracle needs .*, but dataset\d* has none.*--real-env"),
    ({"task": "cartpole-mixed", "method": "mopo-oracle"}, ConfigError, "but CartPole-v1 cannot be stepped"),
    ({"task": "hopper-mixed", "method": "mopo-oracle"}, SpaceMismatchError, "those of Hopper-v5 11"),
]


@pytest.mark.parametrize(("changes", "error", "message"), REFUSED)
def test_what_cannot_start_leaves_nothing_behind(
    changes: dict[str, Any],
    error: type[Exception],
    message: str,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half a run's folder would be refused the next time, for no reason that the user could see.

    Nor is an ensemble fitted for it, and what is wrong with an evaluation is said before the first epoch.
    """
    monkeypatch.setattr("mopo_env.datasets.folders._BUNDLED", tmp_path / "bundled")
    (tmp_path / "empty").mkdir()
    own = {"task": str(dataset)} if changes.get("task", "") is None else {}
    with pytest.raises(error, match=message):
        run(dataset, tmp_path / "run", **{**changes, **own})
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_folder_that_holds_a_run_is_refused(finished: TrainResult, dataset: Path) -> None:
    """Days of computing must not be overwritten by pressing the up arrow."""
    before = files(finished.folder)
    with pytest.raises(ConfigError, match="already holds a run"):
        run(dataset, finished.folder)
    assert files(finished.folder) == before


def test_mujoco_is_needed_for_evaluations_alone(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training is offline. Where an evaluation was asked for, ten epochs in would be late to hear of it."""
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(MissingExtraError, match=r"mopo-env\[mujoco\]"):
        run(dataset, tmp_path / "run", evaluate_every=1)
    assert not (tmp_path / "run").exists()
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


def test_ppo_can_be_trained(dataset: Path, tmp_path: Path) -> None:
    """On-policy agents have no buffer and count updates otherwise; epochs and files are the same."""
    options = {"batch_size": 40, **small()}
    result = run(dataset, tmp_path / "run", checkpoint_every=1, agent_options=options, **ON_POLICY)
    assert result.agent.num_timesteps == 2 * B * 5
    assert [int(line["mopo/epoch"]) for line in rows(tmp_path / "run" / "progress.csv")] == [1, 2]
    assert (tmp_path / "run" / "checkpoints" / "epoch-00001" / "policy.json").is_file()
    record = recorded(tmp_path / "run")
    assert {record[name] for name in ("gradient_steps", "real_ratio", "retain_epochs", "random_rollouts")} == {None}
    assert (record["rollout_batch_size"], record["horizon"]) == (B, 5)


class MySAC(SAC):
    """An agent of a user's own."""


def test_an_agent_of_ones_own_can_be_trained(dataset: Path, tmp_path: Path) -> None:
    """Any SB3 class, not only those with a name here; the record says which."""
    result = train(config(dataset, epochs=1), folder=tmp_path / "run", agent_class=MySAC, progress=False)
    assert isinstance(result.agent, MySAC)
    assert recorded(tmp_path / "run")["agent"].endswith("MySAC")


def test_a_run_closes_its_logs_and_leaves_an_agent_that_can_learn_on(dataset: Path, tmp_path: Path) -> None:
    """SB3 leaves its log files open; to close them must not end the agent's life."""
    agent: Any = run(dataset, tmp_path / "run", epochs=1).agent
    before = files(tmp_path / "run")
    assert agent.logger.output_formats == []
    agent.learn(B * 5, log_interval=None, reset_num_timesteps=False)
    assert agent._n_updates == 2 * UPDATES
    assert files(tmp_path / "run") == before


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
    assert same_weights(first.agent, again.agent)


def test_seeds_share_an_identity(finished: TrainResult, dataset: Path, tmp_path: Path) -> None:
    """And runs of another learning rate do not: they were once averaged as seeds."""
    options: dict[str, Any] = {"evaluate_every": 2, "checkpoint_every": 0}
    seed = run(dataset, tmp_path / "seed", seed=4, **options)
    other = run(dataset, tmp_path / "other", seed=5, agent_options={**small(), "learning_rate": 1e-5}, **options)
    identities = [recorded(result.folder)["identity"] for result in (finished, seed, other)]
    assert identities[0] == identities[1] != identities[2]


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


def test_without_a_folder_a_run_finds_one(dataset: Path) -> None:
    """As on the command line, and never one that is there."""
    folders = [train(config(dataset, epochs=1), progress=False).folder for _ in range(2)]
    assert folders == [Path("runs") / f"{TASK}-SAC-seed0", Path("runs") / f"{TASK}-SAC-seed0-2"]


def run_own(data: Path, **changes: Any) -> TrainResult:
    options = {"gradient_steps": 1, "rollout_batch_size": B, "dataset": None, "task": str(data), "evaluate_every": 10}
    return small_run(data, Path("run"), **{**options, **changes})


def test_an_environment_that_the_user_names_evaluates(mopo: Callable[..., tuple[int, str, str]], cart: Path) -> None:
    """One of Gymnasium's that happens to have these widths, and that needs no MuJoCo."""
    result = run_own(cart, real_env="MountainCarContinuous-v0")
    assert result.final is not None
    assert result.final.normalised is None
    found = json.loads(Path("run/result.json").read_text())
    assert (found["real_env"], found["final_returns"]) == ("MountainCarContinuous-v0", list(result.final.returns))

    policy = read_artifact("run", "policy")[1]
    assert (policy["task"], policy["trained_on"]) == (None, "cart")
    code, out, err = mopo("evaluate", "run")
    assert (code, out) == (2, "")
    assert "--real-env: expected an environment" in err
    arguments = ("--real-env", "MountainCarContinuous-v0", "--episodes", 1, "--seed", 3)
    code, out, _ = mopo("evaluate", "run", *arguments)
    assert code == 0
    assert out.startswith("MountainCarContinuous-v0, 1 episodes: return ")
    content = json.loads(Path("run/evaluation-MountainCarContinuous-v0-seed3.json").read_text())
    expected = evaluate(load_policy("run"), real_env="MountainCarContinuous-v0", episodes=1, seed=3)
    assert content["returns"] == list(expected.returns)
    assert content["real_env"] == "MountainCarContinuous-v0"


def test_the_policy_scales_what_it_sees(cart: Path) -> None:
    """Millimetres beside metres a second: unscaled, a network sees the first alone. Its users give it raw units."""
    result = run_own(cart, epochs=1)
    extractor = result.agent.policy.actor.features_extractor  # type: ignore[union-attr]
    assert isinstance(extractor, Standardise)
    observations = result.agent.env.rollouts.penalized_model.transitions.observations  # type: ignore[union-attr]
    np.testing.assert_allclose(extractor.std.numpy(), observations.std(axis=0), rtol=1e-4)
    expected = result.agent.predict(observations, deterministic=True)[0]
    np.testing.assert_array_equal(load_policy("run").predict(observations, deterministic=True)[0], expected)


OFFLINE = ["BC", "BEAR", "BRAC-p", "BRAC-v", "offline-SAC"]


def run_offline(data: Path, folder: Path, **changes: Any) -> TrainResult:
    return run(data, folder, **{"agent": "BEAR", "rollout_batch_size": None, **changes})


def test_the_record_of_a_run_without_a_model_claims_no_model(without_ensemble: Path, tmp_path: Path) -> None:
    """A horizon in the record of a run that rolled nothing out would be read as one that was used."""
    result = run_offline(without_ensemble, tmp_path / "run")
    description = recorded(result.folder)
    assert TrainConfig.__dataclass_fields__.keys() <= description.keys()
    assert {description[name] for name in MODEL_OPTIONS} == {None}
    assert (description["agent"], description["gradient_steps"]) == ("BEAR", UPDATES)
    assert description["dataset_fingerprint"] == read_artifact(without_ensemble, "dataset")[1]["fingerprint"]


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


@pytest.mark.parametrize("name", OFFLINE)
def test_own_data_are_standardised_in_any_unit(name: str, tmp_path: Path) -> None:
    """Columns in millionths give the policy of columns in units; a network that saw raw ones would differ."""
    scale = np.float32(2.0**20)  # a power of two: scaling it away rounds nothing
    random = np.random.default_rng(0)
    states = random.normal(size=(101, 3)).astype(np.float32)
    actions = []
    for folder, factor in (("units", np.float32(1.0)), ("millionths", scale)):
        columns = {"observations": states[:-1] * factor, "next_observations": states[1:] * factor}
        columns |= {"rewards": states[1:, 0], "truncations": np.arange(100) % 10 == 9}
        save_transitions(transitions(widths=(3, 2), **columns), tmp_path / folder)
        own = TrainConfig(task=str(tmp_path / folder), agent=name, epochs=2, gradient_steps=3, agent_options=small())
        result = train(own, folder=tmp_path / f"run-{folder}", progress=False)
        assert result.evaluations == ()
        assert recorded(result.folder)["standardise"] is True
        actions.append(load_policy(result.folder).predict(states[:20] * factor, deterministic=True)[0])
    np.testing.assert_allclose(*actions, atol=1e-4)


class Mine(OfflineSAC):
    """A class that has no name among the agents."""


def run_mine(data: Path, folder: Path, **changes: Any) -> TrainResult:
    mine = config(data, epochs=1, rollout_batch_size=None, **changes)
    return train(mine, folder=folder, agent_class=Mine, progress=False)


def test_a_class_of_ones_own_that_needs_no_model(
    without_ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a variant of the method it derives from, or a method of its own; never MOPO, which is the default."""
    with pytest.raises(ConfigError, match=r"^method: ours trains in a model, but .*Mine learns.*enter a method"):
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
