"""Policies as plain tensors: what is read acts as what was written, damage is refused, and nothing in a file runs."""

from __future__ import annotations

import hashlib
import importlib
import json
import pickle
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from safetensors.numpy import load, save
from sb3_contrib import RecurrentPPO
from stable_baselines3 import SAC
from stable_baselines3.sac.policies import SACPolicy

from mopo_agents.agents import AGENTS, get_agent_class, make_agent, make_offline_agent
from mopo_agents.baselines import OfflineAgent
from mopo_agents.policies import load_policy, save_policy
from mopo_env._utils.store import read_artifact
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, MissingExtraError, StoreError
from mopo_env.toys import LinearGaussianSystem, StubEnsemble
from mopo_env.transitions import Transitions

SBX = [name for name in AGENTS if name.startswith("SBX-")]
NUMBERED = ("DQN", "QRDQN")  # they choose among numbered actions and nothing else
# sbx imports tensorflow_probability, which reads a name that jax has deprecated; nothing of ours is involved.
quiet_jax = pytest.mark.filterwarnings("ignore:jax.core.pytype_aval_mappings is deprecated:DeprecationWarning")
STATES = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


class MySAC(SAC):
    """An agent of a user's own."""


def penalized_model() -> PenalizedModel:
    """Three numbers to see, two to choose, with bounds that are neither 1 nor symmetric."""
    rows = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    transitions = Transitions(
        observations=rows,
        actions=np.ones((20, 2)),
        rewards=np.zeros(20),
        next_observations=rows,
        terminations=np.zeros(20, dtype=bool),
        truncations=np.zeros(20, dtype=bool),
        action_space=Box(np.float32([0.0, -3.0]), np.float32([10.0, 1.0]), dtype=np.float32),
    )
    model = StubEnsemble(3, 2, mean=lambda states, actions: (0.9 * states, actions[:, 0] - actions[:, 1]), std=0.1)
    return PenalizedModel(model, transitions)


def numbered_model() -> PenalizedModel:
    """Three numbers to see, four actions to choose from."""
    box = penalized_model().transitions
    transitions = replace(box, actions=np.arange(20) % 4, action_space=Discrete(4))
    model = StubEnsemble(3, 4, mean=lambda states, actions: (0.9 * states, actions[:, 0] - actions[:, 1]), std=0.1)
    return PenalizedModel(model, transitions)


def trained(agent: Any, *, numbered: bool | None = None, **options: Any) -> Any:
    """An agent after a few updates, so that no tensor holds what a fresh one holds."""
    options = {"policy_kwargs": {"net_arch": [16]}, **options}
    if issubclass(get_agent_class(agent), OfflineAgent):
        return make_offline_agent(agent, penalized_model().transitions, gradient_steps=3, seed=3, **options).learn(6)
    if agent == "PPO":
        options["batch_size"] = 40
    made = numbered_model() if numbered or agent in NUMBERED else penalized_model()
    if agent not in ("PPO", "A2C"):
        options["gradient_steps"] = 3
    model = make_agent(agent, made, horizon=5, rollout_batch_size=8, seed=3, **options)
    return model.learn(2 * 8 * 5, log_interval=None)


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
    manifest = json.loads((folder / "policy.json").read_text())
    if metadata is not None:
        metadata(manifest["metadata"])
    if tensors is not None:
        content = load(tensor_file(folder).read_bytes())
        tensors(content)
        body = save(content)
        tensor_file(folder).write_bytes(body)
        manifest["tensors"]["sha256"] = hashlib.sha256(body).hexdigest()
    (folder / "policy.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", [name for name in AGENTS if name not in (*SBX, "DQN")])  # DQN: test_discrete_actions
def test_a_policy_acts_as_it_did(name: str, tmp_path: Path) -> None:
    """The whole point of the file; CrossQ also needs its running batch statistics."""
    _acts_as_it_did(trained(name), tmp_path)


@pytest.mark.parametrize("name", ["PPO", "A2C"])
def test_a_policy_of_numbered_actions_acts_as_it_did(name: str, tmp_path: Path) -> None:
    """The same agents, with a choice where they had a Gaussian; the space comes back as well."""
    loaded = _acts_as_it_did(trained(name, numbered=True), tmp_path)
    assert loaded.action_space == Discrete(4)


def _acts_as_it_did(agent: Any, folder: Path) -> Any:
    save_policy(agent, folder)
    expected = acts(agent)
    assert expected.std() > 0  # else any policy would do
    loaded = load_policy(folder)
    np.testing.assert_array_equal(acts(loaded), expected)
    return loaded


