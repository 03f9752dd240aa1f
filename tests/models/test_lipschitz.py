"""The bound that is asked is the bound that is kept: of every member, in every layer, in the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import generator
from torch.func import jacrev, vmap

from mopo_env.models.ensemble import GaussianEnsemble, load_ensemble, save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.models.lipschitz import SILU_LIPSCHITZ, SpectralNormalisation, bake, regularise, spectral_norms
from mopo_env.toys import LinearGaussianSystem
from mopo_env.transitions import Transitions

SYSTEM = LinearGaussianSystem()


def stacked(*scales: float, fan_in: int = 12, fan_out: int = 9) -> torch.Tensor:
    """Return random weights of members whose sizes differ by the scales."""
    weight = torch.randn(len(scales), fan_in, fan_out, generator=generator(), dtype=torch.float64)
    return weight * torch.tensor(scales, dtype=torch.float64)[:, None, None]


def exact(weight: torch.Tensor) -> np.ndarray:
    """Return each member's largest singular value, by NumPy."""
    return np.array([np.linalg.svd(member, compute_uv=False)[0] for member in weight.detach().double().numpy()])


# ---------------------------------------------------------------- one layer


def test_every_member_gets_the_norm_of_its_own() -> None:
    """One matrix of all members, flattened, has one σ: members of other sizes would get another norm each."""
    weight = stacked(1.0, 10.0, 0.01)
    normalisation = SpectralNormalisation(weight, norm=2.5, generator=generator()).eval()
    np.testing.assert_allclose(exact(normalisation(weight)), 2.5, rtol=1e-12)
    ratio = normalisation(weight) / weight
    assert torch.allclose(ratio, ratio[:, :1, :1].expand_as(ratio)), "one factor a member"


def test_a_warm_start_follows_the_weights() -> None:
    """One step of power iteration an update is enough because the weights move little, and not without that memory."""
    weight = stacked(1.0, 3.0, 1.0, 5.0)
    normalisation = SpectralNormalisation(weight, norm=1.0, generator=generator()).train()
    cold = SpectralNormalisation(torch.zeros_like(weight), norm=1.0, generator=generator(1)).train()
    followed, forgotten = [], []
    for step in range(200):
        weight = weight + 0.01 * torch.randn(weight.shape, generator=generator(step), dtype=weight.dtype)
        followed.append(exact(normalisation(weight)))
        start = torch.randn(weight.shape[:2], generator=generator(step), dtype=weight.dtype)
        cold.left.copy_(torch.nn.functional.normalize(start, dim=1))
        forgotten.append(exact(cold(weight)))
    assert np.abs(np.array(followed)[20:] - 1).max() < 0.02
    assert np.mean(np.array(forgotten) - 1) > 0.1, "the premise: a cold start finds too small a σ"


def test_evaluation_is_exact_and_leaves_the_iteration_alone() -> None:
    """A hold-out between two epochs must not move what training does next."""
    weight = stacked(1.0, 2.0)
    normalisation = SpectralNormalisation(weight, norm=1.0, generator=generator()).eval()
    other = stacked(3.0, 1.0)[:, torch.randperm(12, generator=generator(3))]
    before = normalisation.left.clone(), normalisation.right.clone()
    np.testing.assert_allclose(exact(normalisation(other)), 1.0, rtol=1e-12)
    assert torch.equal(normalisation.left, before[0])
    assert torch.equal(normalisation.right, before[1])
    normalisation.train()(other)
    assert not torch.equal(normalisation.left, before[0])


def test_the_gradient_knows_that_the_norm_depends_on_the_weights() -> None:
    """With σ taken for a constant, the step would mostly change the length of the weights, which does nothing."""
    weight, direction = stacked(1.0, 4.0, fan_in=4, fan_out=3), stacked(1.0, 1.0, fan_in=4, fan_out=3).flip(1)
    normalisation = SpectralNormalisation(weight, norm=2.0, generator=generator()).train()
    for _ in range(500):  # to the fixed point, where the vectors are those of the SVD
        normalisation(weight)
    leaf = weight.clone().requires_grad_(True)
    (normalisation(leaf) * direction).sum().backward()  # type: ignore[no-untyped-call]
    numerical = torch.zeros_like(weight)
    for index in np.ndindex(*weight.shape):
        moved = [weight.clone(), weight.clone()]
        moved[0][index] += 1e-6
        moved[1][index] -= 1e-6
        sides = [float((normalisation.eval()(one) * direction).sum()) for one in moved]
        numerical[index] = (sides[0] - sides[1]) / 2e-6
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad, numerical, rtol=1e-5, atol=1e-7)
    along = (leaf.grad * weight).sum(dim=(1, 2))
    assert along.abs().max() < 1e-10, "no gradient along the weights themselves"


