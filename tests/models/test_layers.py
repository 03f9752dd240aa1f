"""Many networks at once against one at a time, and the fast way through an ensemble against the plain one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.models import generator, small_ensemble

from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.models.layers import MANY_ROWS, EnsembleLinear, evaluate_at_once, evaluate_by_member, evaluate_each


def ensemble() -> GaussianEnsemble:
    return small_ensemble(5, 2, hidden_sizes=(16, 24))


def draws(rows: int, *widths: int) -> list[torch.Tensor]:
    stream = generator(rows)
    return [torch.randn(rows, width, generator=stream) for width in widths]


def test_each_member_is_a_linear_layer_of_its_own() -> None:
    """A batched product is an optimisation: the numbers are those of three plain layers."""
    layer = EnsembleLinear(3, 4, 2, generator()).requires_grad_(False)
    layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator(1)))
    inputs = torch.randn(3, 5, 4, generator=generator(2))
    expected = [inputs[k] @ layer.weight[k] + layer.bias[k] for k in range(3)]
    torch.testing.assert_close(layer(inputs), torch.stack(expected))


def layers_of(model: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(layer.weight, layer.bias) for layer in (*model.hidden, model.mean_head)]


@pytest.mark.parametrize("rows", [0, 1, MANY_ROWS - 1, MANY_ROWS, 511, 512, 513, 1_500])
def test_the_prediction_is_that_of_forward(rows: int) -> None:
    """Every chunk's size and the last, shorter chunk: a buffer's stale rows would show here."""
    model = ensemble()
    states, actions = draws(rows, 5, 2)
    prediction = model.predict(states, actions)
    inputs = model.normalise(torch.cat([states, actions], dim=1))
    mean, logvar = model(inputs.expand(3, rows, 7))
    mean[..., :-1] += states
    torch.testing.assert_close(prediction.mean, mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(prediction.std, torch.exp(0.5 * logvar), rtol=1e-5, atol=1e-6)


def test_a_prediction_is_not_written_over_by_the_next() -> None:
    """Whatever is reused between two calls, what a caller holds must not be part of it."""
    model = ensemble()
    first = model.predict(torch.zeros(500, 5), torch.zeros(500, 2))
    mean, std = first.mean.clone(), first.std.clone()
    model.predict(torch.ones(500, 5), torch.ones(500, 2))
    assert torch.equal(first.mean, mean)
    assert torch.equal(first.std, std)


def test_rows_come_once_and_in_order() -> None:
    model = ensemble()
    seen = [rows for rows, _ in evaluate_by_member(layers_of(model), torch.zeros(1_100, 7))]
    assert [(rows.start, rows.stop) for rows in seen] == [(0, 512), (512, 1_024), (1_024, 1_100)]


# ---------------------------------------------------------------- bfloat16


@pytest.mark.parametrize("rows", [3, 2_500])
def test_bfloat16_differs_by_its_rounding_and_no_more(rows: int) -> None:
    """Eight bits of mantissa: relative errors of 2⁻⁹ a number, some of which add up over two layers."""
    model = ensemble()
    states, actions = draws(rows, 5, 2)
    exact, rounded = model.predict(states, actions), model.at_precision("bfloat16").predict(states, actions)
    for name in ("mean", "std"):
        one, other = getattr(exact, name), getattr(rounded, name)
        assert other.dtype == torch.float32
        assert not torch.equal(one, other), "something must have been rounded"
        assert (one - other).abs().max() < 0.01 * one.abs().max()


def test_inputs_and_answers_are_not_rounded() -> None:
    """With nothing between the first layer and the heads, no number is left to be rounded."""
    model = small_ensemble(5, 2)
    states, actions = draws(1_000, 5, 2)
    exact, rounded = model.predict(states, actions), model.at_precision("bfloat16").predict(states, actions)
    assert torch.equal(exact.mean, rounded.mean)
    assert torch.equal(exact.std, rounded.std)


@pytest.mark.parametrize("inner", [torch.float32, torch.bfloat16])
def test_both_ways_agree_at_either_precision(inner: torch.dtype) -> None:
    """Few rows and many must not see two models; bfloat16 sums in another order may round another way."""
    model = ensemble()
    inputs = torch.randn(1_100, 7, generator=generator())
    at_once = evaluate_at_once(layers_of(model), inputs.expand(3, *inputs.shape), inner)
    tolerance = 1e-6 if inner == torch.float32 else 2e-3
    for rows, part in evaluate_by_member(layers_of(model), inputs, inner):
        torch.testing.assert_close(at_once[:, rows], part, rtol=1e-5, atol=tolerance)


def test_one_member_after_another_is_all_at_once_gradients_included() -> None:
    """Fits on a CPU go one way, fits on a GPU the other."""
    inputs = torch.randn(3, 40, 7, generator=generator())
    found = []
    for evaluate in (evaluate_each, evaluate_at_once):
        layers = [(w.clone().requires_grad_(), b.clone().requires_grad_()) for w, b in layers_of(ensemble())]
        outputs = evaluate(layers, inputs)
        outputs.sin().sum().backward()  # type: ignore[no-untyped-call]
        found.append([outputs, *(tensor.grad for layer in layers for tensor in layer)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_another_precision_shares_the_weights_and_leaves_the_ensemble_as_it_is() -> None:
    """Ensembles are loaded once and shared by all environments of a process."""
    model = ensemble()
    other = model.at_precision("bfloat16")
    assert (model.precision, other.precision) == ("float32", "bfloat16")
    assert model.at_precision("float32") is model
    assert other.mean_head.weight is model.mean_head.weight
    assert other.state_dict().keys() == model.state_dict().keys()
