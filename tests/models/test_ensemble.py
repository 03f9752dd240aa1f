"""`GaussianEnsemble` against plain NumPy in float64, one member at a time, and its files against damage."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.damage import Rewrite, change_tensor, devices_of_new_tensors, first_entry, rewritten, set_size, set_tensor
from helpers.models import generator

from mopo_env.errors import ConfigError, StoreError
from mopo_env.models.ensemble import GaussianEnsemble, load_ensemble, save_ensemble

OBSERVATION, ACTION, MEMBERS, HIDDEN = 3, 2, 4, (8, 5)


def random_ensemble(seed: int = 0) -> GaussianEnsemble:
    """Return an ensemble of which no parameter is zero, one, or equal to another member's."""
    ensemble = GaussianEnsemble(OBSERVATION, ACTION, num_members=MEMBERS, hidden_sizes=HIDDEN)
    stream = generator(seed)
    with torch.no_grad():
        for parameter in ensemble.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=stream))
        ensemble.max_logvar.copy_(torch.tensor([0.5, 1.0, -0.5, 0.2]))
        ensemble.min_logvar.copy_(torch.tensor([-8.0, -5.0, -9.0, -3.0]))
        ensemble.input_mean.copy_(torch.randn(OBSERVATION + ACTION, generator=stream))
        ensemble.input_std.copy_(torch.rand(OBSERVATION + ACTION, generator=stream) + 0.5)
    ensemble.elites = torch.tensor([2, 0])
    return ensemble.requires_grad_(False)


