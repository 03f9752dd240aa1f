"""`LearnedTermination` against plain NumPy in float64, and its files against damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mopo_env.models.layers
from mopo_env._utils.store import read_artifact, write_artifact
from mopo_env.errors import ConfigError, StoreError
from mopo_env.terminations import Termination, get_termination
from mopo_env.terminations.learned import LearnedTermination, load_termination, save_termination

OBSERVATION, ACTION, MEMBERS, HIDDEN = 3, 2, 4, (8, 5)


def random_rule(inputs: Any = "transition", threshold: float = 0.4) -> LearnedTermination:
    """Return a rule of which no parameter is zero, one, or equal to another member's."""
    rule = LearnedTermination(OBSERVATION, ACTION, inputs=inputs, num_members=MEMBERS, hidden_sizes=HIDDEN)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        rule.input_mean.copy_(torch.randn(rule.input_mean.shape, generator=generator))
        rule.input_std.copy_(torch.rand(rule.input_std.shape, generator=generator) + 0.5)
        rule.threshold.fill_(threshold)
    return rule.requires_grad_(False)


def random_rows(num_rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(num_rows, width, generator=generator) for width in (OBSERVATION, ACTION, OBSERVATION))  # type: ignore[return-value]


def by_hand(rule: LearnedTermination, columns: torch.Tensor) -> np.ndarray:
    """Return the mean probability from the formulas, without torch, batching or float32."""
    weights = {name: tensor.double().numpy() for name, tensor in rule.state_dict().items()}
    inputs = (columns.double().numpy() - weights["input_mean"]) / weights["input_std"]
    probabilities = []
    for member in range(MEMBERS):
        features = inputs
        for layer in range(len(HIDDEN) + 1):
            features = features @ weights[f"layers.{layer}.weight"][member] + weights[f"layers.{layer}.bias"][member]
            if layer < len(HIDDEN):
                features = features / (1.0 + np.exp(-features))
        probabilities.append(1.0 / (1.0 + np.exp(-features[:, 0])))
    assert not np.allclose(probabilities[0], probabilities[1], atol=0.01), "the members must differ for this to count"
    return np.mean(probabilities, axis=0)


@pytest.mark.parametrize("num_rows", [1, 50, 2047, 2048, 2049])
@pytest.mark.parametrize("inputs", ["next-observation", "transition"])
def test_probability_equals_the_formulas(inputs: str, num_rows: int) -> None:
    """Stacked weights and chunks are an optimisation; the numbers must not know of them."""
    rule, rows = random_rule(inputs), random_rows(num_rows)
    columns = torch.cat(rows, dim=1) if inputs == "transition" else rows[2]
    np.testing.assert_allclose(rule.probability(*rows).numpy(), by_hand(rule, columns), rtol=1e-4, atol=1e-6)


def test_terminal_is_what_exceeds_the_threshold() -> None:
    rows = random_rows(200)
    probabilities = random_rule().probability(*rows)
    for threshold in (0.0, 0.4, float(probabilities[7]), 1.0):
        flags = random_rule(threshold=threshold)(*rows)
        assert flags.dtype == torch.bool
        assert torch.equal(flags, probabilities > np.float32(threshold))
    assert random_rule()(*rows).any()
    assert not random_rule()(*rows).all()


def test_by_default_only_the_next_observation_counts() -> None:
    """What the rule does not see cannot mislead it."""
    rule, (observations, actions, next_observations) = random_rule("next-observation"), random_rows(20)
    expected = rule.probability(observations, actions, next_observations)
    assert torch.equal(rule.probability(1e6 * observations, 1e6 * actions, next_observations), expected)
    assert not torch.equal(rule.probability(observations, actions, 1.1 * next_observations), expected)
    assert LearnedTermination(2, 1).inputs == "next-observation"


def test_no_rows_give_no_flags() -> None:
    assert random_rule()(*random_rows(0)).shape == (0,)


def test_it_is_a_termination_and_builds_no_graph() -> None:
    """`PenalizedModel.step` asks for nothing but this; a rollout that kept its graph would fill the memory."""
    rule = random_rule().requires_grad_(True)
    assert isinstance(rule, Termination)
    assert get_termination(rule) is rule
    assert not rule.probability(*random_rows(3)).requires_grad


@pytest.mark.parametrize(
    "options",
    [
        {"observation_dim": 0},
        {"num_members": 0},
        {"hidden_sizes": (4, 0)},
        {"action_dim": True},
        {"inputs": "state"},
        {"first_action": True},
    ],
)
def test_what_makes_no_rule_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        LearnedTermination(**{"observation_dim": 2, "action_dim": 1, **options})


