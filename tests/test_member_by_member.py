"""The fast way through an ensemble against the plain one."""

from __future__ import annotations

import pytest
import torch

from mopo_env.ensemble import GaussianEnsemble
from mopo_env.member_by_member import MANY_ROWS, evaluate_by_member


def ensemble() -> GaussianEnsemble:
    return GaussianEnsemble(5, 2, num_members=3, hidden_sizes=(16, 24)).requires_grad_(False)


@pytest.mark.parametrize("rows", [0, 1, MANY_ROWS - 1, MANY_ROWS, 511, 512, 513, 1_500])
def test_the_prediction_is_that_of_forward(rows: int) -> None:
    """Every chunk's size and the last, shorter chunk: a buffer's stale rows would show here."""
    model = ensemble()
    generator = torch.Generator().manual_seed(rows)
    states, actions = torch.randn(rows, 5, generator=generator), torch.randn(rows, 2, generator=generator)
    prediction = model.predict(states, actions)
    inputs = model.normalise(torch.cat([states, actions], dim=1))
    mean, logvar = model(inputs.expand(3, rows, 7))
    mean[..., :-1] += states
    torch.testing.assert_close(prediction.mean, mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(prediction.std, torch.exp(0.5 * logvar), rtol=1e-5, atol=1e-6)


def test_a_prediction_is_not_written_over_by_the_next() -> None:
    """The buffers are reused; what a caller holds must not be one of them."""
    model = ensemble()
    first = model.predict(torch.zeros(500, 5), torch.zeros(500, 2))
    mean, std = first.mean.clone(), first.std.clone()
    model.predict(torch.ones(500, 5), torch.ones(500, 2))
    assert torch.equal(first.mean, mean)
    assert torch.equal(first.std, std)


def test_rows_come_once_and_in_order() -> None:
    model = ensemble()
    seen = [rows for rows, _ in evaluate_by_member(list(model.hidden), [model.mean_head], torch.zeros(1_100, 7))]  # type: ignore[arg-type]
    assert [(rows.start, rows.stop) for rows in seen] == [(0, 512), (512, 1_024), (1_024, 1_100)]