def random_rows(num_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    stream = generator()
    observations = 2 * torch.randn(num_rows, OBSERVATION, generator=stream)
    return observations, torch.randn(num_rows, ACTION, generator=stream)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


def by_hand(
    ensemble: GaussianEnsemble, observations: torch.Tensor, actions: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and std of every member from the formulas, without torch, batching or float32."""
    weights = {name: tensor.double().numpy() for name, tensor in ensemble.state_dict().items()}
    raw = np.concatenate([observations.double().numpy(), actions.double().numpy()], axis=1)
    inputs = (raw - weights["input_mean"]) / weights["input_std"]
    means, stds = [], []
    for member in range(ensemble.num_members):
        features = inputs
        for layer in range(len(ensemble.hidden_sizes)):
            features = features @ weights[f"hidden.{layer}.weight"][member] + weights[f"hidden.{layer}.bias"][member]
            features = features / (1.0 + np.exp(-features))
        mean = features @ weights["mean_head.weight"][member] + weights["mean_head.bias"][member]
        logvar = features @ weights["logvar_head.weight"][member] + weights["logvar_head.bias"][member]
        logvar = weights["max_logvar"] - softplus(weights["max_logvar"] - logvar)
        logvar = weights["min_logvar"] + softplus(logvar - weights["min_logvar"])
        mean[:, :OBSERVATION] += raw[:, :OBSERVATION]
        means.append(mean)
        stds.append(np.sqrt(np.exp(logvar)))
    return np.stack(means), np.stack(stds)


# ---------------------------------------------------------------- prediction


def test_prediction_equals_the_formulas() -> None:
    """Stacked weights, a batched product and chunks are an optimisation; the numbers must not know of them."""
    ensemble, (observations, actions) = random_ensemble(), random_rows(50)
    said = ensemble.predict(observations, actions)
    mean, std = by_hand(ensemble, observations, actions)
    np.testing.assert_allclose(said.mean.numpy(), mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(said.std.numpy(), std, rtol=1e-4)
    assert not np.allclose(mean[0], mean[1], atol=0.1), "the members must differ for this to mean anything"
    assert torch.equal(said.elites, torch.tensor([2, 0]))
    assert torch.equal(said.observations, observations)
    assert torch.equal(said.actions, actions)


def test_no_rows_give_no_rows() -> None:
    said = random_ensemble().predict(torch.zeros(0, OBSERVATION), torch.zeros(0, ACTION))
    assert said.mean.shape == said.std.shape == (MEMBERS, 0, OBSERVATION + 1)


def test_the_network_predicts_the_change_of_the_observation() -> None:
    """With silent heads the next observation is the observation, and the reward, which has no past, is zero."""
    ensemble, (observations, actions) = random_ensemble(), random_rows(7)
    ensemble.mean_head.weight.zero_()
    ensemble.mean_head.bias.zero_()
    mean = ensemble.predict(observations, actions).mean
    assert torch.equal(mean[..., :-1], observations.expand(MEMBERS, -1, -1))
    assert torch.equal(mean[..., -1], torch.zeros(MEMBERS, 7))


def test_prediction_leaves_its_arguments_alone() -> None:
    """The change is added in place, to the prediction and not to the caller's states."""
    ensemble, (observations, actions) = random_ensemble(), random_rows(7)
    copies = observations.clone(), actions.clone()
    ensemble.predict(observations, actions)
    assert torch.equal(observations, copies[0])
    assert torch.equal(actions, copies[1])


def test_the_log_variance_stays_within_its_bounds() -> None:
    """A network asked about a state it never saw may say anything; the penalty must stay bounded all the same."""
    ensemble, (observations, actions) = random_ensemble(), random_rows(200)
    logvar = 2 * ensemble.predict(1e6 * observations, 1e6 * actions).std.double().log()
    low, high = ensemble.min_logvar.double(), ensemble.max_logvar.double()
    # The second soft clamp lifts a value at the upper bound by log(1 + exp(min − max)).
    slack = torch.log1p(torch.exp(low - high)) + 1e-5
    assert (logvar >= low - 1e-5).all()
    assert (logvar <= high + slack).all()
    reached = (logvar < low + 0.01).any(), (logvar > high - 0.01).any()
    assert all(reached), "the inputs must push against both bounds for this to mean anything"


def test_the_bounds_are_soft() -> None:
    """A hard clamp has no gradient at the bound, and a member that once got there would stay there."""
    ensemble, (observations, actions) = random_ensemble().requires_grad_(True), random_rows(50)
    inputs = ensemble.normalise(torch.cat([observations, actions], dim=1)).expand(MEMBERS, -1, -1)
    ensemble(inputs)[1].sum().backward()
    for parameter in (ensemble.max_logvar, ensemble.min_logvar, ensemble.logvar_head.bias):
        assert parameter.grad is not None
        assert (parameter.grad != 0).all()


def test_prediction_builds_no_graph() -> None:
    """A rollout of 20,000 rows that kept its graph would fill the memory."""
    ensemble = random_ensemble().requires_grad_(True)
    assert not ensemble.predict(*random_rows(3)).mean.requires_grad


# ---------------------------------------------------------------- initial weights


def test_initial_weights_follow_the_papers_code() -> None:
    """A normal of std 1 / (2√fan_in), cut at two of them (which leaves 0.880 of the std); biases are zero."""
    ensemble = GaussianEnsemble(30, 10, hidden_sizes=(100, 50))
    for layer in (*ensemble.hidden, ensemble.mean_head, ensemble.logvar_head):
        weight, std = layer.weight.detach(), 1 / (2 * math.sqrt(layer.weight.shape[1]))
        assert weight.abs().max() <= 2 * std
        assert layer.bias.abs().max() == 0
        # A truncated normal's sample std has a standard error below that of the untruncated one, 1 / √(2n).
        assert float(weight.std()) / (0.8796 * std) == pytest.approx(1, abs=5 / math.sqrt(2 * weight.numel()))
        assert not torch.equal(weight[0], weight[1]), "members that start equal stay nearly equal"
    assert (ensemble.max_logvar == 0.5).all()
    assert (ensemble.min_logvar == -10.0).all()


def test_initial_weights_depend_on_the_generator_alone() -> None:
    before = torch.get_rng_state()

    def weights(seed: int) -> torch.Tensor:
        return GaussianEnsemble(2, 1, hidden_sizes=(4,), generator=generator(seed)).hidden[0].weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((0, 1), {}),
        ((2, -1), {}),
        ((2, 1), {"num_members": 0}),
        ((2, 1), {"hidden_sizes": (16, 0)}),
        ((True, 1), {}),
    ],
)
def test_sizes_that_make_no_network_are_refused(sizes: tuple[int, int], options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected an integer of at least 1"):
        GaussianEnsemble(*sizes, **options)


# ---------------------------------------------------------------- files


def test_saved_and_loaded_predicts_the_same_bits(tmp_path: Path) -> None:
    ensemble = random_ensemble()
    ensemble.metadata = {"note": "fitted in a test", "errors": [0.5, 0.25]}
    manifest = save_ensemble(ensemble, tmp_path / "model")
    loaded = load_ensemble(tmp_path / "model")
    assert manifest == tmp_path / "model" / "ensemble.json"
    rows = random_rows(600)
    expected, found = ensemble.predict(*rows), loaded.predict(*rows)
    assert torch.equal(found.mean, expected.mean)
    assert torch.equal(found.std, expected.std)
    assert found.elites.tolist() == [2, 0]
    assert loaded.hidden_sizes == HIDDEN
    assert (loaded.observation_dim, loaded.action_dim, loaded.num_members) == (OBSERVATION, ACTION, MEMBERS)
    assert loaded.metadata == ensemble.metadata
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_scale_of_the_targets_is_kept(tmp_path: Path) -> None:
    """Penalties in normalised units divide by it, so it comes with every prediction."""
    ensemble = random_ensemble()
    ensemble.target_std = torch.tensor([1.0, 2.0, 3.0, 4.0])
    save_ensemble(ensemble, tmp_path)
    said = load_ensemble(tmp_path).predict(*random_rows(2))
    assert said.target_std is not None
    assert said.target_std.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_an_ensemble_saved_twice_comes_back_once(tmp_path: Path) -> None:
    """Elites and weights of two fits must never be mixed."""
    save_ensemble(random_ensemble(0), tmp_path)
    save_ensemble(random_ensemble(1), tmp_path)
    expected = random_ensemble(1).predict(*random_rows(5)).mean
    assert torch.equal(load_ensemble(tmp_path).predict(*random_rows(5)).mean, expected)
    assert len(list(tmp_path.iterdir())) == 2


def saved(folder: Path) -> Path:
    save_ensemble(random_ensemble(), folder)
    return folder


CONTRADICTIONS: dict[str, Rewrite] = {
    "a weight is NaN": change_tensor("hidden.0.weight", first_entry(np.nan)),
    "a bias is infinite": change_tensor("mean_head.bias", first_entry(-np.inf)),
    "the input scale is NaN": change_tensor("input_std", first_entry(np.nan)),
    "the target scale is NaN": change_tensor("target_std", first_entry(np.nan)),
    "a target scale of another width": change_tensor("target_std", lambda array: array[:-1]),
    "a tensor is missing": lambda tensors, metadata: tensors.pop("logvar_head.weight"),
    "no elites at all": lambda tensors, metadata: tensors.pop("elites"),
    "an unknown tensor": set_tensor("spare", [1.0]),
    "a tensor of another shape": change_tensor("mean_head.weight", lambda array: array[:, :, :-1]),
    "float64 weights": change_tensor("hidden.1.weight", lambda array: array.astype(np.float64)),
    "float16 bounds": change_tensor("max_logvar", lambda array: array.astype(np.float16)),
    "integer input mean": change_tensor("input_mean", lambda array: array.astype(np.int64)),
    "elites empty": set_tensor("elites", np.zeros(0, np.int64)),
    "an elite too large": set_tensor("elites", [0, MEMBERS]),
    "an elite negative": set_tensor("elites", [0, -1]),
    "elites are floats": set_tensor("elites", [0.0, 1.0]),
    "elites are one number": set_tensor("elites", 1),
    "elites are a table": set_tensor("elites", [[0, 1]]),
    "no architecture": lambda tensors, metadata: metadata.pop("architecture"),
    "architecture without a size": lambda tensors, metadata: metadata["architecture"].pop("action_dim"),
    "architecture is a list": lambda tensors, metadata: metadata.__setitem__("architecture", [3, 2]),
    "one member more": set_size("num_members", MEMBERS + 1),
    "no member": set_size("num_members", 0),
    "another width": set_size("hidden_sizes", [8, 6]),
    "a layer fewer": set_size("hidden_sizes", [8]),
    "a wider observation": set_size("observation_dim", OBSERVATION + 1),
    "a huge layer": set_size("hidden_sizes", [8, 10**6, 10**6]),
    "an overflowing layer": set_size("hidden_sizes", [10**10, 10**10]),
    "a layer of thirty digits": set_size("hidden_sizes", [10**30]),
    "a huge number of members": set_size("num_members", 10**12),
}


@pytest.mark.parametrize("change", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_files_that_contradict_themselves_are_refused(tmp_path: Path, change: Rewrite) -> None:
    """A valid checksum proves only that the file is what its writer meant. Nothing but `StoreError` may escape."""
    with pytest.raises(StoreError, match=str(tmp_path)):
        load_ensemble(rewritten(saved(tmp_path), "ensemble", change))


def test_rewriting_without_a_change_is_accepted(tmp_path: Path) -> None:
    """Otherwise the table above would prove nothing."""
    load_ensemble(rewritten(saved(tmp_path), "ensemble", lambda tensors, metadata: None))


def test_loading_allocates_nothing_for_the_sizes_a_file_claims(tmp_path: Path) -> None:
    """A manifest of one kilobyte can claim 28 terabytes; no tensor of that size may exist before shapes are checked."""
    folder = rewritten(saved(tmp_path), "ensemble", set_size("hidden_sizes", [5000, 5000]))
    assert devices_of_new_tensors(lambda: load_ensemble(folder)) == {"meta"}


def test_metadata_without_a_json_form_is_refused(tmp_path: Path) -> None:
    ensemble = random_ensemble()
    ensemble.metadata = {"error": float("nan")}
    with pytest.raises(StoreError, match="finite"):
        save_ensemble(ensemble, tmp_path)
    assert list(tmp_path.iterdir()) == [], "half an artifact was left behind"
