"""The weight of a constraint moves the right way, stays positive and stays within its bounds."""

from __future__ import annotations

import math

import pytest
import torch

from mopo_agents.baselines.multiplier import LinearMultiplier, Multiplier


@pytest.mark.parametrize(("violation", "direction"), [(0.5, 1.0), (-0.5, -1.0)])
def test_it_grows_while_the_constraint_is_violated_and_shrinks_while_it_is_not(
    violation: float, direction: float
) -> None:
    """The wrong sign would reward leaving the data. Adam's first step has the length of the learning rate, in log α."""
    multiplier = Multiplier(learning_rate=0.1)
    assert multiplier.value.item() == 1.0
    multiplier.update(torch.tensor(violation))
    assert math.log(multiplier.value.item()) == pytest.approx(direction * 0.1, rel=1e-4)


def test_a_constraint_that_just_holds_leaves_it_alone() -> None:
    multiplier = Multiplier(learning_rate=0.1)
    multiplier.update(torch.tensor(0.0))
    assert multiplier.value.item() == 1.0


@pytest.mark.parametrize(("violation", "expected"), [(1.0, 10.0), (-1.0, -5.0)])
def test_it_stays_within_its_bounds(violation: float, expected: float) -> None:
    """A run that never meets its threshold must not end in infinity; one that always does can still come back."""
    multiplier = Multiplier(learning_rate=5.0)
    for _ in range(8):
        multiplier.update(torch.tensor(violation))
    assert multiplier.value.log().item() == pytest.approx(expected)
    multiplier.update(torch.tensor(-violation))
    multiplier.update(torch.tensor(-violation * 100))
    assert abs(multiplier.value.log().item()) < abs(expected)


def test_neither_side_passes_a_gradient_on() -> None:
    """α is a number to the actor, and the divergence is one to α: each climbs or descends alone."""
    multiplier = Multiplier(learning_rate=0.1)
    assert not multiplier.value.requires_grad
    violation = torch.tensor(0.5, requires_grad=True)
    multiplier.update(violation)
    assert violation.grad is None


def test_it_finds_the_multiplier_of_a_problem_with_a_known_one() -> None:
    """Maximise x subject to x²/2 ≤ 1/2: x = 1 and α = 1/x = 1. From α = 1 this shows nothing, so x²/2 ≤ 1/8: α = 2."""
    multiplier = Multiplier(learning_rate=0.02)
    for _ in range(400):
        x = 1.0 / multiplier.value  # the maximum of x − α·x²/2
        multiplier.update(x.square() / 2.0 - 1.0 / 8.0)
    assert multiplier.value.item() == pytest.approx(2.0, rel=0.01)


def test_the_linear_one_moves_evenly_stops_at_zero_and_comes_back() -> None:
    """Adam's first step has the length of the learning rate, in α itself; at zero a constraint that holds waits."""
    multiplier = LinearMultiplier(learning_rate=0.1)
    assert multiplier.value.item() == 1.0
    multiplier.update(torch.tensor(-0.5))
    assert multiplier.value.item() == pytest.approx(0.9)
    for _ in range(400):
        multiplier.update(torch.tensor(-0.5))
    assert multiplier.value.item() == 0.0
    for _ in range(100):
        multiplier.update(torch.tensor(0.5))
    assert multiplier.value.item() > 1.0


def test_the_linear_one_finds_the_known_multiplier_too() -> None:
    """x²/2 ≤ 1/8, as above: α = 2."""
    multiplier = LinearMultiplier(learning_rate=0.02)
    for _ in range(400):
        multiplier.update((1.0 / multiplier.value).square() / 2.0 - 1.0 / 8.0)
    assert multiplier.value.item() == pytest.approx(2.0, rel=0.01)
