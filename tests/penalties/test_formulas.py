"""Every formula by hand, by properties, and by mutants: each plausible mistake must break at least one check.

The mutants are the test of the tests. A set of checks that lets one of them pass would let it pass in the source too.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mopo_env.errors import ConfigError
from mopo_env.penalties import formulas

Array = np.ndarray
NumPyFormula = Callable[[Array, Array], Array]
LN2 = math.log(2.0)

# Members, of one row each: means and standard deviations of two outputs, or of one.
THREE_FOUR_FIVE = ([[0.0, 0.0], [0.0, 0.0]], [[3.0, 4.0], [1.0, 1.0]])
APART = ([[0.0, 0.0], [6.0, 8.0]], [[1.0, 1.0], [1.0, 1.0]])
THREE_IN_A_LINE = ([[0.0], [0.0], [9.0]], [[1.0], [1.0], [1.0]])
# The largest single number is member 0's, the largest norm member 1's.
NORM_OR_ENTRY = ([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[5.0, 0.1, 0.1], [4.0, 4.0, 4.0]])
NARROW_AND_WIDE = ([[0.0], [0.0]], [[1.0], [2.0]])
SHIFTED_AND_WIDE = ([[0.0], [1.0]], [[1.0], [2.0]])
TWO_OUTPUTS = ([[-1.0, -1.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]])

# What each formula gives, worked out by hand.
BY_HAND: dict[str, list[tuple[Any, float]]] = {
    "max_aleatoric": [
        (THREE_FOUR_FIVE, 5.0),
        (NORM_OR_ENTRY, math.sqrt(48.0)),
        (APART, math.sqrt(2.0)),
    ],
    "max_covariance_norm": [
        (THREE_FOUR_FIVE, math.sqrt(81.0 + 256.0)),
        (NORM_OR_ENTRY, math.sqrt(3 * 256.0)),
        (APART, math.sqrt(2.0)),
    ],
    "max_deviation": [
        (APART, 5.0),  # each is 5 from (3, 4)
        (THREE_IN_A_LINE, 6.0),  # the mean is 3
        (THREE_FOUR_FIVE, 0.0),
    ],
    "max_pairwise_difference": [
        (APART, 10.0),
        (THREE_IN_A_LINE, 9.0),
        (THREE_FOUR_FIVE, 0.0),
        (([[0.0], [2.0], [5.0]], [[1.0], [1.0], [1.0]]), 5.0),  # the first two are 2 apart, the last two 3
    ],
    "ensemble_std": [
        (THREE_FOUR_FIVE, math.sqrt((9 + 1) / 2 + (16 + 1) / 2)),
        (APART, math.sqrt(1 + 9 + 1 + 16)),  # the means spread 3 and 4 around theirs
        (THREE_IN_A_LINE, math.sqrt(1 + 18)),  # (9 + 9 + 36) / 3
    ],
    "ensemble_variance": [
        (THREE_FOUR_FIVE, math.hypot(5.0, 8.5)),
        (APART, math.hypot(10.0, 17.0)),
        (THREE_IN_A_LINE, 19.0),
    ],
    "log_likelihood_variance": [
        # Means ±m and σ = 1: the log-densities are ±m·x around their mean, so the variance is m²·E[x²] = m²(1 + m²).
        (([[-1.0], [1.0]], [[1.0], [1.0]]), 2.0),
        (([[-2.0], [2.0]], [[1.0], [1.0]]), 20.0),
        # Two outputs of the kind: (x + y)² under means (±1, ±1) has the mean 1 + 1 + (1 + 1)² = 6.
        (TWO_OUTPUTS, 6.0),
        # σ of 1 and 2 around 0: half their difference is (ln 2 − 3x²/8) / 2; E[x²] = 2.5 and E[x⁴] = (3 + 48) / 2.
        (NARROW_AND_WIDE, (LN2**2 - 0.75 * LN2 * 2.5 + 9 / 64 * 25.5) / 4),
        (([[0.0], [0.0]], [[1.0], [1.0]]), 0.0),
    ],
    "leave_one_out_kl": [
        # KL(N(0, 1) ‖ N(1, 4)) and KL(N(1, 4) ‖ N(0, 1)).
        (SHIFTED_AND_WIDE, ((0.25 + 0.25 - 1 + math.log(4)) / 2 + (4 + 1 - 1 - math.log(4)) / 2) / 2),
        (APART, (36 + 64) / 2),  # equal covariances: half the squared distance
        # 0 and 0 against the mixture of 0 and 9, of mean 4.5 and variance 1 + 20.25; 9 against two at 0, variance 1.
        (THREE_IN_A_LINE, (2 * (0.5 * ((1 + 20.25) / 21.25 - 1 + math.log(21.25))) + 40.5) / 3),
        (([[0.0], [0.0]], [[1.0], [1.0]]), 0.0),
    ],
}

# How u grows when all lengths double.
DEGREES = {
    "max_aleatoric": 1,
    "max_covariance_norm": 2,
    "max_deviation": 1,
    "max_pairwise_difference": 1,
    "ensemble_std": 1,
    "ensemble_variance": 2,
    "log_likelihood_variance": 0,
    "leave_one_out_kl": 0,
}
ALSO_ROTATES = {"max_deviation", "max_pairwise_difference"}


def ours(name: str) -> NumPyFormula:
    formula = getattr(formulas, name)

    def call(mean: Array, std: Array) -> Array:
        return formula(torch.tensor(mean), torch.tensor(std)).numpy()

    return call


def bank() -> list[tuple[Array, Array]]:
    random = np.random.default_rng(0)
    shapes = [(2, 3, 2), (3, 4, 4), (5, 2, 3), (4, 5, 5)]
    return [(random.normal(scale=3, size=shape), random.uniform(0.5, 3, shape)) for shape in shapes]


def same(found: Array, expected: Array | float) -> bool:
    return bool(np.allclose(found, expected, rtol=1e-9, atol=1e-9))


# ---------------------------------------------------------------- the checks


def by_hand(f: NumPyFormula, name: str) -> bool:
    """Also in the second row of a batch whose first row is another."""
    for (mean, std), expected in BY_HAND[name]:
        rows = [np.repeat(np.asarray(part)[:, None], 2, axis=1) for part in (mean, std)]
        rows[1][:, 0] *= 1.7
        if not same(f(*rows)[1], expected):
            return False
    return True


def rows_are_independent(f: NumPyFormula, name: str) -> bool:
    return all(
        same(f(mean[:, row : row + 1], std[:, row : row + 1]), f(mean, std)[row])
        for mean, std in bank()
        for row in range(mean.shape[1])
    )


def order_does_not_matter(f: NumPyFormula, name: str) -> bool:
    return all(
        same(f(mean[::-1].copy(), std[::-1].copy()), f(mean, std))
        and same(f(mean[..., ::-1].copy(), std[..., ::-1].copy()), f(mean, std))
        for mean, std in bank()
    )


def place_does_not_matter(f: NumPyFormula, name: str) -> bool:
    """Moving all members by the same vector moves none away from the others."""
    return all(same(f(mean + np.arange(mean.shape[2]) * 5.0, std), f(mean, std)) for mean, std in bank())


def grows_with_the_units(f: NumPyFormula, name: str) -> bool:
    return all(same(f(2 * mean, 2 * std), 2.0 ** DEGREES[name] * f(mean, std)) for mean, std in bank())


def is_never_negative(f: NumPyFormula, name: str) -> bool:
    return all((f(mean, std) >= 0).all() for mean, std in bank())


def knows_no_directions(f: NumPyFormula, name: str) -> bool:
    """Rotating all means alike leaves their distances; of the other formulas this is not asked."""
    angle = np.array([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]])
    mean, std = (part[..., :2] for part in bank()[3])  # five members
    return name not in ALSO_ROTATES or same(f(mean @ angle, std), f(mean, std))


CHECKS = [
    by_hand,
    rows_are_independent,
    order_does_not_matter,
    place_does_not_matter,
    grows_with_the_units,
    is_never_negative,
    knows_no_directions,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", BY_HAND)
def test_formula(name: str, check: Callable[[NumPyFormula, str], bool]) -> None:
    assert check(ours(name), name)


# ---------------------------------------------------------------- the test of the tests


def norm(values: Array) -> Array:
    return np.linalg.norm(values, axis=-1)


def centred(mean: Array) -> Array:
    return mean - mean.mean(0)


def mixture(mean: Array, std: Array) -> Array:
    return (std**2).mean(0) + mean.var(0)


def log_densities(mean: Array, std: Array, x: Array) -> Array:
    return (-0.5 * ((x - mean) / std) ** 2 - np.log(std)).sum(-1)


def kl(mean: Array, std: Array, member: int, *, swapped: bool = False, spread: bool = True) -> Array:
    others = [other for other in range(len(mean)) if other != member]
    one = mean[member], std[member] ** 2
    rest = mean[others].mean(0), (std[others] ** 2).mean(0) + mean[others].var(0) * spread
    (m, v), (rest_m, rest_v) = (rest, one) if swapped else (one, rest)
    return 0.5 * ((v + (m - rest_m) ** 2) / rest_v - 1 + np.log(rest_v / v)).sum(-1)


def mean_kl(**options: Any) -> NumPyFormula:
    return lambda mean, std: np.mean([kl(mean, std, member, **options) for member in range(len(mean))], axis=0)


MUTANTS: dict[str, dict[str, NumPyFormula]] = {
    "max_aleatoric": {
        "mean over members": lambda m, s: norm(s).mean(0),
        "variance, not std": lambda m, s: norm(s**2).max(0),
        "sum of squares": lambda m, s: (s**2).sum(-1).max(0),
        "last output dropped": lambda m, s: norm(s[..., :-1]).max(0),
        "wrong axis": lambda m, s: np.linalg.norm(s, axis=0).max(-1),
        "one number for the batch": lambda m, s: np.full(s.shape[1], norm(s).max()),
        "first member only": lambda m, s: norm(s[0]),
        "sign": lambda m, s: -norm(s).max(0),
        "L1": lambda m, s: np.abs(s).sum(-1).max(0),
        "largest entry": lambda m, s: s.max(-1).max(0),
        "root mean square": lambda m, s: np.sqrt((s**2).mean(-1)).max(0),
        "clipped": lambda m, s: np.minimum(norm(s).max(0), 1.0),
        "float16 inside": lambda m, s: norm(s.astype(np.float16)).max(0).astype(float),
        "means too": lambda m, s: norm(m + s).max(0),
    },
    "max_covariance_norm": {
        "std, not variance": lambda m, s: norm(s).max(0),
        "trace": lambda m, s: (s**2).sum(-1).max(0),
        "squared norm of the std": lambda m, s: norm(s).max(0) ** 2,
        "mean over members": lambda m, s: norm(s**2).mean(0),
        "determinant": lambda m, s: (s**2).prod(-1).max(0),
        "one number for the batch": lambda m, s: np.full(s.shape[1], norm(s**2).max()),
    },
    "max_deviation": {
        "mean over members": lambda m, s: norm(centred(m)).mean(0),
        "from the first member": lambda m, s: norm(m - m[0]).max(0),
        "from zero": lambda m, s: norm(m).max(0),
        "pairwise": lambda m, s: norm(m[:, None] - m[None]).max((0, 1)),
        "from the median": lambda m, s: norm(m - np.median(m, 0)).max(0),
        "std over members": lambda m, s: norm(m.std(0)),
        "of the stds": lambda m, s: norm(centred(s)).max(0),
        "L1": lambda m, s: np.abs(centred(m)).sum(-1).max(0),
        "one number for the batch": lambda m, s: np.full(m.shape[1], norm(centred(m)).max()),
        "mean over the batch too": lambda m, s: norm(m - m.mean((0, 1))).max(0),
    },
    "max_pairwise_difference": {
        "from the mean": lambda m, s: norm(centred(m)).max(0),
        "twice the deviation": lambda m, s: 2 * norm(centred(m)).max(0),
        "neighbours only": lambda m, s: norm(np.diff(m, axis=0)).max(0),
        "mean over pairs": lambda m, s: norm(m[:, None] - m[None]).mean((0, 1)),
        "range of each output": lambda m, s: norm(m.max(0) - m.min(0)),
        "largest entry": lambda m, s: np.abs(m[:, None] - m[None]).max((0, 1, 3)),
    },
    "ensemble_std": {
        "variance, not std": lambda m, s: norm(mixture(m, s)),
        "sum of variances": lambda m, s: mixture(m, s).sum(-1),
        "noise alone": lambda m, s: norm(np.sqrt((s**2).mean(0))),
        "disagreement alone": lambda m, s: norm(m.std(0)),
        "mean of stds": lambda m, s: norm(s.mean(0) + m.std(0)),
        "unbiased": lambda m, s: norm(np.sqrt((s**2).mean(0) + m.var(0, ddof=1))),
        "second moment": lambda m, s: norm(np.sqrt((s**2 + m**2).mean(0))),
    },
    "ensemble_variance": {
        "std, not variance": lambda m, s: norm(np.sqrt(mixture(m, s))),
        "trace": lambda m, s: mixture(m, s).sum(-1),
        "noise alone": lambda m, s: norm((s**2).mean(0)),
        "unbiased": lambda m, s: norm((s**2).mean(0) + m.var(0, ddof=1)),
        "second moment": lambda m, s: norm((s**2 + m**2).mean(0)),
        "stds averaged": lambda m, s: norm(s.mean(0) ** 2 + m.var(0)),
    },
    "log_likelihood_variance": {
        "at the mean of the members": lambda m, s: log_densities(m, s, m.mean(0)).var(0),
        "std, not variance": lambda m, s: np.sqrt(ours("log_likelihood_variance")(m, s)),
        "of the log-stds": lambda m, s: np.log(s).sum(-1).var(0),
        "no normalising constant": lambda m, s: ours("log_likelihood_variance")(m, np.ones_like(s)),
        "unbiased": lambda m, s: ours("log_likelihood_variance")(m, s) * len(m) / (len(m) - 1),
        "draws at the members' means": lambda m, s: np.mean([log_densities(m, s, x).var(0) for x in m], axis=0),
    },
    "leave_one_out_kl": {
        "the other way round": mean_kl(swapped=True),
        "spread of the others' means left out": mean_kl(spread=False),
        "largest": lambda m, s: np.max([kl(m, s, member) for member in range(len(m))], axis=0),
        "first member only": lambda m, s: kl(m, s, 0),
        "sum over members": lambda m, s: np.sum([kl(m, s, member) for member in range(len(m))], axis=0),
        "twice": lambda m, s: 2 * mean_kl()(m, s),
    },
}


@pytest.mark.parametrize(("name", "mutant"), [(name, mutant) for name in MUTANTS for mutant in MUTANTS[name]])
def test_every_plausible_mistake_breaks_a_check(name: str, mutant: str) -> None:
    assert not all(check(MUTANTS[name][mutant], name) for check in CHECKS)


def test_there_are_mutants_of_every_formula() -> None:
    """A formula without mutants has checks that nobody has tried."""
    public = {name for name, value in vars(formulas).items() if inspect.isfunction(value) and name[0] != "_"}
    assert set(MUTANTS) == set(BY_HAND) == set(DEGREES) == public
    assert all(len(mutants) >= 6 for mutants in MUTANTS.values())


def test_the_right_formulas_in_numpy_break_none() -> None:
    """Otherwise mutants would die for a wrong reason."""
    right: dict[str, NumPyFormula] = {
        "max_aleatoric": lambda m, s: norm(s).max(0),
        "max_covariance_norm": lambda m, s: norm(s**2).max(0),
        "max_deviation": lambda m, s: norm(centred(m)).max(0),
        "max_pairwise_difference": lambda m, s: norm(m[:, None] - m[None]).max((0, 1)),
        "ensemble_std": lambda m, s: norm(np.sqrt(mixture(m, s))),
        "ensemble_variance": lambda m, s: norm(mixture(m, s)),
        "leave_one_out_kl": mean_kl(),
    }
    for name, formula in right.items():
        assert all(check(formula, name) for check in CHECKS), name
        for mean, std in bank():
            assert same(ours(name)(mean, std), formula(mean, std)), name


# ---------------------------------------------------------------- what only draws or float32 can show


def test_the_variance_of_log_likelihoods_is_that_of_drawn_states() -> None:
    """The closed form against what the method does: draw a member, draw from it, ask all members. z below 5."""
    random = np.random.default_rng(0)
    mean, std = random.normal(scale=0.5, size=(4, 1, 3)), random.uniform(0.7, 1.5, (4, 1, 3))
    member = random.integers(4, size=200_000)
    x = mean[member, 0] + std[member, 0] * random.normal(size=(200_000, 3))
    drawn = log_densities(mean, std, x).var(axis=0)
    exact = ours("log_likelihood_variance")(mean, std)[0]
    assert abs(drawn.mean() - exact) < 5 * drawn.std() / math.sqrt(len(drawn))
    assert drawn.std() / math.sqrt(len(drawn)) < 0.02 * exact, "sharp enough to mean anything"


@pytest.mark.parametrize("name", BY_HAND)
def test_float32_agrees_with_float64_far_from_the_origin(name: str) -> None:
    """The core runs in float32, and states may be large beside what members differ by: E[x²] − E[x]² would be noise.

    The means are multiples of 1/64 on either side, so that float32 holds them exactly.
    """
    random = np.random.default_rng(0)
    mean = np.round(random.normal(scale=0.5, size=(5, 50, 18)) * 64) / 64 + 1024.0
    std = np.exp(random.uniform(-2, 0, (5, 50, 18))).astype(np.float32).astype(np.float64)
    narrow = getattr(formulas, name)(torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32))
    np.testing.assert_allclose(narrow.numpy(), ours(name)(mean, std), rtol=2e-3)


@pytest.mark.parametrize("name", BY_HAND)
def test_finite_over_the_stds_a_network_can_learn(name: str) -> None:
    """Log-variances of −20 and 20 in one ensemble, whose members disagree by a thousand."""
    std = torch.exp(0.5 * torch.linspace(-20, 20, 5))[:, None, None].expand(5, 3, 18)
    mean = torch.linspace(-500, 500, 5)[:, None, None].expand(5, 3, 18)
    u = getattr(formulas, name)(mean, std)
    assert u.isfinite().all()
    assert (u > 0).all()


def test_one_member_agrees_with_itself() -> None:
    """The "no ens." rows of the paper have one."""
    mean, std = np.array([[[1.0, 2.0]]]), np.array([[[3.0, 4.0]]])
    expected = {"max_aleatoric": 5.0, "max_covariance_norm": math.sqrt(337), "ensemble_std": 5.0}
    expected |= {"ensemble_variance": math.sqrt(337)}
    for name in BY_HAND:
        if name != "leave_one_out_kl":
            assert ours(name)(mean, std) == pytest.approx(expected.get(name, 0.0))
    with pytest.raises(ConfigError, match="leave-one-out-kl: needs two members"):
        ours("leave_one_out_kl")(mean, std)
