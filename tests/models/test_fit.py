"""Fitting recovers a known system, is reproducible to the bit, and keeps what its metadata say it kept."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mopo_env.models.fit
from mopo_env.models.card.card import rank_correlation
from mopo_env.models.ensemble import GaussianEnsemble, load_ensemble, save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.models.losses import gaussian_loss
from mopo_env.penalties import ensemble_disagreement, learned_variance
from mopo_env.toys import LinearGaussianSystem
from mopo_env.transitions import Transitions

SYSTEM = LinearGaussianSystem()
NO_DECAY = (0.0, 0.0, 0.0)


def config(**options: Any) -> FitConfig:
    return FitConfig(
        **{
            "num_members": 3,
            "num_elites": 2,
            "hidden_sizes": (16, 16),
            "weight_decay": NO_DECAY,
            "learning_rate": 5e-3,
            "batch_size": 256,
            "schedule": "constant",
            "max_epochs": 4,
            **options,
        }
    )


def few_rows(num_rows: int = 200) -> Transitions:
    """Return rows from the unit square: short episodes do not drift away."""
    return SYSTEM.transitions(num_episodes=num_rows // 2, num_steps=2)


def fit(transitions: Transitions | None = None, **options: Any) -> GaussianEnsemble:
    return fit_ensemble(transitions or few_rows(), config(**options), progress=False)


def weights(ensemble: GaussianEnsemble) -> dict[str, torch.Tensor]:
    return dict(ensemble.state_dict())


def same_weights(first: GaussianEnsemble, second: GaussianEnsemble) -> bool:
    one, two = weights(first), weights(second)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


# ---------------------------------------------------------------- the loss


def test_loss_by_hand() -> None:
    """Errors 2 and 0, variances 4 and 1: (4/4 + ln 4 + 0 + 0) / 2 for one member, (1 + 0 + 9 + 0) / 2 for the other.

    The mean over rows and outputs and the sum over members fix how strongly everything else in the loss weighs.
    """
    mean = torch.tensor([[[1.0, 5.0]], [[0.0, 2.0]]])
    targets = torch.tensor([[[3.0, 5.0]], [[1.0, 5.0]]])
    logvar = torch.tensor([[[math.log(4.0), 0.0]], [[0.0, 0.0]]])
    expected = (1.0 + math.log(4.0)) / 2 + (1.0 + 9.0) / 2
    assert float(gaussian_loss(mean, logvar, targets)) == pytest.approx(expected, rel=1e-6)


def test_beta_weighs_the_mean_and_leaves_the_variance_alone() -> None:
    """β = ½ multiplies the mean's gradient by σ; were the variance's multiplied too, it would come out too large."""
    mean, logvar = torch.tensor([[[1.0]]]), torch.tensor([[[math.log(4.0)]]])
    gradients = {}
    for beta in (0.0, 0.5):
        inputs = [mean.clone().requires_grad_(), logvar.clone().requires_grad_()]
        gaussian_loss(*inputs, torch.tensor([[[4.0]]]), beta).backward()
        gradients[beta] = [float(tensor.grad) for tensor in inputs if tensor.grad is not None]
    # d/dμ (y − μ)²/σ² = −2·3/4, and d/d ln σ² = 1 − 9/4.
    assert gradients[0.0] == pytest.approx([-1.5, -1.25])
    assert gradients[0.5] == pytest.approx([-1.5 * 2.0, -1.25])


def test_loss_is_smallest_at_the_true_variance() -> None:
    """Half the weight on the logarithm, or a variance in place of its inverse, would move the minimum."""
    targets = 0.3 * torch.randn(1, 100_000, 1, generator=torch.Generator().manual_seed(0))
    logvars = torch.linspace(-4, 1, 501)
    losses = [float(gaussian_loss(torch.zeros_like(targets), torch.full_like(targets, v), targets)) for v in logvars]
    best = float(logvars[int(np.argmin(losses))])
    # The sample variance of n numbers has relative standard error √(2/n) = 0.0045; the grid's step is 0.01.
    assert best == pytest.approx(math.log(0.09), abs=5 * 0.0045 + 0.01)


# ---------------------------------------------------------------- what is learned


@pytest.fixture(scope="module")
def recovered() -> GaussianEnsemble:
    return fit(few_rows(4000), max_epochs=60, patience=60, min_improvement=0.0)


def test_recovers_the_noise_of_a_known_system(recovered: GaussianEnsemble) -> None:
    """The predicted std of every output, reward included, is the true one; an uncalibrated one scales the penalty.

    A std estimated from 3,200 rows has a standard error of 1.3 %; the rest of the 15 % is for the small network.
    """
    unseen = SYSTEM.transitions(num_episodes=500, num_steps=2, seed=9)
    std = recovered.predict(torch.tensor(unseen.observations), torch.tensor(unseen.actions)).std.mean(dim=1)
    ratio = std.numpy() / SYSTEM.output_std
    assert np.all(np.abs(ratio - 1) < 0.15), ratio


def test_recovers_the_mean_of_a_known_system(recovered: GaussianEnsemble) -> None:
    """On unseen rows the mean is closer to A·x + B·u than half the noise that hid it."""
    unseen = SYSTEM.transitions(num_episodes=500, num_steps=2, seed=9)
    observations, actions = torch.tensor(unseen.observations), torch.tensor(unseen.actions)
    truth = SYSTEM.model().predict(observations, actions).mean[0]
    errors = (recovered.predict(observations, actions).mean - truth).square().mean(dim=1).sqrt()
    assert np.all(errors.numpy() < 0.5 * SYSTEM.output_std), errors.numpy() / SYSTEM.output_std


def test_members_disagree_more_the_farther_from_the_data(recovered: GaussianEnsemble) -> None:
    """Bootstraps and initial weights are all that differs between members, and must be enough.

    400 unrelated points have a rank correlation of 0 ± 0.05.
    """
    generator = torch.Generator().manual_seed(5)
    directions = torch.nn.functional.normalize(torch.randn(400, 2, generator=generator))
    radius = 6 * torch.rand(400, generator=generator)
    actions = 2 * torch.rand(400, 1, generator=generator) - 1
    penalty = ensemble_disagreement(recovered.predict(directions * radius[:, None], actions))
    assert rank_correlation(radius.numpy(), penalty.numpy()) > 0.8
    assert penalty[radius > 3].mean() > 5 * penalty[radius < 1].mean()


def test_learned_variance_follows_noise_that_grows() -> None:
    """Where the data are noisier the penalty is larger, and beyond their edge, in that direction, larger still.

    What happens in directions without such a trend is not promised: a variance is learned where there are data.
    """
    generator = np.random.default_rng(0)
    x = generator.uniform(-1, 1, (4000, 1))
    # The mean must take long to learn: members are kept at their best mean, whatever their variance is by then.
    step = np.sin(4 * x) + np.exp(1.5 * x) * 0.05 * generator.normal(size=x.shape)
    noisy = Transitions(
        observations=x,
        actions=np.zeros_like(x),
        rewards=np.zeros(len(x)),
        next_observations=x + step,
        terminations=np.zeros(len(x)),
        truncations=np.ones(len(x)),
    )
    ensemble = fit(noisy, max_epochs=60, patience=60, min_improvement=0.0)
    inside = torch.linspace(-1, 1, 101)[:, None]
    std = ensemble.predict(inside, torch.zeros_like(inside)).std[..., 0].mean(dim=0)
    assert rank_correlation(inside[:, 0].numpy(), std.numpy()) > 0.9
    assert std[-1] > 3 * std[0], "the true ratio is 20"
    beyond = torch.tensor([[0.0], [1.0], [1.5], [2.0]])
    penalty = learned_variance(ensemble.predict(beyond, torch.zeros_like(beyond)))
    assert (penalty.diff() > 0).all()


# ---------------------------------------------------------------- randomness


def test_the_seed_decides_every_bit() -> None:
    transitions = few_rows()
    assert same_weights(fit(transitions, seed=3), fit(transitions, seed=3))


def test_another_seed_gives_other_weights() -> None:
    transitions = few_rows()
    assert not same_weights(fit(transitions, seed=3), fit(transitions, seed=4))


def test_the_global_generators_are_neither_read_nor_moved() -> None:
    """A fit between two experiments must not change either of them."""
    transitions = few_rows()
    random.seed(1)
    torch.manual_seed(1)
    before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    first = fit(transitions)
    # Python's own generator is moved by beartype, which checks a random item of a list; only in tests.
    np.testing.assert_array_equal(np.random.get_state()[1], before[0][1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    random.seed(2)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    assert same_weights(first, fit(transitions))


# ---------------------------------------------------------------- what is trained on what


class _Spy(mopo_env.models.fit.FitData):
    """Remembers what the fit is given, and every batch."""

    def __init__(self, ensemble: Any, inputs: Any, targets: Any, train: Any, holdout: Any, *options: Any) -> None:
        super().__init__(ensemble, inputs, targets, train, holdout, *options)
        self.inputs, self.train, self.holdout = inputs, train, holdout
        self.batches: list[torch.Tensor] = []
        _Spy.last = self

    last: _Spy

    def loss(self, ensemble: Any, rows: Any, config: Any, beta: float) -> torch.Tensor:
        self.batches.append(rows.clone())
        return super().loss(ensemble, rows, config, beta)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> type[_Spy]:
    monkeypatch.setattr(mopo_env.models.fit, "FitData", _Spy)
    return _Spy


def test_no_row_is_both_trained_on_and_held_out(spy: type[_Spy]) -> None:
    """Otherwise the hold-out errors that choose epochs and elites would praise memory."""
    fit(few_rows(200), holdout_size=30)
    train, holdout = spy.last.train.tolist(), spy.last.holdout.tolist()
    assert len(holdout) == 30
    assert sorted(train + holdout) == list(range(200))
    assert holdout != sorted(holdout), "the hold-out must be drawn, not cut from one end of the recording"


def test_at_most_a_fifth_is_held_out(spy: type[_Spy]) -> None:
    fit(few_rows(200), holdout_size=1000)
    assert len(spy.last.holdout) == 40


def test_inputs_are_scaled_by_the_training_rows(spy: type[_Spy]) -> None:
    ensemble = fit(few_rows(200), holdout_size=40)
    train = spy.last.inputs[spy.last.train].double()
    np.testing.assert_allclose(ensemble.input_mean, train.mean(dim=0), atol=1e-6)
    np.testing.assert_allclose(ensemble.input_std, train.std(dim=0, correction=0), rtol=1e-5)


def test_each_member_has_its_own_bootstrap_and_sees_all_of_it_every_epoch(spy: type[_Spy]) -> None:
    """Equal bootstraps would leave only the initial weights to disagree, new ones each epoch nothing at all."""
    fit(few_rows(400), batch_size=64, max_epochs=2, holdout_size=80)
    assert len(spy.last.train) == 320
    assert [batch.shape[1] for batch in spy.last.batches] == [64] * 10
    epochs = torch.cat(spy.last.batches[:5], dim=1), torch.cat(spy.last.batches[5:], dim=1)
    assert not torch.equal(*epochs), "the order must change from epoch to epoch"
    bootstraps = [epoch.sort(dim=1).values for epoch in epochs]
    assert torch.equal(*bootstraps), "the rows must not"
    assert not torch.equal(bootstraps[0][0], bootstraps[0][1])
    assert not torch.equal(bootstraps[0][1], bootstraps[0][2])
    for member in bootstraps[0]:
        # n draws from n rows leave 1/e of them out: 0.632 ± 0.017 of 320 are there at least once.
        assert len(member.unique()) / 320 == pytest.approx(1 - math.exp(-1), abs=5 * 0.017)


# ---------------------------------------------------------------- epochs, snapshots, elites


def test_every_member_is_restored_to_its_best_epoch(spy: type[_Spy]) -> None:
    """A learning rate far too large makes most last epochs worse than an earlier one."""
    options = {"learning_rate": 0.1, "max_epochs": 8, "patience": 8, "min_improvement": 0.0, "num_members": 5}
    ensemble = fit(few_rows(400), scale_targets=False, **options)
    history = np.array(ensemble.metadata["holdout_score_history"])
    kept = np.array(ensemble.metadata["holdout_score"])
    assert history.shape == (8, 5)
    np.testing.assert_array_equal(kept, history.min(axis=0))
    best_epochs = history.argmin(axis=0)
    assert len(set(best_epochs)) > 1, "members must peak at different epochs for this to mean anything"
    assert (best_epochs < 7).any()
    # The bounds of the log-variance are kept as they end, so that errors, not likelihoods, tell the weights.
    errors, _ = spy.last.holdout_errors(ensemble)
    np.testing.assert_allclose(errors.mean(dim=1), ensemble.metadata["holdout_mse"], rtol=1e-4)


def test_the_untrained_network_is_never_the_best() -> None:
    """On a noisy target it once was: its guess of zero beat every epoch, and an untrained model was handed out."""
    noise = 30.0 * np.random.default_rng(0).normal(size=1000)
    ensemble = fit(odd(1000, rewards=noise), max_epochs=3)
    start = GaussianEnsemble(
        2, 1, num_members=3, hidden_sizes=(16, 16), generator=torch.Generator().manual_seed(config().seed)
    )
    for member in range(3):
        assert not torch.equal(ensemble.hidden[0].weight[member], start.hidden[0].weight[member])


def test_the_elites_have_the_smallest_holdout_scores() -> None:
    ensemble = fit(num_members=6, num_elites=4)
    errors = np.array(ensemble.metadata["holdout_score"])
    assert len(set(errors)) == 6
    assert set(ensemble.elites.tolist()) == set(np.argsort(errors)[:4].tolist())


@pytest.mark.parametrize("patience", [1, 3])
def test_the_fit_stops_when_no_member_improves(patience: int) -> None:
    """With a minimal improvement of 100 % only the first epoch counts, and more than `patience` further ones end it.

    "More than" is the rule of the paper's code.
    """
    ensemble = fit(min_improvement=1.0, patience=patience, max_epochs=50)
    assert ensemble.metadata["epochs"] == patience + 2
    assert np.isfinite(ensemble.metadata["holdout_mse"]).all()


def test_the_fit_goes_on_while_any_member_improves() -> None:
    ensemble = fit(min_improvement=0.0, patience=1, max_epochs=12, learning_rate=1e-3)
    history = np.array(ensemble.metadata["holdout_score_history"])
    assert len(history) == 12
    assert (np.diff(history, axis=0) < 0).any(axis=1).all(), "the premise: some member improves at every epoch"


def test_a_schedule_is_followed_to_its_end() -> None:
    """While the rate is high no member may improve for long; the best epochs are the last ones, when it has fallen."""
    ensemble = fit(min_improvement=1.0, patience=1, max_epochs=12, schedule="cosine")
    assert ensemble.metadata["epochs"] == 12


def test_a_falling_rate_ends_nearer_the_optimum() -> None:
    """Same updates, same peak: what is gained is that the last steps are small."""
    transitions = few_rows(1000)
    options = {"max_epochs": 30, "batch_size": 32, "patience": 30, "learning_rate": 2e-2}
    errors = {
        name: np.mean(
            fit(transitions, schedule=name, scale_targets=False, **options).metadata["holdout_score_history"][-1]
        )
        for name in ("constant", "cosine")
    }
    assert errors["cosine"] < errors["constant"] + math.log(0.9)


def test_the_pull_on_the_bounds_narrows_them() -> None:
    """With its sign wrong the bounds would run apart, and the log-variance would be bounded by nothing."""
    transitions = few_rows()
    free, pulled = (
        fit(transitions, logvar_bound_coef=coef, batch_size=32, max_epochs=20, patience=20) for coef in (0.0, 10.0)
    )
    assert (pulled.max_logvar < free.max_logvar).all()
    assert (pulled.min_logvar > free.min_logvar).all()


# ---------------------------------------------------------------- odd datasets


def odd(rows: int, **arrays: Any) -> Transitions:
    generator = np.random.default_rng(0)
    return Transitions(
        **{
            "observations": generator.normal(size=(rows, 2)),
            "actions": generator.uniform(-1, 1, (rows, 1)),
            "rewards": generator.normal(size=rows),
            "next_observations": generator.normal(size=(rows, 2)),
            "terminations": np.zeros(rows),
            "truncations": np.zeros(rows),
            **arrays,
        }
    )


@pytest.mark.parametrize("rows", [2, 3, 5, 37])
def test_small_datasets_fit(rows: int) -> None:
    """One row to train on has no spread, and every batch is smaller than `batch_size`."""
    ensemble = fit(odd(rows), batch_size=256)
    said = ensemble.predict(torch.zeros(4, 2), torch.zeros(4, 1))
    assert said.mean.isfinite().all()
    assert said.std.isfinite().all()


def test_constant_columns_are_left_unscaled() -> None:
    """Dividing by their spread, zero or what rounding leaves of it, gives NaN or sends a new value to infinity."""
    rows = 1000
    observations = np.column_stack([np.full(rows, 1000.1), np.random.default_rng(0).normal(size=rows)])
    ensemble = fit(
        odd(rows, observations=observations, next_observations=observations, actions=np.full((rows, 1), 0.1))
    )
    assert ensemble.input_std[[0, 2]].tolist() == [1.0, 1.0]
    assert ensemble.input_std[1] != 1.0
    said = ensemble.predict(torch.tensor([[1000.2, 0.0]]), torch.tensor([[0.2]]))
    assert said.mean.isfinite().all()
    assert (said.mean[..., 0] - 1000.2).abs().max() < 10


# ---------------------------------------------------------------- what comes back


def test_metadata_say_what_was_done_and_survive_a_file(tmp_path: Path) -> None:
    transitions = few_rows()
    ensemble = fit(transitions)
    metadata = ensemble.metadata
    assert metadata["dataset_fingerprint"] == transitions.fingerprint
    assert metadata["dataset_name"] == "linear-gaussian"
    assert metadata["config"]["hidden_sizes"] == (16, 16)
    assert metadata["epochs"] == len(metadata["holdout_score_history"])
    save_ensemble(ensemble, tmp_path)
    loaded = load_ensemble(tmp_path)
    assert same_weights(loaded, ensemble)
    again = FitConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in loaded.metadata["config"].items()})
    assert again == config()


def test_a_fitted_ensemble_is_frozen() -> None:
    """Nothing downstream trains it, and a gradient through a rollout would only cost memory."""
    assert not any(parameter.requires_grad for parameter in fit().parameters())


def test_progress_can_be_silenced(capfd: pytest.CaptureFixture[str]) -> None:
    """A library that prints cannot be used in a loop or a service."""
    fit()
    assert capfd.readouterr() == ("", "")
    fit_ensemble(few_rows(), config(), progress=True)
    out, error = capfd.readouterr()
    assert out == ""
    assert "fit ensemble" in error