# ---------------------------------------------------------------- files


def test_saved_and_loaded_decides_the_same(tmp_path: Path) -> None:
    rule = random_rule()
    rule.metadata = {"test": {"f1": 0.5}}
    assert save_termination(rule, tmp_path / "model") == tmp_path / "model" / "termination.json"
    loaded = load_termination(tmp_path / "model")
    rows = random_rows(300)
    assert torch.equal(loaded.probability(*rows), rule.probability(*rows))
    assert torch.equal(loaded(*rows), rule(*rows))
    assert (loaded.inputs, loaded.hidden_sizes, loaded.metadata) == ("transition", HIDDEN, rule.metadata)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        load_termination(tmp_path / "nowhere")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """It is a valid file all the same: only the checksum sees it."""
    save_termination(random_rule(), tmp_path)
    file = next(tmp_path.glob("*.safetensors"))
    body = bytearray(file.read_bytes())
    body[-2] ^= 1
    file.write_bytes(bytes(body))
    with pytest.raises(StoreError, match="SHA-256"):
        load_termination(tmp_path)


Tensors, Metadata = dict[str, np.ndarray], dict[str, Any]


def rewritten(tmp_path: Path, change: Callable[[Tensors, Metadata], Any]) -> Path:
    """Write files that are intact, checksums and all, but say something else."""
    save_termination(random_rule(), tmp_path)
    tensors, metadata = read_artifact(tmp_path, "termination")
    tensors = {name: array.copy() for name, array in tensors.items()}
    change(tensors, metadata)
    write_artifact(tmp_path, "termination", tensors, metadata)
    return tmp_path


def set_tensor(name: str, value: Any) -> Callable[[Tensors, Metadata], None]:
    return lambda tensors, metadata: tensors.__setitem__(name, np.asarray(value))


def set_size(name: str, value: Any) -> Callable[[Tensors, Metadata], None]:
    return lambda tensors, metadata: metadata["architecture"].__setitem__(name, value)


CONTRADICTIONS: dict[str, Callable[[Tensors, Metadata], Any]] = {
    "the threshold is NaN": set_tensor("threshold", np.float32(np.nan)),
    "the threshold is above one": set_tensor("threshold", np.float32(1.5)),
    "the threshold is a list": set_tensor("threshold", np.zeros(1, np.float32)),
    "the input scale is infinite": set_tensor("input_std", np.full(8, np.inf, np.float32)),
    "float64 weights": set_tensor("layers.2.bias", np.zeros((MEMBERS, 1, 1))),
    "a tensor is missing": lambda tensors, metadata: tensors.pop("layers.0.weight"),
    "an unknown tensor": set_tensor("spare", np.zeros(1, np.float32)),
    "no architecture": lambda tensors, metadata: metadata.pop("architecture"),
    "other inputs": set_size("inputs", "next-observation"),
    "a first action that is none": set_size("first_action", "0"),
    "inputs are a list": set_size("inputs", ["transition"]),
    "one member more": set_size("num_members", MEMBERS + 1),
    "no sizes": set_size("hidden_sizes", None),
    "a huge layer": set_size("hidden_sizes", [8, 10**6, 10**6]),
    "an overflowing layer": set_size("hidden_sizes", [10**10, 10**10]),
}


@pytest.mark.parametrize("change", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_files_that_contradict_themselves_are_refused(
    tmp_path: Path, change: Callable[[Tensors, Metadata], Any]
) -> None:
    """A valid checksum proves only that the file is what its writer meant. Nothing but `StoreError` may escape."""
    folder = rewritten(tmp_path, change)
    with pytest.raises(StoreError, match=str(tmp_path)):
        load_termination(folder)


def test_rewriting_without_a_change_is_accepted(tmp_path: Path) -> None:
    """Otherwise the table above would prove nothing."""
    load_termination(rewritten(tmp_path, lambda tensors, metadata: None))


def test_loading_allocates_nothing_for_the_sizes_a_file_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest of one kilobyte can claim terabytes; no tensor of that size may exist before shapes are checked."""
    folder = rewritten(tmp_path, set_size("hidden_sizes", [5000, 5000]))
    allocated = []
    real = torch.empty

    def spy(*args: Any, **kwargs: Any) -> torch.Tensor:
        tensor = real(*args, **kwargs)
        allocated.append(tensor.device.type)
        return tensor

    monkeypatch.setattr(mopo_env.models.layers.torch, "empty", spy)
    with pytest.raises(StoreError):
        load_termination(folder)
    assert set(allocated) == {"meta"}