@quiet_jax
def test_a_policy_of_sbx_acts_as_it_did(tmp_path: Path) -> None:
    """JAX keeps its weights elsewhere than torch."""
    agent = trained("SBX-SAC")
    save_policy(agent, tmp_path)
    np.testing.assert_array_equal(acts(load_policy(tmp_path)), acts(agent))


@quiet_jax
@pytest.mark.slow  # each compiles for several seconds
@pytest.mark.parametrize("name", [name for name in SBX if name != "SBX-SAC"])
def test_policies_of_the_other_sbx_agents_act_as_they_did(name: str, tmp_path: Path) -> None:
    agent = trained(name)
    save_policy(agent, tmp_path)
    np.testing.assert_array_equal(acts(load_policy(tmp_path)), acts(agent))


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


def test_a_newer_policy_replaces_the_older(sac: Any, folder: Path) -> None:
    """A run writes into one folder again and again; a stale tensor file would be dead weight."""
    newer = trained("TD3")
    save_policy(newer, folder)
    np.testing.assert_array_equal(acts(load_policy(folder)), acts(newer))
    assert sorted(path.name for path in folder.iterdir()) == sorted(["policy.json", tensor_file(folder).name])


def test_a_flipped_bit_is_refused(folder: Path) -> None:
    """A policy with one weight off would run, and perhaps break a robot."""
    path = tensor_file(folder)
    body = bytearray(path.read_bytes())
    body[-1] ^= 1
    path.write_bytes(body)
    with pytest.raises(StoreError, match="SHA-256"):
        load_policy(folder)


def test_missing_files_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no policy"):
        load_policy(tmp_path / "nowhere")
    tensor_file(folder).unlink()
    with pytest.raises(StoreError, match="no such file"):
        load_policy(folder)


