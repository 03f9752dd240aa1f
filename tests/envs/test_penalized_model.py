"""The batched core: what a transition is, decided once for every environment around it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers.models import LOWEST, generator, penalized_model, small_ensemble, stay, still_data

from mopo_env.envs.envelope import NON_FINITE
from mopo_env.envs.penalized_model import ModelStep, PenalizedModel
from mopo_env.errors import ConfigError, InputError, SpaceMismatchError, UnknownNameError
from mopo_env.terminations import hopper
from mopo_env.toys import LinearGaussianSystem, StubEnsemble, TabularMDP

MANY = 20_000


def world(mean: Callable[..., Any] = stay, **options: Any) -> PenalizedModel:
    """Return a world of two columns, which starts at 0, 1, 2 or 3."""
    return penalized_model(mean, **{"starts": range(4), "width": 2, **options})


def take(model: PenalizedModel, *states: float, actions: Any = None, members: Any = None) -> ModelStep:
    """Step from states that have the same number in both columns."""
    observations = torch.tensor(states)[:, None].repeat(1, 2)
    actions = torch.zeros(len(states), 1) if actions is None else torch.tensor(actions)[:, None]
    return model.step(observations, actions, generator(), members)


# ---------------------------------------------------------------- starts


def test_starts_are_rows_of_the_dataset_each_equally_likely() -> None:
    """Algorithm 2 starts from D_env, not from the initial states of episodes, nor from the first rows."""
    draws = world().reset(MANY, generator())
    assert torch.equal(draws[:, 0], draws[:, 1])
    counts = torch.bincount(draws[:, 0].long(), minlength=4)
    assert counts.sum() == MANY
    chi_square = ((counts - 5000) ** 2 / 5000).sum()
    assert chi_square < 16.3, "99.9 % of fair draws stay below this with three degrees of freedom"


def test_a_start_written_into_does_not_change_the_dataset() -> None:
    """Rollouts hand their starts to callers, who normalise in place."""
    model = world()
    model.reset(100, generator())[:] = 99.0
    assert model.reset(100, generator()).max() == 3.0
    assert model.transitions.observations.max() == 3.0


# ---------------------------------------------------------------- rewards


@pytest.mark.parametrize("penalty_coef", [0, 1, 3.0])
def test_the_reward_is_the_models_less_lambda_times_the_penalty(penalty_coef: float) -> None:
    """By default λ = 1 and u is the paper's: here √(0.3² + 0.4² + 1.2²) = 1.3."""
    options = {} if penalty_coef == 1 else {"penalty_coef": penalty_coef}
    step = take(world(std=[[0.3, 0.4, 1.2]], **options), 1.0, 2.0, 3.0)
    torch.testing.assert_close(step.penalties, torch.full((3,), 1.3))
    torch.testing.assert_close(step.rewards, step.model_rewards - penalty_coef * 1.3)


def test_a_penalty_may_be_a_function_of_state_and_action() -> None:
    """The prediction carries both, so a user's penalty need not be one of ours."""
    model = world(penalty=lambda said: said.observations[:, 0] + 10 * said.actions[:, 0], penalty_coef=2.0)
    step = take(model, 1.0, 2.0, actions=[0.5, -0.1])
    torch.testing.assert_close(step.rewards, torch.tensor([1.0 - 2 * 6.0, 2.0 - 2 * 1.0]))


# ---------------------------------------------------------------- members


def test_draws_come_from_every_elite_and_from_nobody_else() -> None:
    """Offsets 10, 11, 12, 13 tell which member spoke; the elites are two of them. Never a mean, never one a batch."""
    model = world(lambda s, a: (0 * s, 0 * s[:, 0]), offsets=[10, 11, 12, 13], elites=[1, 3], penalty="none")
    step = take(model, *[0.0] * MANY)
    assert torch.equal(step.next_observations[:, 0], step.rewards)
    assert torch.equal(step.next_observations[:, 1], step.rewards)
    first, second = ((step.rewards == offset).sum().item() for offset in (11.0, 13.0))
    assert first + second == MANY
    chi_square = (first - second) ** 2 / MANY
    assert chi_square < 10.8, "99.9 % of fair draws stay below this with one degree of freedom"


