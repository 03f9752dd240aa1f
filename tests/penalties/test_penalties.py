"""The penalty decides whether results mean anything, so it is pinned by hand, by properties, and by mutants.

The properties hold for r̃ = r − λ·maxᵢ‖σᵢ‖ and together for nothing else we could think of: every mutant below is a
plausible mistake, and each must break at least one property.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mopo_env.envs.env import PenalizedModelEnv
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, UnknownNameError
from mopo_env.models.protocol import GaussianPrediction
from mopo_env.penalties import (
    PENALTIES,
    EnsemblePenalty,
    Penalty,
    ensemble_disagreement,
    error_estimator,
    get_penalty,
    learned_variance,
    make_penalty,
    no_penalty,
)
from mopo_env.toys import StubEnsemble
from mopo_env.transitions import Transitions

Array = np.ndarray
Penalised = Callable[[Array, float, Array], Array]


def prediction(mean: Any = None, std: Any = None, elites: Any = None, dtype: torch.dtype = torch.float64) -> Any:
    given_array = np.asarray(std if mean is None else mean)
    mean = np.zeros_like(given_array) if mean is None else mean
    std = np.zeros_like(given_array) if std is None else std
    members, rows, outputs = given_array.shape
    return GaussianPrediction(
        observations=torch.zeros(rows, outputs - 1),
        actions=torch.zeros(rows, 1),
        mean=torch.tensor(np.asarray(mean), dtype=dtype),
        std=torch.tensor(np.asarray(std), dtype=dtype),
        elites=torch.arange(members) if elites is None else torch.tensor(elites),
    )


# ---------------------------------------------------------------- by hand


def still(observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return observations, torch.full((len(observations),), 10.0)


def one_state(width: int = 1) -> Transitions:
    return Transitions(
        observations=np.zeros((2, width)),
        actions=np.zeros((2, 1)),
        rewards=np.zeros(2),
        next_observations=np.zeros((2, width)),
        terminations=np.zeros(2),
        truncations=np.ones(2),
    )


def test_learned_variance_of_three_four_five() -> None:
    """√(3² + 4²) = 5 against √(1² + 1²): not 7, not 25, not 3.5, not the mean of the two members."""
    assert learned_variance(prediction(std=[[[3.0, 4.0]], [[1.0, 1.0]]])).tolist() == [5.0]


def test_three_four_five_through_the_environment() -> None:
    """With λ = 2 every step pays exactly 10 less than what the model paid."""
    model = StubEnsemble(1, 1, mean=still, std=[[3.0, 4.0], [1.0, 1.0]])
    env = PenalizedModelEnv(PenalizedModel(model, one_state(), penalty_coef=2.0), horizon=100)
    env.reset(seed=0)
    for _ in range(20):
        _, reward, _, _, info = env.step(np.zeros(1))
        assert info["penalty"] == 5.0
        assert float(reward) == pytest.approx(info["reward_model"] - 10.0, abs=1e-5)


def test_three_four_five_without_noise_pays_nothing() -> None:
    """10 − 2·5 = 0, with a prediction that draws its own mean but claims the standard deviations."""
    model = _Claims(np.array([[[3.0, 4.0]], [[1.0, 1.0]]]), np.array([10.0]))
    step = PenalizedModel(model, one_state(), penalty_coef=2.0).step(
        torch.zeros(1, 1), torch.zeros(1, 1), torch.Generator()
    )
    assert step.rewards.tolist() == [0.0]
    assert step.model_rewards.tolist() == [10.0]
    assert step.penalties.tolist() == [5.0]


def test_the_maximum_runs_over_all_members() -> None:
    """The paper's tables were made so; one port takes elites only, which makes the penalty smaller."""
    assert learned_variance(prediction(std=[[[0.1, 0.1]], [[0.0, 1e4]]], elites=[0])).tolist() == [1e4]