@pytest.mark.parametrize(
    "metadata",
    [
        lambda content: content.update(agent="TD3"),
        lambda content: content.update(agent="PPO"),
        lambda content: content.update(policy_options={}),
        lambda content: content.update(policy_options={"net_arch": [17]}),
        lambda content: content.update(policy_options={"net_arch": "wide"}),
        lambda content: content.update(policy_options={"net_arch": [-1]}),
        lambda content: content.update(policy_options={"no_such_option": 1}),
        lambda content: content.update(policy_options={"features_extractor_class": "os.system"}),
        lambda content: content.update(policy_options=None),
        lambda content: content.update(policy_options=[1]),
        lambda content: content.update(agent=["SAC"]),
        lambda content: content.update(agent=None),
        lambda content: content.pop("agent"),
        lambda content: content.pop("policy_options"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(folder: Path, metadata: Callable[[dict[str, Any]], Any]) -> None:
    """Whatever is wrong, the caller has one error to catch, and no half-loaded policy."""
    change(folder, metadata=metadata)
    with pytest.raises(StoreError):
        load_policy(folder)


def drop_one_weight(tensors: dict[str, np.ndarray]) -> None:
    tensors.pop("weights/actor.mu.bias")


def cut_one_weight(tensors: dict[str, np.ndarray]) -> None:
    tensors["weights/actor.mu.bias"] = tensors["weights/actor.mu.bias"][:1]


def add_one_weight(tensors: dict[str, np.ndarray]) -> None:
    tensors["weights/actor.extra"] = np.zeros(3, dtype=np.float32)


def drop_bounds(tensors: dict[str, np.ndarray]) -> None:
    tensors.pop("action_bounds")


def narrow_observations(tensors: dict[str, np.ndarray]) -> None:
    tensors["observation_bounds"] = tensors["observation_bounds"][:, :2].copy()


def flatten_bounds(tensors: dict[str, np.ndarray]) -> None:
    tensors["action_bounds"] = np.float32([0.0, 1.0])


def three_bounds(tensors: dict[str, np.ndarray]) -> None:
    tensors["action_bounds"] = np.zeros((3, 2), dtype=np.float32)


def swap_bounds(tensors: dict[str, np.ndarray]) -> None:
    tensors["action_bounds"] = tensors["action_bounds"][::-1].copy()


@pytest.mark.parametrize(
    "tensors",
    [
        drop_one_weight,
        cut_one_weight,
        add_one_weight,
        drop_bounds,
        narrow_observations,
        flatten_bounds,
        three_bounds,
        swap_bounds,
    ],
)
def test_tensors_that_do_not_fit_are_refused(folder: Path, tensors: Callable[[dict[str, np.ndarray]], Any]) -> None:
    """The checksum only tells that the file is whole, not that it is right."""
    change(folder, tensors=tensors)
    with pytest.raises(StoreError):
        load_policy(folder)


@quiet_jax
def test_tensors_of_a_torch_agent_do_not_fit_an_sbx_agent(folder: Path) -> None:
    """SAC's tensors under SBX-SAC's name: both have the spaces, only the networks differ."""
    change(folder, metadata=lambda content: content.update(agent="SBX-SAC"))
    with pytest.raises(StoreError, match="do not fit"):
        load_policy(folder)


def reshape_sbx(tensors: dict[str, np.ndarray]) -> None:
    name = next(name for name in sorted(tensors) if name.startswith("weights/params") and tensors[name].ndim == 1)
    tensors[name] = tensors[name][:1].copy()  # would broadcast


def drop_from_sbx(tensors: dict[str, np.ndarray]) -> None:
    tensors.pop(next(name for name in sorted(tensors) if name.startswith("weights/params")))


def add_to_sbx(tensors: dict[str, np.ndarray]) -> None:
    tensors["weights/params/extra"] = np.zeros(3, dtype=np.float32)


@quiet_jax
@pytest.mark.parametrize("tensors", [reshape_sbx, drop_from_sbx, add_to_sbx])
def test_tensors_that_do_not_fit_an_sbx_agent_are_refused(
    tmp_path: Path, tensors: Callable[[dict[str, np.ndarray]], Any]
) -> None:
    """Flax puts in whatever it is given: a wrong shape would show in the first action, or broadcast and never show."""
    agent = make_agent("SBX-SAC", penalized_model(), horizon=1, rollout_batch_size=2, policy_kwargs={"net_arch": [4]})
    save_policy(agent, tmp_path)
    change(tmp_path, tensors=tensors)
    with pytest.raises(StoreError, match="do not fit"):
        load_policy(tmp_path)


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
    with pytest.raises(StoreError, match="pass it as agent="):
        load_policy(tmp_path)
    np.testing.assert_array_equal(acts(load_policy(tmp_path, agent=MySAC)), acts(agent))


def test_options_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    """Writing the rest would lose the activation and load a policy that acts otherwise; nothing is left behind."""
    options = {"net_arch": [4], "activation_fn": torch.nn.Tanh}
    agent = make_agent("SAC", penalized_model(), horizon=1, rollout_batch_size=2, policy_kwargs=options)
    with pytest.raises(ConfigError, match="policy_kwargs cannot be saved here"):
        save_policy(agent, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_optimizer_is_left_out(tmp_path: Path) -> None:
    """It has no form in JSON and no part in acting, and some agents name theirs without being asked."""
    agent = trained("SAC", policy_kwargs={"net_arch": [4], "optimizer_class": torch.optim.SGD})
    save_policy(agent, tmp_path)
    assert "optimizer_class" not in read_artifact(tmp_path, "policy")[1]["policy_options"]
    np.testing.assert_array_equal(acts(load_policy(tmp_path)), acts(agent))


def test_a_folder_that_cannot_be_written_is_a_store_error(sac: Any, tmp_path: Path) -> None:
    """A full disk is no fault of the policy's options."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        save_policy(sac, tmp_path / "file" / "run")


def test_reading_runs_no_code(sac: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SB3's own load() unpickles, which runs whatever the file's author wrote. Here there is nothing to unpickle."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("something was unpickled")

    for module, name in (
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
        (cloudpickle, "load"),
        (cloudpickle, "loads"),
        (torch, "load"),
    ):
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


def test_loading_moves_no_global_generator(tmp_path: Path) -> None:
    """A network is built with random weights first, and that must not shift the caller's own experiment."""
    system = LinearGaussianSystem()
    agent = make_agent("SAC", PenalizedModel(system.model(), system.transitions()), horizon=2, rollout_batch_size=2)
    save_policy(agent, tmp_path)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    load_policy(tmp_path)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2] == random.getstate()


def test_a_policy_of_a_class_without_a_name_is_refused(tmp_path: Path) -> None:
    """Read back as the agent's MlpPolicy, it would act as something else."""
    own = type("OwnPolicy", (SACPolicy,), {})
    agent = make_agent("SAC", penalized_model(), horizon=1, rollout_batch_size=2, policy=own)
    with pytest.raises(ConfigError, match="policy: a OwnPolicy cannot be saved here"):
        save_policy(agent, tmp_path)


def test_a_policy_is_read_as_the_one_it_was(tmp_path: Path) -> None:
    """Recurrent agents have no MlpPolicy at all."""
    options: dict[str, Any] = {"policy": "MlpLstmPolicy", "policy_kwargs": {"lstm_hidden_size": 4}, "batch_size": 8}
    agent = make_agent(RecurrentPPO, penalized_model(), horizon=2, rollout_batch_size=8, **options)
    save_policy(agent, tmp_path)
    loaded = load_policy(tmp_path, agent=RecurrentPPO)
    assert type(loaded) is type(agent.policy)
    found, expected = (policy.predict(STATES, deterministic=True)[0] for policy in (loaded, agent))
    np.testing.assert_array_equal(found, expected)
