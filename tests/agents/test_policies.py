"""Policies as plain tensors: what is read acts as what was written, damage is refused, and nothing in a file runs."""

from __future__ import annotations

import importlib
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from helpers.agents import make_small, penalized_model, quiet_jax
from helpers.damage import rewritten
from sb3_contrib import RecurrentPPO
from stable_baselines3 import SAC
from stable_baselines3.sac.policies import SACPolicy

from mopo_agents.agents import AGENTS, get_agent_class, make_offline_agent
from mopo_agents.baselines import OfflineAgent
from mopo_agents.policies import load_policy, save_policy
from mopo_env._utils.store import read_artifact
from mopo_env.errors import ConfigError, MissingExtraError, StoreError

SBX = [name for name in AGENTS if name.startswith("SBX-")]
DISCRETE = ("DQN", "QRDQN")  # they choose among discrete actions and nothing else
STATES = np.random.default_rng(0).normal(size=(50, 3), scale=5.0).astype(np.float32)  # wide, so that choices differ


class MySAC(SAC):
    """An agent of a user's own."""


def trained(agent: Any, *, discrete: bool = False, **options: Any) -> Any:
    """An agent after a few updates, so that no tensor holds what a fresh one holds."""
    options = {"seed": 3, "policy_kwargs": {"net_arch": [16]}, **options}
    if issubclass(get_agent_class(agent), OfflineAgent):
        data = penalized_model().transitions
        return make_offline_agent(agent, data, gradient_steps=3, **options).learn(6)
    members = 2 if agent == "MOBILE" else None
    model = penalized_model(4 if discrete or agent in DISCRETE else None, num_members=members)
    return make_small(agent, model, horizon=5, **options).learn(2 * 8 * 5, log_interval=None)


def acts(policy: Any) -> np.ndarray:
    return policy.predict(STATES, deterministic=True)[0]


@pytest.fixture(scope="module")
def sac() -> Any:
    return trained("SAC")


@pytest.fixture
def folder(sac: Any, tmp_path: Path) -> Path:
    """A folder that holds the policy of a SAC agent."""
    save_policy(sac, tmp_path / "run", metadata={"task": "toy", "epoch": 2})
    return tmp_path / "run"


def tensor_file(folder: Path) -> Path:
    (path,) = folder.glob("policy-*.safetensors")
    return path


def change(
    folder: Path,
    metadata: Callable[[dict[str, Any]], Any] | None = None,
    tensors: Callable[[dict[str, np.ndarray]], Any] | None = None,
) -> None:
    """Change the content of a policy and repair the checksum, as someone would who means it."""

    def both(stored: dict[str, np.ndarray], described: dict[str, Any]) -> None:
        if tensors is not None:
            tensors(stored)
        if metadata is not None:
            metadata(described)

    rewritten(folder, "policy", both)


def acts_as_saved(model: Any, folder: Path, **options: Any) -> Any:
    """Save a policy, and compare the one that is loaded with it."""
    save_policy(model, folder)
    loaded: Any = load_policy(folder, **options)
    assert acts(model).std() > 0  # else any policy would do
    np.testing.assert_array_equal(acts(loaded), acts(model))
    return loaded


OTHER_SBX = [pytest.param(name, marks=pytest.mark.slow) for name in SBX if name != "SBX-SAC"]  # each compiles long


@quiet_jax
@pytest.mark.parametrize("name", [*(name for name in AGENTS if name not in SBX), "SBX-SAC", *OTHER_SBX])
def test_a_policy_acts_as_it_did(name: str, tmp_path: Path) -> None:
    """CrossQ also needs its running batch statistics, and JAX keeps its weights elsewhere than torch."""
    acts_as_saved(trained(name), tmp_path)


@pytest.mark.parametrize("name", ["PPO", "A2C"])
def test_a_policy_of_discrete_actions_acts_as_it_did(name: str, tmp_path: Path) -> None:
    """The same agents, with a choice where they had a Gaussian; the space comes back as well."""
    assert acts_as_saved(trained(name, discrete=True), tmp_path).action_space == Discrete(4)


def test_actions_are_in_raw_units(folder: Path) -> None:
    """Who deploys a policy has no environment at hand that would scale −1…1 back; the box here is [0, 10] × [−3, 1]."""
    actions = acts(load_policy(folder))
    assert (actions >= np.array([0.0, -3.0])).all()
    assert (actions <= np.array([10.0, 1.0])).all()
    assert (actions[:, 0] > 1.0).any()


