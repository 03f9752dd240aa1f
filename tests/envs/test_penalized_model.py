"""The batched core: what a transition is, decided once for every environment around it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from mopo_env.envs.env import PenalizedModelEnv
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, InputError, SpaceMismatchError, UnknownNameError
from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.terminations import hopper
from mopo_env.toys import LinearGaussianSystem, StubEnsemble, TabularMDP, tabular_error
from mopo_env.transitions import Transitions

LOWEST = -7.0


def dataset(
    *, observations: Any = None, actions: Any = None, rewards: Any = None, width: int = 2, **options: Any
) -> Transitions:
    """Return rows of which the lowest reward is −7."""
    observations = np.arange(4.0)[:, None].repeat(width, 1) if observations is None else np.asarray(observations)
    rows = len(observations)
    return Transitions(
        observations=observations,
        actions=np.zeros((rows, 1)) if actions is None else actions,
        rewards=np.linspace(LOWEST, 5, rows) if rewards is None else rewards,
        next_observations=observations,
        terminations=np.zeros(rows),
        truncations=np.ones(rows),
        **options,
    )


def rows(*values: float, width: int = 2) -> torch.Tensor:
    return torch.tensor(values)[:, None].repeat(1, width)


def no_actions(count: int) -> torch.Tensor:
    return torch.zeros(count, 1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stay(observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return observations, observations[:, 0]


def stub(mean: Callable[..., Any] = stay, **options: Any) -> StubEnsemble:
    return StubEnsemble(2, 1, mean=mean, **options)


# ---------------------------------------------------------------- starts


def test_starts_are_rows_of_the_dataset_each_equally_likely() -> None:
    """Algorithm 2 starts from D_env, not from the initial states of episodes, nor from the first rows."""
    draws = PenalizedModel(stub(), dataset()).reset(20_000, generator())
    assert torch.equal(draws[:, 0], draws[:, 1])
    counts = torch.bincount(draws[:, 0].long(), minlength=4)
    assert counts.sum() == 20_000
    chi_square = ((counts - 5000) ** 2 / 5000).sum()
    assert chi_square < 16.3, "99.9 % of fair draws stay below this with three degrees of freedom"


def test_a_start_written_into_does_not_change_the_dataset() -> None:
    transitions = dataset()
    penalized_model = PenalizedModel(stub(), transitions)
    penalized_model.reset(100, generator())[:] = 99.0
    assert penalized_model.reset(100, generator()).max() == 3.0
    assert transitions.observations.max() == 3.0


# ---------------------------------------------------------------- rewards


@pytest.mark.parametrize("penalty_coef", [0, 0.5, 3.0])
def test_the_reward_is_the_models_less_lambda_times_the_penalty(penalty_coef: float) -> None:
    penalized_model = PenalizedModel(stub(std=[[0.3, 0.4, 1.2]]), dataset(), penalty_coef=penalty_coef)
    step = penalized_model.step(rows(1.0, 2.0, 3.0), no_actions(3), generator())
    torch.testing.assert_close(step.penalties, torch.full((3,), 1.3))
    torch.testing.assert_close(step.rewards, step.model_rewards - penalty_coef * 1.3)


def test_the_penalty_defaults_to_the_papers() -> None:
    """The norm of the std, with λ = 1."""
    step = PenalizedModel(stub(std=[[3.0, 0.0, 4.0]]), dataset()).step(rows(0.0), no_actions(1), generator())
    assert step.penalties.item() == 5.0
    assert step.rewards.item() == pytest.approx(step.model_rewards.item() - 5.0)


def test_a_penalty_may_be_a_function_of_state_and_action() -> None:
    """The prediction carries both, so a user's penalty need not be one of ours."""
    penalized_model = PenalizedModel(
        stub(), dataset(), penalty=lambda said: said.observations[:, 0] + 10 * said.actions[:, 0], penalty_coef=2.0
    )
    step = penalized_model.step(rows(1.0, 2.0), torch.tensor([[0.5], [-0.1]]), generator())
    torch.testing.assert_close(step.rewards, torch.tensor([1.0 - 2 * 6.0, 2.0 - 2 * 1.0]))


# ---------------------------------------------------------------- members