def test_a_members_largest_norm_counts_not_its_largest_entry() -> None:
    """Member 0 has the larger single number, member 1 the larger norm."""
    assert learned_variance(prediction(std=[[[5.0, 0.0, 0.0]], [[4.0, 4.0, 4.0]]])).item() == pytest.approx(48**0.5)


def test_the_rewards_uncertainty_is_included() -> None:
    """The paper's code takes the norm over the reward's standard deviation too; dropping it shifts every return."""
    assert learned_variance(prediction(std=[[[0.0, 0.0, 2.0]]])).tolist() == [2.0]


def test_disagreement_by_hand() -> None:
    """Means (0, 0) and (6, 8) deviate 5 from (3, 4); the reward, a million apart, is left out."""
    mean = [[[0.0, 0.0, 0.0]], [[6.0, 8.0, 1e6]]]
    assert ensemble_disagreement(prediction(mean=mean)).item() == pytest.approx(5.0)


def test_disagreement_is_the_largest_deviation_from_the_mean() -> None:
    """Of 0, 0, 9 the mean is 3 and the largest deviation 6: neither the spread 9, nor the mean 4, nor the std √18."""
    mean = [[[0.0, 0.0]], [[0.0, 0.0]], [[9.0, 0.0]]]
    assert ensemble_disagreement(prediction(mean=mean)).item() == pytest.approx(6.0)


def test_no_penalty_is_zero_everywhere() -> None:
    assert no_penalty(prediction(std=np.full((3, 4, 2), 9.0))).tolist() == [0.0] * 4


# ---------------------------------------------------------------- r̃ as the core computes it


class _Claims:
    """A model that claims standard deviations and pays a reward without drawing; works in float64."""

    device = torch.device("cpu")
    observation_dim = action_dim = 1

    def __init__(self, std: Array, reward: Array) -> None:
        self._said = _DrawsNothing(
            observations=torch.zeros(std.shape[1], std.shape[2] - 1),
            actions=torch.zeros(std.shape[1], 1),
            mean=torch.zeros(std.shape),
            std=torch.tensor(std),
            elites=torch.tensor([0]),
        )
        self._said.__dict__["reward"] = torch.tensor(reward)

    def predict(self, observations: torch.Tensor, actions: torch.Tensor) -> GaussianPrediction:
        return self._said


