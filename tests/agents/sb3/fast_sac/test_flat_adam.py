"""Adam on one vector against PyTorch's own on the tensors it is made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mopo_agents.sb3.fast_sac.dense_networks import gather
from mopo_agents.sb3.fast_sac.flat_adam import FlatAdam, adam_options


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 4), (4,), (1,))]


def gradient(step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    return [torch.randn(shape, generator=generator) for shape in ((3, 4), (4,), (1,))]


def plain_steps(optimizer: torch.optim.Optimizer, tensors: list[nn.Parameter], steps: range) -> None:
    for step in steps:
        for tensor, by_tensor in zip(tensors, gradient(step), strict=True):
            tensor.grad = by_tensor
        optimizer.step()


def flat_steps(optimizer: torch.optim.Optimizer, tensors: list[nn.Parameter], steps: range) -> None:
    values = gather(tensors)
    gradients = torch.empty_like(values)
    adam = FlatAdam([(optimizer, tensors, values, gradients)])
    with torch.no_grad():
        for step in steps:
            gradients.copy_(gather(gradient(step)))
            adam.step()
    adam.write_back()


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}])
def test_it_takes_over_and_hands_back_at_any_step(options: dict[str, Any]) -> None:
    """Three steps of PyTorch's, four of ours, two of PyTorch's: as nine of PyTorch's, state included."""
    plain, mixed = parameters(), parameters()
    one, other = (torch.optim.Adam(tensors, **{"lr": 0.01, **options}) for tensors in (plain, mixed))
    plain_steps(one, plain, range(9))
    plain_steps(other, mixed, range(3))
    flat_steps(other, mixed, range(3, 7))
    plain_steps(other, mixed, range(7, 9))
    for found, expected in zip(mixed, plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        for name, value in one.state[expected].items():
            torch.testing.assert_close(other.state[found][name], value, rtol=1e-5, atol=1e-6)


def test_it_begins_where_no_step_was_made() -> None:
    plain, flat = parameters(), parameters()
    one, other = torch.optim.Adam(plain, lr=0.01), torch.optim.Adam(flat, lr=0.01)
    plain_steps(one, plain, range(2))
    flat_steps(other, flat, range(2))
    torch.testing.assert_close(gather(flat), gather(plain), rtol=1e-5, atol=1e-6)


def test_several_optimizers_step_as_one_and_keep_their_own_counts() -> None:
    (first, second), (third, fourth) = parameters()[:2], parameters()[:2]
    expected = [torch.optim.Adam([tensor], lr=0.01) for tensor in (first, second)]
    found = [torch.optim.Adam([tensor], lr=0.01) for tensor in (third, fourth)]
    for optimizer, tensor in ((expected[0], first), (found[0], third)):  # one is a step ahead
        tensor.grad = torch.ones_like(tensor)
        optimizer.step()
    for optimizer, tensor in zip(expected, (first, second), strict=True):
        tensor.grad = torch.full_like(tensor, -0.5)
        optimizer.step()
    parts = [
        (optimizer, [tensor], gather([tensor]), torch.full((tensor.numel(),), -0.5))
        for optimizer, tensor in zip(found, (third, fourth), strict=True)
    ]
    adam = FlatAdam(parts)
    with torch.no_grad():
        adam.step()
    adam.write_back()
    torch.testing.assert_close(gather([third, fourth]), gather([first, second]), rtol=1e-5, atol=1e-6)
    assert [float(o.state[t]["step"]) for o, t in zip(found, (third, fourth), strict=True)] == [2.0, 1.0]


def test_only_plain_adam_on_just_these_parameters_is_taken_over() -> None:
    """A variant would be stepped as if it were plain, and parameters left out would stand still."""
    ours = parameters()
    assert adam_options(torch.optim.Adam(ours, lr=0.5), ours) is not None
    assert adam_options(torch.optim.Adam(ours), ours[:-1]) is None
    assert adam_options(torch.optim.Adam(ours[:-1]), ours) is None
    assert adam_options(torch.optim.Adam([{"params": ours[:1]}, {"params": ours[1:]}]), ours) is None
    for variant in ({"weight_decay": 0.1}, {"amsgrad": True}, {"maximize": True}, {"differentiable": True}):
        assert adam_options(torch.optim.Adam(ours, **variant), ours) is None
    for kind in (torch.optim.AdamW, torch.optim.SGD, torch.optim.Adamax):
        assert adam_options(kind(ours, lr=0.1), ours) is None