def test_deterministic_steps_are_means_of_one_elite_a_row() -> None:
    """Noise of 9 is left out, the choice among members stays: the mean over members is nobody's prediction."""
    options: dict[str, Any] = {"std": 9.0, "offsets": [10, 20, 30], "elites": [0, 2]}
    step = take(world(deterministic=True, **options), *[1.0] * 2_000)
    assert set(step.model_rewards.tolist()) == {11.0, 31.0}
    assert torch.equal(step.next_observations[:, 0], step.model_rewards)
    assert torch.allclose(step.penalties, torch.tensor(9 * 3**0.5)), "the uncertainty is still paid for"
    assert len(set(take(world(**options), *[1.0] * 2_000).model_rewards.tolist())) > 1_000, "the default draws"


def test_given_members_speak_for_their_rows() -> None:
    """A rollout that keeps its member says which one; without it there is nobody to ask."""
    model = world(offsets=[10, 20, 30], member_per="rollout")
    step = take(model, 0.0, 0.0, 0.0, members=torch.tensor([2, 0, 1]))
    assert step.model_rewards.tolist() == [30.0, 10.0, 20.0]
    with pytest.raises(InputError, match=r"members: .*pick_members"):
        take(model, 0.0)


def test_members_of_rollouts_are_elites_each_equally_likely() -> None:
    """What `step` draws for every row, `pick_members` draws for every rollout."""
    members = world(offsets=[10, 20, 30], elites=[2, 0], member_per="rollout").pick_members(MANY, generator())
    assert members is not None
    first, second = ((members == member).sum().item() for member in (0, 2))
    assert first + second == MANY
    assert (first - second) ** 2 / MANY < 10.8
    assert world().pick_members(5, generator()) is None


@pytest.mark.parametrize("options", [{"deterministic": True}, {"member_per": "rollout"}])
def test_members_are_asked_only_of_models_that_have_some(options: dict[str, Any]) -> None:
    """A tabular model has one opinion; accepting the option would promise what does not happen."""
    mdp = TabularMDP(probabilities=np.ones((2, 1, 2)) / 2, rewards=np.zeros((2, 1)), start=np.ones(2) / 2, discount=0.9)
    with pytest.raises(ConfigError, match="need a model with members, found a TabularModel without elites"):
        PenalizedModel(mdp.model(), mdp.transitions(), **options)


# ---------------------------------------------------------------- clipping