def test_draws_come_from_every_elite_and_from_nobody_else() -> None:
    """Offsets 10, 11, 12, 13 tell which member spoke; the elites are two of them. Never a mean, never one a batch."""
    model = stub(lambda s, a: (torch.zeros_like(s), torch.zeros(len(s))), offsets=[10, 11, 12, 13], elites=[1, 3])
    penalized_model, count = PenalizedModel(model, dataset(), penalty="none"), 20_000
    step = penalized_model.step(torch.zeros(count, 2), no_actions(count), generator())
    assert torch.equal(step.next_observations[:, 0], step.rewards)
    assert torch.equal(step.next_observations[:, 1], step.rewards)
    first, second = ((step.rewards == offset).sum().item() for offset in (11.0, 13.0))
    assert first + second == count
    chi_square = (first - second) ** 2 / count
    assert chi_square < 10.8, "99.9 % of fair draws stay below this with one degree of freedom"


def test_deterministic_steps_are_means_of_one_elite_a_row() -> None:
    """Noise of 9 is left out, the choice among members stays: the mean over members is nobody's prediction."""
    model = stub(lambda s, a: (s, s[:, 0]), std=9.0, offsets=[10, 20, 30], elites=[0, 2])
    observations, count = rows(1.0).repeat(2_000, 1), 2_000
    step = PenalizedModel(model, dataset(), deterministic=True).step(observations, no_actions(count), generator())
    assert set(step.model_rewards.tolist()) == {11.0, 31.0}
    assert torch.equal(step.next_observations[:, 0], step.model_rewards)
    assert torch.allclose(step.penalties, torch.tensor(9 * 3**0.5)), "what the model doubts is still paid for"
    drawn = PenalizedModel(model, dataset()).step(observations, no_actions(count), generator())
    assert len(set(drawn.model_rewards.tolist())) > 1_000, "the default draws"


def test_given_members_speak_for_their_rows() -> None:
    model = stub(lambda s, a: (s, s[:, 0]), offsets=[10, 20, 30])
    penalized_model = PenalizedModel(model, dataset(), member_per="rollout")
    step = penalized_model.step(rows(0.0, 0.0, 0.0), no_actions(3), generator(), torch.tensor([2, 0, 1]))
    assert step.model_rewards.tolist() == [30.0, 10.0, 20.0]
    with pytest.raises(InputError, match=r"members: .*pick_members"):
        penalized_model.step(rows(0.0), no_actions(1), generator())


def test_members_of_rollouts_are_elites_each_equally_likely() -> None:
    model = stub(offsets=[10, 20, 30], elites=[2, 0])
    members = PenalizedModel(model, dataset(), member_per="rollout").pick_members(20_000, generator())
    assert members is not None
    first, second = ((members == member).sum().item() for member in (0, 2))
    assert first + second == 20_000
    assert (first - second) ** 2 / 20_000 < 10.8
    assert PenalizedModel(model, dataset()).pick_members(5, generator()) is None


@pytest.mark.parametrize("options", [{"deterministic": True}, {"member_per": "rollout"}])
def test_members_are_asked_only_of_models_that_have_some(options: dict[str, Any]) -> None:
    """A tabular model has one opinion; accepting the option would promise what does not happen."""
    mdp = TabularMDP(probabilities=np.ones((2, 1, 2)) / 2, rewards=np.zeros((2, 1)), start=np.ones(2) / 2, discount=0.9)
    with pytest.raises(ConfigError, match="need a model with members, found a TabularModel without elites"):
        PenalizedModel(mdp.model(), mdp.transitions(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"member_per": "episode"}, "member_per: expected step or rollout, found 'episode'"),
        ({"member_per": True}, "member_per: expected step or rollout, found True"),
        ({"deterministic": 1}, "deterministic: expected True or False, found 1"),
        ({"halt_threshold": math.nan}, "halt_threshold: expected a finite number"),
        ({"halt_threshold": "1"}, "halt_threshold: expected a number"),
        ({"halt_threshold": 1.0, "halt_reward": math.inf}, "halt_reward: expected a finite number"),
    ],
)
def test_a_wrong_option_of_the_steps_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PenalizedModel(stub(), dataset(), **options)


# ---------------------------------------------------------------- halting


def doubt_is_the_state(prediction: Any) -> torch.Tensor:
    return prediction.observations[:, 0]