class _DrawsNothing(GaussianPrediction):
    def sample(self, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(self.std.shape[1], 1), self.__dict__["reward"]


ONE_STATE = one_state()


def ours(std: Array, coef: float, reward: Array) -> Array:
    """Return r̃ through the whole core: model, penalty, sign and λ."""
    rows = torch.zeros(std.shape[1], 1)
    step = PenalizedModel(_Claims(std, reward), ONE_STATE, penalty_coef=coef).step(rows, rows, torch.Generator())
    return step.rewards.numpy()


PROPERTIES: dict[str, Callable[[Penalised, Array, float, float], None]] = {}


def a_property(check: Callable[[Penalised, Array, float, float], None]) -> Callable[..., None]:
    PROPERTIES[check.__name__] = check
    return check


def rewards_for(std: Array) -> Array:
    return np.linspace(-1.0, 1.0, std.shape[1])


def same(found: Array, expected: Array) -> bool:
    return np.allclose(found, expected, rtol=1e-9, atol=1e-9)


@a_property
def never_above_the_reward(f: Penalised, std: Array, coef: float, factor: float) -> None:
    reward = rewards_for(std)
    assert (f(std, coef, reward) <= reward + 1e-9).all()


@a_property
def zero_coefficient_is_identity(f: Penalised, std: Array, coef: float, factor: float) -> None:
    assert same(f(std, 0.0, rewards_for(std)), rewards_for(std))


@a_property
def homogeneous_in_the_std(f: Penalised, std: Array, coef: float, factor: float) -> None:
    reward = rewards_for(std)
    assert same(reward - f(std * factor, coef, reward), factor * (reward - f(std, coef, reward)))


@a_property
def linear_in_the_coefficient(f: Penalised, std: Array, coef: float, factor: float) -> None:
    reward = rewards_for(std)
    assert same(reward - f(std, coef * factor, reward), factor * (reward - f(std, coef, reward)))


@a_property
def permuting_members_changes_nothing(f: Penalised, std: Array, coef: float, factor: float) -> None:
    assert same(f(std[::-1].copy(), coef, rewards_for(std)), f(std, coef, rewards_for(std)))


@a_property
def permuting_dimensions_changes_nothing(f: Penalised, std: Array, coef: float, factor: float) -> None:
    assert same(f(std[..., ::-1].copy(), coef, rewards_for(std)), f(std, coef, rewards_for(std)))


@a_property
def rows_are_independent(f: Penalised, std: Array, coef: float, factor: float) -> None:
    together, reward = f(std, coef, rewards_for(std)), rewards_for(std)
    for row in range(std.shape[1]):
        assert same(f(std[:, row : row + 1], coef, reward[row : row + 1]), together[row : row + 1])


@a_property
def another_member_never_lowers_the_penalty(f: Penalised, std: Array, coef: float, factor: float) -> None:
    more = np.concatenate([std, std[:1] * factor])
    assert (f(more, coef, rewards_for(std)) <= f(std, coef, rewards_for(std)) + 1e-7).all()


@a_property
def duplicate_members_change_nothing(f: Penalised, std: Array, coef: float, factor: float) -> None:
    assert same(f(np.concatenate([std, std]), coef, rewards_for(std)), f(std, coef, rewards_for(std)))


@a_property
def dominates_each_member(f: Penalised, std: Array, coef: float, factor: float) -> None:
    together, reward = f(std, coef, rewards_for(std)), rewards_for(std)
    for member in range(len(std)):
        assert (together <= f(std[member : member + 1], coef, reward) + 1e-7).all()


@a_property
def rotating_two_dimensions_changes_nothing(f: Penalised, std: Array, coef: float, factor: float) -> None:
    rotated = std.copy()
    rotated[..., 0], rotated[..., 1] = np.hypot(std[..., 0], std[..., 1]), 0.0
    assert same(f(rotated, coef, rewards_for(std)), f(std, coef, rewards_for(std)))


@a_property
def three_four_five(f: Penalised, std: Array, coef: float, factor: float) -> None:
    assert same(f(np.array([[[3.0, 4.0]], [[1.0, 1.0]]]), 2.0, np.array([10.0])), np.array([0.0]))


@pytest.mark.parametrize("check", PROPERTIES.values(), ids=PROPERTIES)
def test_property_of_the_penalised_reward(check: Callable[..., None]) -> None:
    @settings(max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        hnp.arrays(
            np.float64,
            st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(2, 5)),
            elements=st.floats(0, 50),
        ),
        st.floats(0, 20),
        st.floats(0.1, 5),
    )
    def holds(std: Array, coef: float, factor: float) -> None:
        check(ours, std, coef, factor)

    holds()


MUTANTS: dict[str, Penalised] = {
    "mean over members": lambda s, c, r: r - c * np.linalg.norm(s, axis=-1).mean(0),
    "variance, not std": lambda s, c, r: r - c * np.linalg.norm(s**2, axis=-1).max(0),
    "sum of squares": lambda s, c, r: r - c * (s**2).sum(-1).max(0),
    "reward dropped": lambda s, c, r: r - c * np.linalg.norm(s[..., :-1], axis=-1).max(0),
    "norm over members": lambda s, c, r: r - c * np.linalg.norm(s, axis=0).max(-1),
    "one number for the batch": lambda s, c, r: r - c * np.linalg.norm(s, axis=-1).max(),
    "first member only": lambda s, c, r: r - c * np.linalg.norm(s[:1], axis=-1).max(0),
    "disagreement of the stds": lambda s, c, r: r - c * np.linalg.norm(s - s.mean(0), axis=-1).max(0),
    "plus sign": lambda s, c, r: r + c * np.linalg.norm(s, axis=-1).max(0),
    "L1 norm": lambda s, c, r: r - c * np.abs(s).sum(-1).max(0),
    "root mean square": lambda s, c, r: r - c * np.sqrt((s**2).mean(-1)).max(0),
    "clipped at 1": lambda s, c, r: r - c * np.minimum(np.linalg.norm(s, axis=-1).max(0), 1.0),
    "float16 inside": lambda s, c, r: r - c * np.linalg.norm(s.astype(np.float16), axis=-1).max(0).astype(np.float64),
}