def test_actions_are_clipped_before_model_and_rule_see_them() -> None:
    """The real environments clip too; a policy must not be paid for a force that no motor has."""
    seen = []

    def rule(observations: torch.Tensor, actions: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        seen.append(actions[:, 0].tolist())
        return torch.zeros(len(actions), dtype=torch.bool)

    for high, expected in ((2.0, [-0.5, 1.0, 2.0]), (np.inf, [-0.5, 1.0, 1e6])):
        space = Box(np.array([-0.5], np.float32), np.array([high], np.float32))
        model = world(lambda s, a: (s, a[:, 0]), action_space=space, termination=rule)
        assert take(model, 0.0, 0.0, 0.0, actions=[-9.0, 1.0, 1e6]).rewards.tolist() == expected == seen.pop()


def test_observations_are_clipped_to_their_space() -> None:
    """An environment that leaves its own space breaks every agent that trusts it; half-bounded columns count too."""
    space = Box(np.array([-1.0, -np.inf], np.float32), np.array([1.0, 2.0], np.float32))
    model = world(
        lambda s, a: (10 * s, s[:, 0]),
        starts=[0, 0],
        observation_space=space,
        penalty="none",
        termination=lambda s, a, following: following[:, 0] > 2,
    )
    step = take(model, 0.5, -0.5, 0.01)
    torch.testing.assert_close(step.next_observations, torch.tensor([[1.0, 2.0], [-1.0, -5.0], [0.1, 0.1]]))
    assert all(space.contains(observation) for observation in step.next_observations.numpy())
    assert not step.exits.any()
    assert not step.terminations.any(), "the rule judges the state that is shown"


# ---------------------------------------------------------------- termination


def test_the_rule_sees_start_action_and_end() -> None:
    """In this order; a rule written for (s, a, s′) would silently accept any other."""
    model = world(
        lambda s, a: (s + 100, s[:, 0]),
        termination=lambda s, a, following: (s[:, 0] == 1) & (a[:, 0] == 0.5) & (following[:, 0] == 101),
    )
    assert take(model, 1.0, 2.0, 1.0, actions=[0.5, 0.5, 0.25]).terminations.tolist() == [True, False, False]


def test_a_rule_may_be_named() -> None:
    """Names are what a spec can hold."""
    model = world(termination="hopper")
    assert model.termination is hopper
    step = model.step(torch.tensor([[1.0, 0.1], [0.6, 0.1]]), torch.zeros(2, 1), generator())
    assert step.terminations.tolist() == [False, True]


# ---------------------------------------------------------------- divergence


def breaks(value: float, where: str, **options: Any) -> PenalizedModel:
    """Return a world that breaks down for states above those of its data, in one output or in the std of one member."""

    def mean(observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        bad = observations[:, 0] > 3
        following, rewards = observations + 1, observations[:, 0].clone()
        if where == "observation":
            following[bad, 1] = value
        elif where == "reward":
            rewards[bad] = value
        return following, rewards

    def std(observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        stds = torch.full((3, len(observations), 3), 0.125)
        if where == "std":
            stds[1, observations[:, 0] > 3, 0] = value
        return stds

    return world(mean, std=std, num_members=3, elites=[0, 2], **options)


BREAKDOWNS = [
    (value, where)
    for where in ("observation", "reward", "std")
    for value in (math.nan, math.inf, -math.inf)
    if (value, where) != (-math.inf, "std")
]


@pytest.mark.parametrize(("value", "where"), BREAKDOWNS)
def test_what_is_not_finite_ends_the_rollout_and_reaches_nobody(value: float, where: str) -> None:
    """One NaN in a replay buffer ruins every weight of the agent. Even the std of a member that is never drawn."""
    step = take(breaks(value, where, penalty_coef=2.0), 1.0, 4.0, 2.0)
    assert step.exits.bool().tolist() == step.terminations.tolist() == [False, True, False]
    for numbers in (step.next_observations, step.rewards, step.model_rewards, step.penalties):
        assert numbers.isfinite().all()
    assert step.next_observations[1].tolist() == [4.0, 4.0], "the last state that was finite"
    assert step.model_rewards[1] == LOWEST
    well = take(breaks(0.125, "std", penalty_coef=2.0), 1.0, 4.0, 2.0)
    for field in ("next_observations", "rewards", "model_rewards", "penalties", "terminations"):
        same = torch.equal(getattr(step, field)[[0, 2]], getattr(well, field)[[0, 2]])
        assert same, f"{field}: the neighbours see the same bits as if all were well"


def test_the_cheap_first_look_misses_nothing_and_ends_nothing() -> None:
    """It is a sum: infinities of both signs give NaN, and large but finite numbers overflow."""
    signs = torch.tensor([math.inf, -math.inf])
    assert take(world(lambda s, a: (s * signs, s[:, 0])), 1.0).exits.item() == NON_FINITE
    step = take(world(lambda s, a: (s * 3e38, s[:, 0])), 1.0)
    assert not step.exits.any()
    assert (step.next_observations == 3e38).all()


@pytest.mark.parametrize("penalty_coef", [0.0, 1.0])
def test_a_penalty_of_the_user_that_is_not_finite_ends_the_rollout(penalty_coef: float) -> None:
    """Even with λ = 0: 0·∞ is NaN, and would reach the reward of whoever switched the penalty off."""
    wrong = {4.0: math.inf, 5.0: math.nan}

    def u(said: Any) -> torch.Tensor:
        return torch.tensor([wrong.get(state, 1.0) for state in said.observations[:, 0].tolist()])

    step = take(world(penalty=u, penalty_coef=penalty_coef), 1.0, 4.0, 5.0)
    assert step.exits.tolist() == [0, NON_FINITE, NON_FINITE]
    assert step.rewards.tolist() == [1.0 - penalty_coef, *[100 * (LOWEST - penalty_coef)] * 2]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "returned",
    [torch.zeros(3, 1), torch.tensor(0.0), torch.zeros(1), torch.zeros(2), torch.zeros(1, 3)],
    ids=lambda tensor: str(tuple(tensor.shape)),
)
@pytest.mark.parametrize("option", ["penalty", "termination"])
def test_a_users_function_of_another_shape_is_refused(option: str, returned: torch.Tensor) -> None:
    """A column would broadcast (3,) against (3, 1) to (3, 3), a scalar to every row: both silently."""
    result = returned if option == "penalty" else returned.bool()
    with pytest.raises(ConfigError, match=rf"{option}: returned shape .*\(3,\)"):
        take(world(starts=range(3), **{option: lambda *_: result}), 0.0, 1.0, 2.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_a_rule_that_returns_no_booleans_is_refused(dtype: torch.dtype) -> None:
    """PyTorch's own error for a float names neither the rule nor what it should return."""
    with pytest.raises(ConfigError, match=rf"termination: returned shape .* of {dtype}, expected .* of torch.bool"):
        take(world(termination=lambda *_: torch.zeros(3, dtype=dtype)), 0.0, 1.0, 2.0)


def test_a_negative_penalty_is_refused() -> None:
    """A sign forgotten in a user's function would pay for uncertainty, and training would look better than ever."""
    with pytest.raises(ConfigError, match=r"penalty: returned -0\.5, expected 0 or more"):
        take(world(penalty=lambda said: said.observations[:, 0] - 0.5), 0.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty_coef": -0.1}, "penalty_coef: expected a finite number at least 0"),
        ({"penalty_coef": math.nan}, "penalty_coef: expected a finite number"),
        ({"member_per": "episode"}, "member_per: expected step or rollout, found 'episode'"),
        ({"deterministic": 1}, "deterministic: expected True or False, found 1"),
        ({"envelope_margin": -0.1}, "envelope_margin: expected a finite number at least 0"),
        ({"envelope_quantile": 1.1}, "envelope_quantile: expected a finite number at least 0 and at most 1"),
        ({"exit_reward": math.inf}, "exit_reward: expected a finite number"),
        ({"on_exit": "stop"}, "on_exit: expected terminate or truncate, found 'stop'"),
        ({"penalty": "nonesuch"}, "unknown penalty 'nonesuch'"),
        ({"termination": "nonesuch"}, "unknown termination 'nonesuch'"),
    ],
)
def test_a_wrong_option_is_named_when_the_model_is_built(options: dict[str, Any], message: str) -> None:
    """A negative λ rewards leaving the data; NaN poisons everything, one step later."""
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        world(**options)


def test_a_dataset_of_another_width_is_refused() -> None:
    """Broadcasting could hide it: one column fits any number."""
    model = StubEnsemble(2, 1, mean=stay)
    with pytest.raises(SpaceMismatchError, match=r"observations: the dataset's are 3 wide.*made for 2"):
        PenalizedModel(model, still_data(width=3))
    with pytest.raises(SpaceMismatchError, match=r"actions: the dataset's are 4 wide.*made for 1"):
        PenalizedModel(model, still_data(width=2, actions=np.zeros((2, 4))))


# ---------------------------------------------------------------- what a step's tensors are


def test_what_a_step_returns_can_be_trained_on() -> None:
    """Tensors of inference mode cannot: "Inference tensors cannot be saved for backward"."""
    ensemble, system = small_ensemble(), LinearGaussianSystem()
    step = PenalizedModel(ensemble, system.transitions()).step(torch.zeros(300, 2), torch.zeros(300, 1), generator())
    weight = torch.ones(2, 1, requires_grad=True)
    for tensor in (step.next_observations, ensemble.predict(torch.zeros(300, 2), torch.zeros(300, 1)).mean[0, :, :2]):
        assert not tensor.requires_grad
        (tensor @ weight).sum().backward()


def test_everything_stays_in_float32() -> None:
    """A float64 that slips in doubles every buffer downstream."""
    step = take(world(std=0.1), 0.0, 1.0)
    assert {step.next_observations.dtype, step.rewards.dtype, step.penalties.dtype} == {torch.float32}
    assert {step.terminations.dtype, step.truncations.dtype} == {torch.bool}