def test_silus_steepest_slope() -> None:
    x = torch.linspace(0, 6, 600_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(torch.nn.functional.silu(x).sum(), x)
    assert SILU_LIPSCHITZ - 1e-4 <= float(slope.max()) <= SILU_LIPSCHITZ
    assert float(x.detach()[slope.argmax()]) == pytest.approx(2.4, abs=0.01)


# ---------------------------------------------------------------- a whole ensemble


def fit(bound: float | None = None, transitions: Transitions | None = None, **changes: Any) -> GaussianEnsemble:
    config = {
        "num_members": 3,
        "num_elites": 2,
        "hidden_sizes": (16, 12),
        "weight_decay": (1e-5, 1e-5, 1e-5),
        "batch_size": 64,
        "max_epochs": 4,
        "lipschitz": bound,
    }
    transitions = transitions or SYSTEM.transitions(num_episodes=20, num_steps=30, seed=0)
    return fit_ensemble(transitions, FitConfig(**{**config, **changes}), progress=False)


def normalised_weights(ensemble: GaussianEnsemble) -> list[torch.Tensor]:
    """Return the layers of the mean, between inputs and targets of unit variance."""
    assert ensemble.target_std is not None
    return [*(layer.weight for layer in ensemble.hidden), ensemble.mean_head.weight / ensemble.target_std]


@pytest.mark.parametrize("bound", [0.5, 1.0, 30.0])
def test_the_product_of_the_layers_is_what_was_asked(bound: float, tmp_path: Path) -> None:
    """By SVD of the weights in the file, for every member; each layer has the same share of it."""
    save_ensemble(fit(bound), tmp_path)
    loaded = load_ensemble(tmp_path)
    assert set(loaded.state_dict()) == set(GaussianEnsemble(2, 1).state_dict()) - {
        f"hidden.{layer}.{name}" for layer in (2, 3) for name in ("weight", "bias")
    }, "what is saved is an ordinary ensemble"
    norms = np.stack(
        [exact(layer.weight) for layer in loaded.hidden] + [exact(loaded.mean_head.weight / loaded.target_std)]
    )
    np.testing.assert_allclose(norms.prod(axis=0), bound, rtol=1e-5)
    np.testing.assert_allclose(norms, bound ** (1 / 3), rtol=1e-5)
    np.testing.assert_allclose(spectral_norms(loaded).numpy(), norms, rtol=1e-5)
    assert loaded.metadata["config"]["lipschitz"] == bound


def test_without_a_bound_the_product_is_another() -> None:
    assert (spectral_norms(fit(None)).prod(dim=0) - 1).abs().min() > 0.1


def test_the_mean_changes_no_faster_than_the_bound_says() -> None:
    """Near the data and far from it, inputs and targets of unit variance; and the bound is of the right size."""
    bound = 3.0
    ensemble = fit(bound, max_epochs=12)
    assert ensemble.target_std is not None
    inputs = torch.randn(300, 3, generator=generator()) * torch.logspace(-1, 2, 300)[:, None]

    def means(row: torch.Tensor) -> torch.Tensor:
        mean, _ = ensemble(row.expand(3, 1, 3))
        return mean[:, 0] / ensemble.target_std

    slopes = torch.linalg.matrix_norm(vmap(jacrev(means))(inputs), ord=2)
    assert slopes.shape == (300, 3)
    assert float(slopes.max()) <= bound * SILU_LIPSCHITZ**2
    assert float(slopes.max()) > 0.1 * bound


def test_the_head_of_the_variance_is_left_alone() -> None:
    """The paper, Appendix C.2: all layers except the head that outputs the variance."""
    ensemble = GaussianEnsemble(2, 1, num_members=3, hidden_sizes=(5, 4))
    before = {name: tensor.clone() for name, tensor in ensemble.state_dict().items()}
    regularise(ensemble, 8.0, generator())
    bake(ensemble)
    changed = {name for name, tensor in ensemble.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"hidden.0.weight", "hidden.1.weight", "mean_head.weight"}
    np.testing.assert_allclose(spectral_norms(ensemble).detach().numpy(), 2.0, rtol=1e-5)


def test_the_recorded_errors_are_those_of_the_weights_that_are_kept() -> None:
    """Members are kept at their best epoch; an error of other weights than the baked ones would choose it wrongly."""
    transitions = SYSTEM.transitions(num_episodes=20, num_steps=30, seed=0)
    ensemble = fit(2.0, transitions, learning_rate=0.5, max_epochs=6, patience=6, min_improvement=0.0)
    order = torch.randperm(len(transitions), generator=_after_the_weights())[: len(transitions) // 5]
    observations, actions = torch.tensor(transitions.observations)[order], torch.tensor(transitions.actions)[order]
    outcome = np.column_stack([transitions.next_observations, transitions.rewards])[order]
    errors = (ensemble.predict(observations, actions).mean.numpy() - outcome) ** 2
    np.testing.assert_allclose(errors.mean(axis=(1, 2)), ensemble.metadata["holdout_mse"], rtol=1e-4)
    history = np.array(ensemble.metadata["holdout_score_history"])
    assert (history.argmin(axis=0) < len(history) - 1).any(), "some member must be restored for this to mean anything"


def _after_the_weights() -> torch.Generator:
    """Return the fit's generator, as it is when the hold-out is drawn."""
    stream = generator()
    GaussianEnsemble(2, 1, num_members=3, hidden_sizes=(16, 12), generator=stream)
    return stream


def test_a_bounded_fit_is_decided_by_its_seed() -> None:
    first, second, other = fit(2.0), fit(2.0), fit(2.0, seed=1)
    states = [ensemble.state_dict() for ensemble in (first, second, other)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert not torch.equal(states[0]["mean_head.weight"], states[2]["mean_head.weight"])


# ---------------------------------------------------------------- the scale of the targets


def magnified(factor: float) -> Transitions:
    """Return the same recording in other units."""
    found = SYSTEM.transitions(num_episodes=20, num_steps=30, seed=0)
    columns = ("observations", "rewards", "next_observations")
    return replace(found, **{name: factor * getattr(found, name) for name in columns})


@pytest.mark.parametrize("bound", [None, 2.0])
def test_scaled_targets_make_units_irrelevant_and_answers_stay_raw(bound: float | None) -> None:
    """Kilometres or metres: the same network is learned, and what it says is in the units that it was given."""
    plain, large = (fit(bound, magnified(factor), scale_targets=True) for factor in (1.0, 1024.0))
    observations, actions = torch.randn(20, 2, generator=generator()), torch.rand(20, 1, generator=generator())
    said, said_large = plain.predict(observations, actions), large.predict(1024.0 * observations, actions)
    torch.testing.assert_close(said_large.mean / 1024.0, said.mean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(said_large.std / 1024.0, said.std, rtol=1e-3, atol=1e-5)


def test_unscaled_targets_do_not() -> None:
    """Otherwise the test above could not fail."""
    plain, large = (fit(None, magnified(factor), scale_targets=False) for factor in (1.0, 1024.0))
    observations, actions = torch.zeros(1, 2), torch.zeros(1, 1)
    ratio = large.predict(observations, actions).std / plain.predict(observations, actions).std / 1024.0
    assert (ratio - 1).abs().max() > 0.3


def test_the_scale_of_the_targets_is_that_of_the_training_rows() -> None:
    """Penalties in normalised units divide by it, whether the networks learned scaled targets or not."""
    transitions = SYSTEM.transitions(num_episodes=20, num_steps=30, seed=0)
    train = torch.randperm(len(transitions), generator=_after_the_weights())[len(transitions) // 5 :]
    change = transitions.next_observations - transitions.observations
    targets = np.column_stack([change, transitions.rewards]).astype(np.float64)[train]
    for options in ({}, {"scale_targets": True}, {"lipschitz": 1.0}):
        ensemble = fit(**options)  # type: ignore[arg-type]
        np.testing.assert_allclose(ensemble.target_std, targets.std(axis=0), rtol=1e-5)


def test_the_noise_is_recovered_through_the_scale() -> None:
    """The variance's head learns in other units, and its bounds move along; its answer must be the true std."""
    transitions = SYSTEM.transitions(num_episodes=2000, num_steps=2, seed=0)
    ensemble = fit(
        None,
        transitions,
        scale_targets=True,
        max_epochs=60,
        patience=60,
        min_improvement=0.0,
        learning_rate=5e-3,
        weight_decay=(0.0, 0.0, 0.0),
        batch_size=256,
    )
    unseen = SYSTEM.transitions(num_episodes=500, num_steps=2, seed=9)
    std = ensemble.predict(torch.tensor(unseen.observations), torch.tensor(unseen.actions)).std.mean(dim=1)
    ratio = std.numpy() / SYSTEM.output_std
    assert np.all(np.abs(ratio - 1) < 0.2), ratio