def example_bank() -> Iterator[tuple[Array, float, float]]:
    random = np.random.default_rng(0)
    for _ in range(6):
        shape = (*random.integers(2, 5, 2), random.integers(2, 6))
        yield random.uniform(0, 50, shape), random.uniform(0.5, 20), random.uniform(0.1, 5)


def holds_on_the_bank(check: Callable[..., None], f: Penalised) -> bool:
    try:
        for std, coef, factor in example_bank():
            check(f, std, coef, factor)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_every_plausible_mistake_breaks_a_property(mutant: Penalised) -> None:
    """A test of the tests: a set of properties that lets one of these pass would let it pass in the source too."""
    assert not all(holds_on_the_bank(check, mutant) for check in PROPERTIES.values())


def test_the_right_formula_breaks_none() -> None:
    """Otherwise the mutants would die for a wrong reason."""

    def right(std: Array, coef: float, reward: Array) -> Array:
        return reward - coef * np.linalg.norm(std, axis=-1).max(0)

    assert all(holds_on_the_bank(check, right) for check in PROPERTIES.values())


# ---------------------------------------------------------------- numbers


def test_finite_over_every_log_variance_a_network_can_learn() -> None:
    """Log-variances from −20 to 20 are far outside the learned bounds; squares of their stds must not overflow."""
    std = torch.exp(0.5 * torch.linspace(-20, 20, 41)).reshape(1, -1, 1).expand(7, -1, 18)
    penalty = learned_variance(prediction(std=std.numpy(), dtype=torch.float32))
    assert penalty.isfinite().all()
    assert (penalty > 0).all()


def test_float32_agrees_with_float64() -> None:
    """The core runs in float32; 18 summands and a root cost a few of its 24 bits."""
    std = np.random.default_rng(0).lognormal(sigma=3, size=(7, 100, 18))
    narrow = learned_variance(prediction(std=std, dtype=torch.float32))
    exact = np.linalg.norm(std, axis=-1).max(0)
    np.testing.assert_allclose(narrow.numpy(), exact, rtol=1e-6)


def test_disagreement_of_identical_members_is_zero() -> None:
    mean = np.broadcast_to(np.random.default_rng(0).normal(size=(1, 20, 4)), (7, 20, 4))
    np.testing.assert_allclose(ensemble_disagreement(prediction(mean=mean)).numpy(), 0.0, atol=1e-14)


def test_disagreement_does_not_depend_on_where_the_members_agree() -> None:
    """Moving every member by the same vector moves no member away from the others."""
    random = np.random.default_rng(0)
    mean = random.normal(size=(7, 20, 4))
    moved = mean + random.normal(size=(1, 20, 4)) * 10
    np.testing.assert_allclose(
        ensemble_disagreement(prediction(mean=moved)).numpy(),
        ensemble_disagreement(prediction(mean=mean)).numpy(),
        rtol=1e-12,
    )


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_a_penalty_is_one_number_a_row_and_never_negative(penalty: Penalty) -> None:
    random = np.random.default_rng(0)
    found = penalty(prediction(mean=random.normal(size=(3, 11, 4)), std=random.uniform(size=(3, 11, 4))))
    assert found.shape == (11,)
    assert (found >= 0).all()


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_a_penalty_leaves_the_prediction_alone(penalty: Penalty) -> None:
    """The next state is drawn from the same tensors, so an in-place square would change the dynamics."""
    random = np.random.default_rng(0)
    said = prediction(mean=random.normal(size=(3, 5, 4)), std=random.uniform(size=(3, 5, 4)))
    mean, std = said.mean.clone(), said.std.clone()
    penalty(said)
    assert torch.equal(said.mean, mean)
    assert torch.equal(said.std, std)