def test_halting_by_hand() -> None:
    """u = 1, 2 and 3 against a threshold of 2: only what is above it ends, and pays the halt's reward alone."""
    options: dict[str, Any] = {"penalty": doubt_is_the_state, "penalty_coef": 0.5}
    penalized_model = PenalizedModel(stub(), dataset(), halt_threshold=2.0, halt_reward=-30.0, **options)
    step = penalized_model.step(rows(1.0, 2.0, 3.0), no_actions(3), generator())
    assert step.terminations.tolist() == [False, False, True]
    assert step.rewards.tolist() == [0.5, 1.0, -30.0]
    assert step.model_rewards.tolist() == [1.0, 2.0, 3.0], "what the model paid is still told"
    assert step.penalties.tolist() == [1.0, 2.0, 3.0]
    assert not step.diverged.any()


def test_without_a_threshold_nothing_halts() -> None:
    penalized_model = PenalizedModel(stub(), dataset(), penalty=doubt_is_the_state, penalty_coef=0.0)
    step = penalized_model.step(rows(1.0, 1e6), no_actions(2), generator())
    assert not step.terminations.any()
    assert step.rewards.tolist() == [1.0, 1e6]


def test_halting_pays_by_default_what_the_largest_loss_for_ever_is_worth() -> None:
    """R_max = 7 in this dataset: −7 / (1 − 0.99). A halt that paid less than going on would be sought."""
    penalized_model = PenalizedModel(stub(), dataset(), penalty=doubt_is_the_state, halt_threshold=2.0)
    step = penalized_model.step(rows(3.0), no_actions(1), generator())
    assert step.rewards.tolist() == [-700.0]
    every_step = PenalizedModel(stub(), dataset(rewards=np.ones(4)), penalty=doubt_is_the_state, halt_threshold=2.0)
    assert every_step.halt_reward == -100.0, "where all rewards are positive, too"


def test_halting_leaves_other_ends_alone() -> None:
    """A state that is terminal by the rule, or not finite, ends as before and is paid as before."""
    broken = stub(lambda s, a: (s, torch.where(s[:, 0] == 1, torch.inf, s[:, 0])))
    penalized_model = PenalizedModel(
        broken,
        dataset(),
        penalty=doubt_is_the_state,
        penalty_coef=0.0,
        halt_threshold=5.0,
        termination=lambda s, a, following: following[:, 0] == 2,
    )
    step = penalized_model.step(rows(1.0, 2.0, 3.0), no_actions(3), generator())
    assert step.terminations.tolist() == [True, True, False]
    assert step.rewards.tolist() == [LOWEST, 2.0, 3.0]


def test_halting_in_an_absorbing_world_is_morels_process() -> None:
    """Three states: unsure ones halt. The return of h steps is that of the process in which they are absorbing."""
    step_reward, halt_reward, threshold = 1.0, -5.0, 0.5
    model = stub(lambda s, a: (s + 1, torch.full((len(s),), step_reward)))
    starts = dataset(observations=np.zeros((2, 2)))
    penalized_model = PenalizedModel(
        model,
        starts,
        penalty=lambda prediction: (prediction.observations[:, 0] >= 3).float(),
        penalty_coef=0.0,
        halt_threshold=threshold,
        halt_reward=halt_reward,
    )
    env = PenalizedModelEnv(penalized_model, horizon=100)
    env.reset(seed=0)
    rewards, terminated = [], False
    while not terminated:
        _, reward, terminated, truncated, _ = env.step(np.zeros(1))
        rewards.append(float(reward))
        assert not truncated
    assert rewards == [1.0, 1.0, 1.0, -5.0]


def test_the_penalty_counts_members_that_are_never_drawn() -> None:
    model = stub(std=[[0.0, 0.0, 0.0], [0.0, 0.0, 50.0]], elites=[0])
    step = PenalizedModel(model, dataset()).step(rows(1.0), no_actions(1), generator())
    assert step.model_rewards.item() == 1.0
    assert step.rewards.item() == -49.0


# ---------------------------------------------------------------- clipping


class _Records:
    """A model that remembers what it was asked."""

    device = torch.device("cpu")
    observation_dim, action_dim = 2, 1

    def __init__(self) -> None:
        self.model = stub()

    def predict(self, observations: torch.Tensor, actions: torch.Tensor) -> Any:
        self.asked = observations.clone(), actions.clone()
        return self.model.predict(observations, actions)


