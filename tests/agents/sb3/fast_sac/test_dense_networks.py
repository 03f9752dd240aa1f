"""Gradients that are written out against autograd's, in float64, where the two agree to many digits."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from mopo_agents.sb3.fast_sac.dense_networks import DenseNetworks, dense_layers, gather, scatter

INPUTS, ROWS = 5, 7


def network(widths: Sequence[int], outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = INPUTS
    for width in widths:
        layers += [nn.Linear(before, width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.Linear(before, outputs)).double()


def side_by_side(networks: Sequence[nn.Sequential]) -> list[list[nn.Linear]]:
    found = [dense_layers(each) for each in networks]
    return [list(layer) for layer in zip(*found, strict=True)]  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("widths", [[], [3], [8, 8], [4, 9, 2]])
def test_outputs_and_gradients_are_autograds(widths: list[int], count: int) -> None:
    """Layers that widen and layers that narrow are multiplied in different orders; both must be right."""
    torch.manual_seed(count)
    networks = [network(widths, outputs=2) for _ in range(count)]
    inputs = torch.randn(ROWS, INPUTS, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(count, ROWS, 2, dtype=torch.float64)
    outputs = torch.stack([each(inputs) for each in networks])
    (outputs * weights).sum().backward()

    with torch.no_grad():
        copies = DenseNetworks(side_by_side(networks), num_networks=count)
        trace = copies.forward(inputs.detach())
        torch.testing.assert_close(trace[-1], outputs)
        by_input = copies.input_gradient(trace, weights.clone(), slice(1, 4))
        copies.backward(trace, weights.clone())
    assert inputs.grad is not None
    torch.testing.assert_close(by_input, inputs.grad[:, 1:4])
    torch.testing.assert_close(copies.gradients, gather(parameter.grad for parameter in copies.parameters))  # type: ignore[misc]


def test_rows_without_a_gradient_count_nothing() -> None:
    """SAC evaluates its actor on two batches in one go, and learns from the first."""
    net = network([6], outputs=1)
    rows = torch.randn(2 * ROWS, INPUTS, dtype=torch.float64)
    with torch.no_grad():
        both, first = (DenseNetworks(side_by_side([net])) for _ in range(2))
        both.backward(both.forward(rows), torch.ones(1, ROWS, 1, dtype=torch.float64))
        first.backward(first.forward(rows[:ROWS]), torch.ones(1, ROWS, 1, dtype=torch.float64))
    torch.testing.assert_close(both.gradients, first.gradients)


def test_heads_of_one_network_lie_side_by_side() -> None:
    """An actor's mean and log-deviation: two modules, one product."""
    body, heads = nn.Linear(INPUTS, 4), [nn.Linear(4, 2), nn.Linear(4, 3)]
    rows = torch.randn(ROWS, INPUTS)
    with torch.no_grad():
        (found,) = DenseNetworks([[body], heads]).forward(rows)[-1]
        expected = torch.cat([head(body(rows).relu()) for head in heads], dim=1)
    torch.testing.assert_close(found, expected)


def test_the_modules_learn_only_when_they_are_given_what_was_learned() -> None:
    """An update that fails half-way must leave the agent as it was."""
    net = network([3], outputs=1)
    before = gather(net.parameters())
    copies = DenseNetworks(side_by_side([net]))
    copies.values.add_(1.0)
    assert torch.equal(gather(net.parameters()), before)
    scatter(copies.values, copies.parameters)
    assert torch.equal(gather(net.parameters()), before + 1.0)


@pytest.mark.parametrize(
    "parts",
    [
        [nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)],
        [nn.Linear(2, 3), nn.ReLU()],
        [nn.Linear(2, 3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 1)],
        [nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1)],
        [nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1)],
        [nn.ReLU(), nn.Linear(3, 1)],
        [],
    ],
    ids=["tanh", "rectified outputs", "dropout", "norm", "no bias", "rectified inputs", "empty"],
)
def test_other_networks_are_told_apart(parts: list[nn.Module]) -> None:
    """They would be evaluated as if they were dense."""
    assert dense_layers(parts) is None


def test_a_subclass_of_a_linear_layer_may_compute_something_else() -> None:
    special = type("Special", (nn.Linear,), {})
    assert dense_layers([special(2, 1)]) is None
    assert dense_layers([nn.Linear(2, 1)]) is not None