def test_one_observation_gives_one_action(sac: Any, folder: Path) -> None:
    """A controller asks for one action at a time."""
    action, state = load_policy(folder).predict(STATES[0], deterministic=True)
    np.testing.assert_allclose(action, acts(sac)[0], rtol=1e-5)  # float32; a batch of one may be summed otherwise
    assert (action.shape, state) == ((2,), None)


def test_a_loaded_policy_is_not_in_training_mode(folder: Path) -> None:
    """predict() sets that itself, but who exports the network does not call it; CrossQ's layers act otherwise then."""
    policy: Any = load_policy(folder)
    assert not any(module.training for module in policy.modules())


def test_metadata_is_kept_beside_the_policy(folder: Path) -> None:
    """`mopo evaluate` reads the task from it."""
    metadata = read_artifact(folder, "policy")[1]
    assert (metadata["task"], metadata["epoch"], metadata["agent"]) == ("toy", 2, "SAC")


def test_a_newer_policy_replaces_the_older(folder: Path) -> None:
    """A run writes into one folder again and again; a stale tensor file would be dead weight."""
    acts_as_saved(trained("TD3"), folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(["policy.json", tensor_file(folder).name])


def test_a_missing_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no policy"):
        load_policy(tmp_path / "nowhere")


@pytest.mark.parametrize("agent", ["TD3", "PPO", ["SAC"], None])
def test_a_description_of_another_agent_is_refused(folder: Path, agent: Any) -> None:
    """Whatever is wrong, the caller has one error to catch, and no half-loaded policy."""
    change(folder, metadata=lambda content: content.update(agent=agent))
    with pytest.raises(StoreError):
        load_policy(folder)


OPTIONS: list[Any] = [{}, None, [1], {"no_such_option": 1}, {"features_extractor_class": "os.system"}]
OPTIONS += [{"net_arch": [17]}, {"net_arch": "wide"}, {"net_arch": [-1]}]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_description_of_another_network_is_refused(folder: Path, options: Any) -> None:
    change(folder, metadata=lambda content: content.update(policy_options=options))
    with pytest.raises(StoreError):
        load_policy(folder)


@pytest.mark.parametrize("name", ["agent", "policy_options"])
def test_a_description_that_lacks_something_is_refused(folder: Path, name: str) -> None:
    change(folder, metadata=lambda content: content.pop(name))
    with pytest.raises(StoreError):
        load_policy(folder)


BIAS, ACTION, OBSERVATION = "weights/actor.mu.bias", "action_bounds", "observation_bounds"
WRONG_TENSORS: dict[str, Callable[[dict[str, np.ndarray]], Any]] = {
    "a weight is missing": lambda tensors: tensors.pop(BIAS),
    "a weight is cut": lambda tensors: tensors.update({BIAS: tensors[BIAS][:1]}),
    "a weight too many": lambda tensors: tensors.update({"weights/actor.extra": np.zeros(3, np.float32)}),
    "no bounds": lambda tensors: tensors.pop(ACTION),
    "narrow bounds": lambda tensors: tensors.update({OBSERVATION: tensors[OBSERVATION][:, :2].copy()}),
    "flat bounds": lambda tensors: tensors.update({ACTION: np.float32([0.0, 1.0])}),
    "three bounds": lambda tensors: tensors.update({ACTION: np.zeros((3, 2), np.float32)}),
    "swapped bounds": lambda tensors: tensors.update({ACTION: tensors[ACTION][::-1].copy()}),
}


@pytest.mark.parametrize("wrong", WRONG_TENSORS)
def test_tensors_that_do_not_fit_are_refused(folder: Path, wrong: str) -> None:
    """The checksum only tells that the file is whole, not that it is right."""
    change(folder, tensors=WRONG_TENSORS[wrong])
    with pytest.raises(StoreError):
        load_policy(folder)


@quiet_jax
def test_tensors_of_a_torch_agent_do_not_fit_an_sbx_agent(folder: Path) -> None:
    """SAC's tensors under SBX-SAC's name: both have the spaces, only the networks differ."""
    change(folder, metadata=lambda content: content.update(agent="SBX-SAC"))
    with pytest.raises(StoreError, match="do not fit"):
        load_policy(folder)


def first_bias(tensors: dict[str, np.ndarray]) -> str:
    return next(name for name in sorted(tensors) if name.startswith("weights/params") and tensors[name].ndim == 1)


WRONG_IN_SBX: dict[str, Callable[[dict[str, np.ndarray]], Any]] = {
    "would broadcast": lambda tensors: tensors.update({first_bias(tensors): tensors[first_bias(tensors)][:1].copy()}),
    "is missing": lambda tensors: tensors.pop(first_bias(tensors)),
    "one too many": lambda tensors: tensors.update({"weights/params/extra": np.zeros(3, np.float32)}),
}


@quiet_jax
def test_tensors_that_do_not_fit_an_sbx_agent_are_refused(tmp_path: Path) -> None:
    """Flax puts in whatever it is given: a wrong shape would show in the first action, or broadcast and never show."""
    agent = make_small("SBX-SAC", penalized_model())
    for wrong, tensors in WRONG_IN_SBX.items():
        save_policy(agent, tmp_path / wrong)
        change(tmp_path / wrong, tensors=tensors)
        with pytest.raises(StoreError, match="do not fit"):
            load_policy(tmp_path / wrong)


def test_a_missing_package_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(folder, metadata=lambda content: content.update(agent="TQC"))

    def without(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtraError, match="contrib"):
        load_policy(folder)


def test_an_agent_of_ones_own_must_be_given(tmp_path: Path) -> None:
    """A file must not decide what is imported: only names in our table are, the rest the caller brings."""
    agent = trained(MySAC)
    save_policy(agent, tmp_path)
    assert read_artifact(tmp_path, "policy")[1]["agent"].endswith("MySAC")
    with pytest.raises(StoreError, match="pass it to load_policy"):
        load_policy(tmp_path)
    acts_as_saved(agent, tmp_path, agent=MySAC)


def test_options_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    """Writing the rest would lose the activation and load a policy that acts otherwise; nothing is left behind."""
    options = {"net_arch": [4], "activation_fn": torch.nn.Tanh}
    agent = make_small("SAC", penalized_model(), policy_kwargs=options)
    with pytest.raises(ConfigError, match="policy_kwargs cannot be saved here"):
        save_policy(agent, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_optimizer_is_left_out(tmp_path: Path) -> None:
    """It has no form in JSON and no part in acting, and some agents name theirs without being asked."""
    agent = trained("SAC", policy_kwargs={"net_arch": [4], "optimizer_class": torch.optim.SGD})
    acts_as_saved(agent, tmp_path)
    assert "optimizer_class" not in read_artifact(tmp_path, "policy")[1]["policy_options"]


def test_a_folder_that_cannot_be_written_is_a_store_error(sac: Any, tmp_path: Path) -> None:
    """A full disk is no fault of the policy's options."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        save_policy(sac, tmp_path / "file" / "run")


def test_reading_runs_no_code(sac: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SB3's own load() unpickles, which runs whatever the file's author wrote. Here there is nothing to unpickle."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("something was unpickled")

    loaders = [(pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")]
    for module, name in (*loaders, (cloudpickle, "load"), (cloudpickle, "loads")):
        monkeypatch.setattr(module, name, refuse)
    np.testing.assert_array_equal(acts(load_policy(folder)), acts(sac))
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".safetensors"]
    # Every byte is accounted for: a JSON header, then numbers.
    body = tensor_file(folder).read_bytes()
    size = int.from_bytes(body[:8], "little")
    header = json.loads(body[8 : 8 + size])
    header.pop("__metadata__", None)
    assert {entry["dtype"] for entry in header.values()} <= {"F32", "I64"}
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(body) - 8 - size


def test_loading_moves_no_global_generator(folder: Path) -> None:
    """A network is built with random weights first, and that must not shift the caller's own experiment."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    load_policy(folder)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2] == random.getstate()


def test_a_policy_of_a_class_without_a_name_is_refused(tmp_path: Path) -> None:
    """Read back as the agent's MlpPolicy, it would act as something else."""
    own = type("OwnPolicy", (SACPolicy,), {})
    agent = make_small("SAC", penalized_model(), policy=own)
    with pytest.raises(ConfigError, match="policy: a OwnPolicy cannot be saved here"):
        save_policy(agent, tmp_path)


def test_a_policy_is_read_as_the_one_it_was(tmp_path: Path) -> None:
    """Recurrent agents have no MlpPolicy at all."""
    options = {"policy": "MlpLstmPolicy", "policy_kwargs": {"lstm_hidden_size": 4}, "batch_size": 8}
    agent = make_small(RecurrentPPO, penalized_model(), **options)
    assert type(acts_as_saved(agent, tmp_path, agent=RecurrentPPO)) is type(agent.policy)
