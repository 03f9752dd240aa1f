"""The envelope: what ends a rollout that leaves the data, by hand, and that leaving never pays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import generator, penalized_model
from hypothesis import given
from hypothesis import strategies as st

from mopo_env.envs.env import PenalizedModelEnv
from mopo_env.envs.envelope import EXITS, NON_FINITE, OUTSIDE, UNCERTAIN
from mopo_env.envs.penalized_model import ModelStep, PenalizedModel
from mopo_env.errors import ConfigError

# The data: states 0, 1, 2 and 3 that stay where they are, and are paid −2, −1, 0 and 2.
REWARDS = [-2.0, -1.0, 0.0, 2.0]


def world(**options: Any) -> PenalizedModel:
    """Return a world that moves by its action and is paid a constant, with u(s, a) = |s|."""
    options = {"penalty": u_is_the_state, "penalty_coef": 0.5, "rewards": REWARDS, "starts": range(4), **options}
    return penalized_model(options.pop("mean", lambda s, a: (s + 10 * a, 0 * s[:, 0])), **options)


def u_is_the_state(prediction: Any) -> torch.Tensor:
    return prediction.observations[:, 0].abs()


def take(model: PenalizedModel, *moves: float, start: float = 1.0) -> ModelStep:
    starts = torch.full((len(moves), model.transitions.observation_dim), start)
    return model.step(starts, torch.tensor(moves)[:, None] / 10, generator())


def test_the_range_of_the_data_by_hand() -> None:
    """Next states lie in 0…3. Half of that range more allows −1.5…4.5, and no more."""
    step = take(world(envelope_margin=0.5), -2.4, 3.5, 3.6, -2.6)
    assert step.exits.tolist() == [0, 0, OUTSIDE, OUTSIDE]
    assert step.terminations.tolist() == [False, False, True, True]
    assert step.next_observations[:, 0].tolist() == pytest.approx([-1.4, 4.5, 4.5, -1.5]), "clipped to the edge"
    assert not take(world(), 1e3, 1e30).exits.any(), "without a margin there is no edge"


def test_a_reward_beyond_the_data_is_outside_too() -> None:
    """A model that pays 20,000 a step is wrong, whatever its next state."""
    step = take(world(mean=lambda s, a: (s, 100 * a[:, 0]), envelope_margin=0.25), 0.25, 0.35, -0.25, -0.35)
    assert step.model_rewards.tolist() == pytest.approx([2.5, 3.5, -2.5, -3.5])
    assert step.exits.tolist() == [0, OUTSIDE, 0, OUTSIDE]


def test_a_column_that_never_changes_has_no_bounds() -> None:
    """Its range of zero says nothing about its units. A model's noise of 1e-6 must not end every rollout."""
    step = take(world(starts=[1, 1, 1, 1], envelope_margin=0.1), 1e-6, 100.0)
    assert not step.exits.any()


def test_the_largest_uncertainty_of_the_data_by_hand() -> None:
    """u is 0, 1, 2 and 3 on the data. Equal is allowed; above the quantile is not."""
    for quantile, limit in ((1.0, 3.0), (0.5, 1.5), (0.0, 0.0)):
        model = world(envelope_quantile=quantile)
        assert model.envelope.penalty_limit == limit
        assert take(model, 0.0, start=limit).exits.tolist() == [0]
        assert take(model, 0.0, start=limit + 0.1).exits.tolist() == [UNCERTAIN]


def test_every_reason_has_one_price() -> None:
    """100·(r_min − λ·u_max) = 100·(−2 − 0.5·3): nothing on the data can be worth less, for ever, at γ = 0.99."""
    model = world(
        mean=lambda s, a: (torch.where(a > 0.5, torch.nan, s + 10 * a), 0 * s[:, 0]),
        envelope_margin=0.5,
        envelope_quantile=1.0,
    )
    steps = [take(model, 9.0), take(model, 4.0), take(model, 0.0, start=3.5)]
    assert [step.exits.item() for step in steps] == [NON_FINITE, OUTSIDE, UNCERTAIN]
    assert [step.rewards.item() for step in steps] == [-350.0] * 3
    assert steps[0].penalties.item() == 3.0, "what broke down is as uncertain as anything on the data"
    assert take(model, 9.0, start=3.5).exits.item() == NON_FINITE, "the first reason counts"


