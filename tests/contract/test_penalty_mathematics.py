"""The penalised reward r̃ = r̂ − λ·maxᵢ‖σᵢ‖ as the core pays it, by properties; and thirteen mistakes that break them.

`tests/penalties/test_formulas.py` has every other formula. Here σ passes through a model, the penalty and the core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import generator, still_data
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.penalties import formulas
from mopo_env.toys import StubEnsemble

Array = np.ndarray
Reward = Callable[[Array, float, Array], Array]  # of σ, λ and r̂; returns r̃


def core(std: Array, coef: float, reward: Array) -> Array:
    """Step once through the core; σ has the shape ``(member, row, output)``."""
    members, rows, outputs = std.shape
    stds, rewards = (torch.tensor(array, dtype=torch.float32) for array in (std, reward))
    data = still_data(np.arange(rows + 1.0), width=outputs - 1)  # the first column is the number of the row

    def index(states: torch.Tensor) -> torch.Tensor:
        return states[:, 0].long().clamp(max=rows - 1)

    model = StubEnsemble(
        outputs - 1,
        1,
        mean=lambda states, actions: (states, rewards[index(states)]),
        std=lambda states, actions: stds[:, index(states)],
        num_members=members,
    )
    penalized = PenalizedModel(model, data, penalty_coef=coef, deterministic=True)
    states = torch.from_numpy(data.observations[:rows].copy())
    return penalized.step(states, torch.zeros(rows, 1), generator()).rewards.numpy()


def norm(std: Array) -> Array:
    return np.linalg.norm(std, axis=-1)


RIGHT: Reward = lambda s, c, r: r - c * norm(s).max(0)  # noqa: E731
MUTANTS: dict[str, Reward] = {
    "mean over members": lambda s, c, r: r - c * norm(s).mean(0),
    "variance, not std": lambda s, c, r: r - c * norm(s**2).max(0),
    "sum of squares": lambda s, c, r: r - c * (s**2).sum(-1).max(0),
    "reward's output dropped": lambda s, c, r: r - c * norm(s[..., :-1]).max(0),
    "maximum over outputs, norm over members": lambda s, c, r: r - c * np.linalg.norm(s, axis=0).max(-1),
    "one number for the batch": lambda s, c, r: r - c * norm(s).max(),
    "elites only": lambda s, c, r: r - c * norm(s[:1]).max(0),
    "disagreement of the stds": lambda s, c, r: r - c * norm(s - s.mean(0)).max(0),
    "plus": lambda s, c, r: r + c * norm(s).max(0),
    "L1": lambda s, c, r: r - c * np.abs(s).sum(-1).max(0),
    "root mean square": lambda s, c, r: r - c * np.sqrt((s**2).mean(-1)).max(0),
    "clipped at 1": lambda s, c, r: r - c * np.minimum(norm(s).max(0), 1.0),
    "float16 inside": lambda s, c, r: r - c * norm(s.astype(np.float16)).max(0).astype(float),
}


class Case:
    """σ, λ, a factor, and rewards; the tolerance is that of float32."""

    def __init__(self, f: Reward, std: Array, coef: float, factor: float) -> None:
        self.f, self.std, self.coef, self.factor = f, std, coef, factor
        self.reward = np.linspace(-1, 1, std.shape[1])
        self.tolerance = 1e-5 * (1 + coef * (1 + factor) * std.sum(axis=-1).max())

    def pay(self, std: Array | None = None, coef: float | None = None) -> Array:
        return self.f(self.std if std is None else std, self.coef if coef is None else coef, self.reward)

    def same(self, found: Array, expected: Array) -> bool:
        return bool(np.allclose(found, expected, rtol=0, atol=self.tolerance))

    def below(self, found: Array, bound: Array) -> bool:
        return bool((found <= bound + self.tolerance).all())


def three_four_five(c: Case) -> bool:
    std = np.array([[[3.0, 4.0]], [[1.0, 1.0]]])
    return bool(np.allclose(c.f(std, 2.0, np.array([10.0])), 0.0, atol=1e-5))


def never_above_the_reward(c: Case) -> bool:
    return c.below(c.pay(), c.reward)


def nothing_without_a_coefficient(c: Case) -> bool:
    return c.same(c.pay(coef=0.0), c.reward)


def linear_in_the_coefficient(c: Case) -> bool:
    return c.same(c.reward - c.pay(coef=c.coef * c.factor), c.factor * (c.reward - c.pay()))


def homogeneous_in_the_stds(c: Case) -> bool:
    return c.same(c.reward - c.pay(c.std * c.factor), c.factor * (c.reward - c.pay()))


def members_have_no_order(c: Case) -> bool:
    return c.same(c.pay(c.std[::-1].copy()), c.pay())


def outputs_have_no_order(c: Case) -> bool:
    return c.same(c.pay(c.std[..., ::-1].copy()), c.pay())


def copies_of_members_change_nothing(c: Case) -> bool:
    return c.same(c.pay(np.concatenate([c.std, c.std])), c.pay())


def a_plane_has_no_axes(c: Case) -> bool:
    turned = c.std.copy()
    turned[..., 0], turned[..., 1] = norm(c.std[..., :2]), 0.0
    return c.same(c.pay(turned), c.pay())


def a_member_more_never_pays_more(c: Case) -> bool:
    return c.below(c.pay(np.concatenate([c.std, c.std[:1] * c.factor])), c.pay())


def below_every_member_alone(c: Case) -> bool:
    return all(c.below(c.pay(), c.pay(c.std[index : index + 1])) for index in range(len(c.std)))


def rows_are_independent(c: Case) -> bool:
    whole = c.pay()
    alone = [c.f(c.std[:, row : row + 1], c.coef, c.reward[row : row + 1]) for row in range(c.std.shape[1])]
    return c.same(np.concatenate(alone), whole)


PROPERTIES = [
    three_four_five,
    never_above_the_reward,
    nothing_without_a_coefficient,
    linear_in_the_coefficient,
    homogeneous_in_the_stds,
    members_have_no_order,
    outputs_have_no_order,
    copies_of_members_change_nothing,
    a_plane_has_no_axes,
    a_member_more_never_pays_more,
    below_every_member_alone,
    rows_are_independent,
]
STDS = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(2, 5)),
    elements=st.floats(0, 50, width=32, allow_subnormal=False),
)


def draw_cases() -> list[tuple[Array, float, float]]:
    """Draw σ, λ and a factor; the same ones each time."""
    drawn: list[tuple[Array, float, float]] = []

    @settings(max_examples=40, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(STDS, st.floats(0, 20), st.floats(0.1, 5))
    def keep(std: Array, coef: float, factor: float) -> None:
        drawn.append((std, coef, factor))

    keep()
    return drawn


CASES = draw_cases()


def holds(check: Callable[[Case], bool], f: Reward) -> bool:
    return all(check(Case(f, *case)) for case in CASES)


@pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: check.__name__)
def test_the_core(check: Callable[[Case], bool]) -> None:
    assert holds(check, core)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_mistake_breaks_a_property(mutant: str) -> None:
    """Properties that let one of these pass would let it pass in the core too."""
    assert any(not holds(check, MUTANTS[mutant]) for check in PROPERTIES)


def test_the_right_formula_breaks_none() -> None:
    assert all(holds(check, RIGHT) for check in PROPERTIES)


def test_all_members_count_and_not_the_elites_alone() -> None:
    """What the paper's code does: a member that is never drawn from still says that it does not know."""
    model: Any = StubEnsemble(1, 1, mean=lambda s, a: (s, s[:, 0]), std=[[0.0, 0.0], [300.0, 400.0]], elites=[0])
    penalized = PenalizedModel(model, still_data(), penalty_coef=2.0)
    rewards = penalized.step(torch.zeros(5, 1), torch.zeros(5, 1), generator()).rewards
    assert rewards.tolist() == [-1000.0] * 5


def test_float32_is_float64_within_a_millionth() -> None:
    random = np.random.default_rng(0)
    for log_variance in (0.0, 20.0, -20.0):
        std = np.exp(0.5 * (log_variance + random.uniform(-3, 3, (7, 100, 18))))
        mean = torch.zeros(std.shape, dtype=torch.float64)
        wide = formulas.max_aleatoric(mean, torch.tensor(std)).numpy()
        narrow = formulas.max_aleatoric(mean.float(), torch.tensor(std, dtype=torch.float32)).numpy()
        np.testing.assert_allclose(narrow, wide, rtol=1e-6)
        assert np.isfinite(narrow).all()