def test_actions_are_clipped_before_model_and_rule_see_them() -> None:
    """The real environments clip too; a policy must not be paid for a force that no motor has."""
    seen = []

    def rule(observations: torch.Tensor, actions: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        seen.append(actions)
        return torch.zeros(len(actions), dtype=torch.bool)

    model = _Records()
    space = Box(np.array([-0.5], np.float32), np.array([2.0], np.float32))
    penalized_model = PenalizedModel(model, dataset(action_space=space), termination=rule)
    penalized_model.step(rows(0.0, 0.0, 0.0), torch.tensor([[-9.0], [1.0], [9.0]]), generator())
    expected = torch.tensor([[-0.5], [1.0], [2.0]])
    assert torch.equal(model.asked[1], expected)
    assert torch.equal(seen[0], expected)


def test_unbounded_actions_are_left_alone() -> None:
    model = _Records()
    penalized_model = PenalizedModel(model, dataset(action_space=Box(-np.inf, np.inf, (1,), np.float32)))
    penalized_model.step(rows(0.0), torch.tensor([[1e6]]), generator())
    assert model.asked[1].item() == 1e6


def test_observations_are_clipped_to_their_space() -> None:
    """An environment that leaves its own space breaks every agent that trusts it; half-bounded columns count too."""
    space = Box(np.array([-1.0, -np.inf], np.float32), np.array([1.0, 2.0], np.float32))
    transitions = dataset(observations=np.zeros((2, 2)), observation_space=space)
    penalized_model = PenalizedModel(stub(lambda s, a: (10 * s, s[:, 0])), transitions, penalty="none")
    step = penalized_model.step(torch.tensor([[0.5, 0.5], [-0.5, -0.5], [0.01, 0.01]]), no_actions(3), generator())
    torch.testing.assert_close(step.next_observations, torch.tensor([[1.0, 2.0], [-1.0, -5.0], [0.1, 0.1]]))
    assert all(space.contains(observation) for observation in step.next_observations.numpy())
    assert not step.diverged.any()


def test_the_rule_judges_the_state_that_is_shown() -> None:
    space = Box(-1.0, 1.0, (2,), np.float32)
    transitions = dataset(observations=np.zeros((2, 2)), observation_space=space)
    penalized_model = PenalizedModel(
        stub(lambda s, a: (s + 5, s[:, 0])), transitions, termination=lambda s, a, following: following[:, 0] > 2
    )
    assert not penalized_model.step(rows(0.0), no_actions(1), generator()).terminations.any()


# ---------------------------------------------------------------- termination


def test_the_rule_sees_start_action_and_end() -> None:
    """In this order; a rule written for (s, a, s′) would silently accept any other."""
    penalized_model = PenalizedModel(
        stub(lambda s, a: (s + 100, s[:, 0])),
        dataset(),
        termination=lambda s, a, following: (s[:, 0] == 1) & (a[:, 0] == 0.5) & (following[:, 0] == 101),
    )
    actions = torch.tensor([[0.5], [0.5], [0.25]])
    assert penalized_model.step(rows(1.0, 2.0, 1.0), actions, generator()).terminations.tolist() == [True, False, False]


def test_a_rule_may_be_named() -> None:
    penalized_model = PenalizedModel(stub(), dataset(), termination="hopper")
    assert penalized_model.termination is hopper
    step = penalized_model.step(torch.tensor([[1.0, 0.1], [0.6, 0.1]]), no_actions(2), generator())
    assert step.terminations.tolist() == [False, True]


# ---------------------------------------------------------------- divergence


def breaks(value: float, where: str) -> StubEnsemble:
    """Return a model that breaks down for states above 2, in one output or in the std of one member."""

    def mean(observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        bad = observations[:, 0] > 2
        following, rewards = observations + 1, observations[:, 0].clone()
        if where == "observation":
            following[bad, 1] = value
        elif where == "reward":
            rewards[bad] = value
        return following, rewards

    def std(observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        stds = torch.full((3, len(observations), 3), 0.125)
        if where == "std":
            stds[1, observations[:, 0] > 2, 0] = value
        return stds

    return StubEnsemble(2, 1, mean=mean, std=std, num_members=3, elites=[0, 2])


BREAKDOWNS = [
    (value, where)
    for where in ("observation", "reward", "std")
    for value in (math.nan, math.inf, -math.inf)
    if (value, where) != (-math.inf, "std")
]


@pytest.mark.parametrize(("value", "where"), BREAKDOWNS)
def test_what_is_not_finite_ends_the_branch_and_reaches_nobody(value: float, where: str) -> None:
    """One NaN in a replay buffer ruins every weight of the agent. Even the std of a member that is never drawn."""
    penalized_model = PenalizedModel(breaks(value, where), dataset(), penalty_coef=2.0)
    start = rows(1.0, 3.0, 2.0)
    step = penalized_model.step(start, no_actions(3), generator())
    assert step.diverged.tolist() == [False, True, False]
    assert step.terminations.tolist() == [False, True, False]
    for numbers in (step.next_observations, step.rewards, step.model_rewards, step.penalties):
        assert numbers.isfinite().all()
    assert torch.equal(step.next_observations[1], start[1]), "the last state that was finite"
    assert step.rewards[1] == step.model_rewards[1] == LOWEST, "no less than the worst on record: it must not pay off"
    assert step.penalties[1] == 0.0


@pytest.mark.parametrize(("value", "where"), BREAKDOWNS)
def test_one_row_that_breaks_down_leaves_the_others_untouched(value: float, where: str) -> None:
    """Its neighbours see the same bits as if all were well."""
    broken = PenalizedModel(breaks(value, where), dataset()).step(rows(1.0, 3.0, 2.0), no_actions(3), generator())
    well = PenalizedModel(breaks(0.125, "std"), dataset()).step(rows(1.0, 3.0, 2.0), no_actions(3), generator())
    for field in ("next_observations", "rewards", "model_rewards", "penalties", "terminations"):
        assert torch.equal(getattr(broken, field)[[0, 2]], getattr(well, field)[[0, 2]])


def test_infinities_of_both_signs_do_not_cancel() -> None:
    """Their sum is NaN, and a check of the sum alone must notice either."""
    penalized_model = PenalizedModel(stub(lambda s, a: (s * torch.tensor([math.inf, -math.inf]), s[:, 0])), dataset())
    assert penalized_model.step(rows(1.0), no_actions(1), generator()).diverged.item()


def test_numbers_that_are_large_but_finite_go_on() -> None:
    """Their sum overflows, and is only the cheap first look."""
    penalized_model = PenalizedModel(stub(lambda s, a: (s * 3e38, s[:, 0])), dataset())
    step = penalized_model.step(rows(1.0), no_actions(1), generator())
    assert not step.diverged.any()
    assert (step.next_observations == 3e38).all()


def test_a_penalty_of_the_user_that_is_not_finite_ends_the_branch() -> None:
    penalized_model = PenalizedModel(
        stub(), dataset(), penalty=lambda said: torch.where(said.observations[:, 0] > 2, math.nan, 1.0)
    )
    step = penalized_model.step(rows(1.0, 3.0), no_actions(2), generator())
    assert step.diverged.tolist() == [False, True]
    assert step.rewards.tolist() == [0.0, LOWEST]


def test_a_penalty_that_is_not_finite_counts_even_at_lambda_zero() -> None:
    """0·∞ is NaN: without the check it would reach the reward of whoever switched the penalty off."""
    step = PenalizedModel(breaks(math.inf, "std"), dataset(), penalty_coef=0.0).step(
        rows(3.0), no_actions(1), generator()
    )
    assert step.rewards.tolist() == [LOWEST]


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
    penalized_model = PenalizedModel(stub(), dataset(), **{option: lambda *_: result})
    with pytest.raises(ConfigError, match=rf"{option}: returned shape .*\(3,\)"):
        penalized_model.step(rows(0.0, 1.0, 2.0), no_actions(3), generator())


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_a_rule_that_returns_no_booleans_is_refused(dtype: torch.dtype) -> None:
    """PyTorch's own error for a float names neither the rule nor what it should return."""
    penalized_model = PenalizedModel(stub(), dataset(), termination=lambda *_: torch.zeros(3, dtype=dtype))
    with pytest.raises(ConfigError, match=rf"termination: returned shape .* of {dtype}, expected .* of torch.bool"):
        penalized_model.step(rows(0.0, 1.0, 2.0), no_actions(3), generator())


def test_a_negative_penalty_is_refused() -> None:
    """A sign forgotten in a user's function would pay for uncertainty, and training would look better than ever."""
    penalized_model = PenalizedModel(stub(), dataset(), penalty=lambda said: torch.tensor([0.0, -0.5, 1.0]))
    with pytest.raises(ConfigError, match=r"penalty: returned -0\.5, expected 0 or more"):
        penalized_model.step(rows(0.0, 1.0, 2.0), no_actions(3), generator())


def test_what_a_step_returns_can_be_trained_on() -> None:
    """Tensors of inference mode cannot: "Inference tensors cannot be saved for backward"."""
    ensemble = GaussianEnsemble(2, 1, num_members=2, hidden_sizes=(4,))
    system = LinearGaussianSystem()
    step = PenalizedModel(ensemble, system.transitions()).step(torch.zeros(300, 2), torch.zeros(300, 1), generator())
    weight = torch.ones(2, 1, requires_grad=True)
    for tensor in (step.next_observations, ensemble.predict(torch.zeros(300, 2), torch.zeros(300, 1)).mean[0, :, :2]):
        assert not tensor.requires_grad
        (tensor @ weight).sum().backward()


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, "1", None, True])
def test_a_coefficient_that_makes_no_penalty_is_refused(wrong: Any) -> None:
    """A negative λ rewards leaving the data; NaN poisons everything, one step later."""
    with pytest.raises(ConfigError, match="penalty_coef"):
        PenalizedModel(stub(), dataset(), penalty_coef=wrong)


@pytest.mark.parametrize("option", ["penalty", "termination"])
def test_an_unknown_name_is_refused_when_built(option: str) -> None:
    with pytest.raises(UnknownNameError, match=option):
        PenalizedModel(stub(), dataset(), **{option: "nonesuch"})


def test_a_dataset_of_another_width_is_refused() -> None:
    """Broadcasting could hide it: one column fits any number."""
    with pytest.raises(SpaceMismatchError, match=r"observations: the dataset's are 3 wide.*made for 2"):
        PenalizedModel(stub(), dataset(width=3))
    with pytest.raises(SpaceMismatchError, match=r"actions: the dataset's are 4 wide.*made for 1"):
        PenalizedModel(stub(), dataset(actions=np.zeros((4, 4))))


# ---------------------------------------------------------------- randomness and dtypes


def test_the_generator_decides_the_step() -> None:
    system = LinearGaussianSystem()
    penalized_model = PenalizedModel(system.model(), system.transitions(num_episodes=2, num_steps=5))
    start = torch.zeros(5, 2)
    first, again, other = (penalized_model.step(start, no_actions(5), generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.next_observations, again.next_observations)
    assert torch.equal(first.rewards, again.rewards)
    assert not torch.equal(first.next_observations, other.next_observations)


def test_any_model_of_the_protocol_will_do() -> None:
    """The core must not lean on Gaussians: here the next state is one of three."""
    mdp = TabularMDP(
        probabilities=np.eye(3)[np.array([[1, 2], [2, 0], [0, 1]])],
        rewards=np.arange(6.0).reshape(3, 2),
        start=np.array([1.0, 0.0, 0.0]),
        discount=0.9,
    )
    error = np.full((3, 2), 0.5)
    penalized_model = PenalizedModel(mdp.model(error), mdp.transitions(), penalty=tabular_error, penalty_coef=2.0)
    step = penalized_model.step(torch.eye(3), torch.tensor([[1.0, -1.0], [-1.0, 1.0], [1.0, -1.0]]), generator())
    assert step.next_observations.argmax(dim=1).tolist() == [1, 0, 0]
    assert step.rewards.tolist() == [0.0 - 1, 3.0 - 1, 4.0 - 1]


def test_everything_stays_in_float32() -> None:
    """A float64 that slips in doubles every buffer downstream."""
    system = LinearGaussianSystem()
    penalized_model = PenalizedModel(system.model(), system.transitions(num_episodes=2, num_steps=5))
    step = penalized_model.step(penalized_model.reset(3, generator()), no_actions(3), generator())
    assert {step.next_observations.dtype, step.rewards.dtype, step.penalties.dtype} == {torch.float32}
    assert {step.terminations.dtype, step.diverged.dtype} == {torch.bool}