# ---------------------------------------------------------------- members, outputs, units

# A member that is no elite, a reward, and outputs of very different scale: each option moves the number.
STDS = [[[3.0, 40.0, 0.0]], [[0.0, 0.0, 5.0]], [[600.0, 800.0, 0.0]]]
MEANS = [[[0.0, 0.0, 0.0]], [[0.0, 0.0, 70.0]], [[6000.0, 0.0, 0.0]]]
ELITES, SCALE = [0, 1], torch.tensor([1.0, 10.0, 0.5], dtype=torch.float64)


def three_members() -> Any:
    found = prediction(mean=MEANS, std=STDS, elites=ELITES)
    return dataclasses.replace(found, target_std=SCALE)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("learned-variance", {}, 1000.0),
        ("learned-variance", {"members": "elites"}, math.hypot(3, 40)),
        ("learned-variance", {"members": "elites", "units": "normalised"}, 10.0),  # (3, 4, 0) or (0, 0, 10)
        ("learned-variance", {"members": "elites", "units": "normalised", "reward": False}, 5.0),
        ("learned-variance", {"reward": False}, 1000.0),
        (
            "learned-variance-frobenius",
            {"members": "elites", "units": "normalised", "reward": False},
            math.hypot(9, 16),
        ),
        ("ensemble-disagreement", {}, 4000.0),
        ("ensemble-disagreement", {"members": "elites"}, 0.0),
        ("ensemble-disagreement", {"members": "elites", "reward": True}, 35.0),
        ("ensemble-disagreement", {"members": "elites", "reward": True, "units": "normalised"}, 70.0),
        ("max-pairwise-difference", {}, 6000.0),
        ("max-pairwise-difference", {"members": "elites"}, 0.0),
        ("max-pairwise-difference", {"members": "elites", "reward": True}, 70.0),
        ("max-pairwise-difference", {"members": "elites", "reward": True, "units": "normalised"}, 140.0),
        ("ensemble-std", {"members": "elites", "reward": False}, math.sqrt(4.5 + 800)),
        ("ensemble-std", {"members": "elites"}, math.sqrt(4.5 + 800 + 12.5 + 35**2)),
        ("ensemble-std", {"members": "elites", "units": "normalised"}, math.sqrt(4.5 + 8 + 4 * (12.5 + 35**2))),
        ("ensemble-variance", {"members": "elites", "reward": False}, math.hypot(4.5, 800)),
    ],
)
def test_options_of_a_penalty_by_hand(name: str, options: dict[str, Any], expected: float) -> None:
    """Each ignored option would give another number of the table."""
    assert make_penalty(name, **options)(three_members()).tolist() == pytest.approx([expected])


@pytest.mark.parametrize("name", ["log-likelihood-variance", "leave-one-out-kl"])
def test_densities_have_no_units(name: str) -> None:
    random = np.random.default_rng(0)
    said = prediction(mean=random.normal(size=(3, 4, 3)), std=random.uniform(0.5, 2, (3, 4, 3)))
    said = dataclasses.replace(said, target_std=SCALE)
    raw, normalised = (make_penalty(name, units=units)(said) for units in ("raw", "normalised"))  # type: ignore[arg-type]
    torch.testing.assert_close(raw, normalised)
    assert not torch.allclose(raw, make_penalty(name, reward=False)(said))
    assert not torch.allclose(
        raw, make_penalty(name, members="elites")(dataclasses.replace(said, elites=torch.tensor([0, 2])))
    )