@given(
    rewards=st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=4),
    penalty_coef=st.floats(0, 10),
    policy=st.lists(st.integers(0, 3), min_size=1, max_size=50),
)
def test_leaving_never_pays(rewards: list[float], penalty_coef: float, policy: list[int]) -> None:
    """Any way through the data, of any length, is worth at least as much. In tasks that only cost, divergence paid."""
    model = world(rewards=rewards, penalty_coef=penalty_coef)
    paid = [rewards[state] - penalty_coef * state for state in policy]
    value = sum(0.99**step * reward for step, reward in enumerate(paid))
    assert model.envelope.exit_reward <= value + 1e-3 * (1 + abs(value))


def test_a_price_may_be_named() -> None:
    """MOReL's halting has a price of its own."""
    assert take(world(envelope_margin=0.5, exit_reward=7.5), 9.0).rewards.item() == 7.5


def test_leaving_may_truncate() -> None:
    """The step pays the worst of the data, −2 − 0.5·3, and the agent bootstraps; what ends by the rule stays ended."""
    model = world(envelope_margin=0.5, on_exit="truncate", termination=lambda s, a, following: following[:, 0] < -1)
    step = take(model, 9.0, -9.0, 0.0)
    assert step.exits.tolist() == [OUTSIDE, OUTSIDE, 0]
    assert step.truncations.tolist() == [True, False, False]
    assert step.terminations.tolist() == [False, True, False]
    assert step.rewards.tolist() == [-3.5, -3.5, -0.5]
    env = PenalizedModelEnv(model, horizon=100)
    env.reset(options={"observation": np.array([1.0])})
    *_, terminated, truncated, info = env.step(np.array([0.9], dtype=np.float32))
    assert (terminated, truncated, info["exit"]) == (False, True, "outside")


def test_who_leaves_in_every_step_pays_as_if_it_were_the_end() -> None:
    """The two prices agree: the worst reward in every step from now on, at γ = 0.99."""
    one, other = (world(on_exit=on_exit).envelope.exit_reward for on_exit in ("truncate", "terminate"))
    assert one / (1 - 0.99) == pytest.approx(other)


def test_lambda_in_units_of_the_mean_penalty() -> None:
    """u is 0, 1, 2 and 3, so λ = 0.5 pays 0.75 on average, in whatever units u is."""
    assert world(penalty_coef=None, mean_penalty=0.75).penalty_coef == 0.5
    in_grams = world(penalty_coef=None, mean_penalty=0.75, penalty=lambda said: 1000 * u_is_the_state(said))
    assert in_grams.penalty_coef == pytest.approx(0.5 / 1000)
    with pytest.raises(ConfigError, match=r"penalty_coef, mean_penalty: found both"):
        world(mean_penalty=0.75)
    with pytest.raises(ConfigError, match=r"mean_penalty: found 1, but u is 0 everywhere"):
        world(penalty_coef=None, mean_penalty=1.0, penalty="none")


def test_reasons_have_names() -> None:
    assert [EXITS[code] for code in (0, NON_FINITE, OUTSIDE, UNCERTAIN)] == ["", "non-finite", "outside", "uncertain"]


def test_a_penalty_that_is_not_finite_on_the_data_is_refused() -> None:
    """Its largest value decides the price of leaving. The message says where."""
    with pytest.raises(ConfigError, match=r"penalty: u is not finite on the data, first in .*2.*mopo model show"):
        world(penalty=lambda said: torch.where(said.observations[:, 0] == 2, torch.inf, 0.0))