def test_normalised_units_of_a_model_without_a_scale_are_refused() -> None:
    """Raw units in their place would be another penalty under the same name."""
    with pytest.raises(ConfigError, match=r"units: .*does not know the scale.*Choose 'raw'"):
        make_penalty("ensemble-std", units="normalised")(prediction(std=STDS))


def test_without_options_a_name_is_its_sources_penalty() -> None:
    assert make_penalty("learned-variance") is learned_variance
    assert make_penalty("none") is no_penalty


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": "some"}, "members: expected all or elites, found 'some'"),
        ({"members": 5}, "members: expected all or elites, found 5"),
        ({"units": "kg"}, "units: expected raw or normalised, found 'kg'"),
        ({"reward": 1}, "reward: expected True or False, found 1"),
        ({"reward": "yes"}, "reward: expected True or False, found 'yes'"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_penalty("ensemble-std", **options)


def test_options_of_no_penalty_are_refused() -> None:
    """They would be accepted and do nothing."""
    with pytest.raises(ConfigError, match="'none' has no members nor units to choose"):
        make_penalty("none", members="elites", units="raw")


def test_ones_own_formula_gets_the_options_too() -> None:
    own = EnsemblePenalty(formula=lambda mean, std: std.sum(dim=(0, 2)), members="elites", reward=False)
    assert own(three_members()).tolist() == [43.0]


def test_a_penalty_through_json_and_the_environment() -> None:
    """`gymnasium.make` takes what JSON can hold; with λ = 2 each step pays 10 less."""
    options = json.loads('{"name": "learned-variance", "members": "elites", "reward": false}')
    model = StubEnsemble(2, 1, mean=still, std=[[3.0, 4.0, 9.0], [30.0, 40.0, 0.0]], elites=[0])
    env = PenalizedModelEnv(PenalizedModel(model, one_state(2), penalty=options, penalty_coef=2.0), horizon=100)
    env.reset(seed=0)
    _, reward, _, _, info = env.step(np.zeros(1))
    assert info["penalty"] == 5.0
    assert float(reward) == pytest.approx(info["reward_model"] - 10.0, abs=1e-5)


WRONG_MAPPINGS = [{}, {"members": "all"}, {"name": "ensemble-std", "member": "all"}, {"name": ["none"]}]


@pytest.mark.parametrize("wrong", WRONG_MAPPINGS)
def test_a_wrong_mapping_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="penalty"):
        get_penalty(wrong)


def test_an_error_estimator_sees_states_and_actions() -> None:
    """Algorithm 1 of the paper takes any u(s, a)."""
    u = error_estimator(lambda observations, actions: observations[:, 0].abs() + 10 * actions[:, 0])
    said = dataclasses.replace(
        prediction(std=np.zeros((1, 2, 2))),
        observations=torch.tensor([[-3.0], [2.0]]),
        actions=torch.tensor([[1.0], [0.5]]),
    )
    assert u(said).tolist() == [13.0, 7.0]


# ---------------------------------------------------------------- names


def test_names_of_the_penalties() -> None:
    """These names are in configs and files, so renaming one breaks them."""
    assert get_penalty("learned-variance") is learned_variance
    assert get_penalty("ensemble-disagreement") is ensemble_disagreement
    assert get_penalty("none") is no_penalty
    expected = ["learned-variance", "learned-variance-frobenius", "ensemble-disagreement", "max-pairwise-difference"]
    expected += ["ensemble-std", "ensemble-variance", "log-likelihood-variance", "leave-one-out-kl", "none"]
    assert list(PENALTIES) == expected


def test_a_misspelt_name_suggests_the_right_one() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown penalty 'learnt-variance'.*Did you mean 'learned-variance'"):
        get_penalty("learnt-variance")


def test_a_callable_is_returned_as_it_is() -> None:
    def mine(said: Any) -> torch.Tensor:
        return torch.zeros(1)

    assert get_penalty(mine) is mine


@pytest.mark.parametrize("wrong", [None, 3, ["none"]])
def test_what_is_neither_name_nor_callable_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="penalty"):
        get_penalty(wrong)
