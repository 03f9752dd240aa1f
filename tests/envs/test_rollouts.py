"""Rollouts restart where they end, one by one, and forget nothing of what the agent needs to store."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import LOWEST, count_up, generator, penalized_model

from mopo_env.envs.envelope import NON_FINITE
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.envs.rollouts import Rollouts
from mopo_env.errors import ConfigError, InputError
from mopo_env.toys import LinearGaussianSystem


def started(model: PenalizedModel, num_rollouts: int, horizon: int) -> tuple[Rollouts, np.ndarray]:
    rollouts = Rollouts(model, num_rollouts=num_rollouts, horizon=horizon)
    return rollouts, rollouts.reset(generator())


def counting(starts: Any, **options: Any) -> PenalizedModel:
    """Return a world that counts up by one and pays what it reached; its starts tell one row from another."""
    return penalized_model(count_up, starts=starts, **options)


def still(num_rollouts: int) -> np.ndarray:
    return np.zeros((num_rollouts, 1), np.float32)


def test_a_rollout_of_h_steps_by_hand() -> None:
    """Start 10, horizon 3: rewards 11, 12, 13, then a fresh start."""
    rollouts, observations = started(counting([10, 10]), 2, 3)
    assert observations.tolist() == [[10], [10]]
    for length, value in enumerate([11.0, 12.0], start=1):
        step = rollouts.step(still(2))
        assert step.observations.tolist() == step.final_observations.tolist() == [[value]] * 2
        assert step.rewards.tolist() == [value] * 2
        assert step.lengths.tolist() == [length] * 2
        assert not step.dones.any()
    step = rollouts.step(still(2))
    assert step.truncations.tolist() == [True, True]
    assert step.terminations.tolist() == [False, False]
    assert step.final_observations.tolist() == [[13], [13]]
    assert step.observations.tolist() == [[10], [10]]
    assert step.returns.tolist() == [36, 36]
    assert step.lengths.tolist() == [3, 3]
    after = rollouts.step(still(2))
    assert after.returns.tolist() == [11, 11], "a return must not run on into the next rollout"
    assert after.lengths.tolist() == [1, 1]


def test_each_rollout_ends_and_restarts_on_its_own() -> None:
    """A bookkeeping that mixes rows is right on average and wrong in every transition: simulate it in plain Python."""
    starts = [0.0, 100.0, 200.0, 300.0, 296.0, 297.0]
    rollouts, observations = started(counting(starts, end_above=300), 40, 4)
    here, length, total = observations[:, 0].copy(), np.zeros(40, int), np.zeros(40)
    ends = {"terminated": 0, "truncated": 0, "both": 0}
    for _ in range(30):
        step = rollouts.step(still(40))
        here, length = here + 1, length + 1
        total = total + here
        np.testing.assert_array_equal(step.final_observations[:, 0], here)
        np.testing.assert_array_equal(step.rewards, here)
        np.testing.assert_array_equal(step.terminations, here > 300)
        np.testing.assert_array_equal(step.truncations, length == 4)
        np.testing.assert_array_equal(step.lengths, length)
        np.testing.assert_allclose(step.returns, total, rtol=1e-6)
        np.testing.assert_array_equal(step.dones, step.terminations | step.truncations)
        ends["terminated"] += int((step.terminations & ~step.truncations).sum())
        ends["truncated"] += int((step.truncations & ~step.terminations).sum())
        ends["both"] += int((step.truncations & step.terminations).sum())
        goes_on = ~step.dones
        np.testing.assert_array_equal(step.observations[goes_on, 0], here[goes_on])
        assert set(step.observations[step.dones, 0].tolist()) <= set(starts)
        here = step.observations[:, 0].copy()
        length[step.dones], total[step.dones] = 0, 0
    assert min(ends.values()) > 0, f"every kind of end must occur: {ends}"


def test_restarts_are_drawn_anew() -> None:
    """Restarting all in one state, or each where it began, would narrow what the agent sees to b states."""
    rollouts, first = started(counting(range(1000)), 500, 1)
    second = rollouts.step(still(500)).observations
    third = rollouts.step(still(500)).observations
    assert len(np.unique(second)) > 300, "500 of 1000 leave 394 ± 9 different ones"
    assert (first != second).mean() > 0.9
    assert (second != third).mean() > 0.9


def test_every_step_yields_all_rollouts() -> None:
    """Algorithm 2 stores b transitions a step; rollouts that die early must not leave holes."""
    rollouts, _ = started(counting([0, 0], end_above=1), 7, 5)
    for _ in range(10):
        step = rollouts.step(still(7))
        assert len(step.rewards) == 7
        assert (step.final_observations <= 2).all(), "nothing may roll on past its end"


def speakers(member_per: str, horizon: int, num_steps: int) -> np.ndarray:
    """Return which of three members spoke, shape ``(step, rollout)``: each pays its own number."""
    model = penalized_model(lambda s, a: (s, torch.zeros(len(s))), offsets=[1, 2, 3], member_per=member_per)
    rollouts, _ = started(model, 200, horizon)
    return np.stack([rollouts.step(still(200)).rewards for _ in range(num_steps)])


def test_a_member_may_speak_for_a_whole_rollout() -> None:
    """TS-∞: the same one for h steps, then a new draw; with TS-1, the default, every step draws."""
    kept = speakers("rollout", horizon=4, num_steps=12).reshape(3, 4, 200)
    assert (kept == kept[:, :1]).all()
    assert set(kept.ravel()) == {1.0, 2.0, 3.0}
    for before, after in ((0, 1), (1, 2)):
        share = (kept[before, 0] == kept[after, 0]).mean()
        assert abs(share - 1 / 3) < 5 * np.sqrt(2 / 9 / 200), "a restart draws anew"
    drawn = speakers("step", horizon=4, num_steps=12)
    assert abs((drawn[1:] == drawn[:-1]).mean() - 1 / 3) < 5 * np.sqrt(2 / 9 / 2200)


def test_only_rollouts_that_end_get_another_member() -> None:
    """Half of the rollouts end after a step; the others must keep theirs through it."""
    model = penalized_model(
        lambda s, a: (s, torch.zeros(len(s))),
        starts=range(100),
        offsets=np.arange(50) * 1000.0,
        member_per="rollout",
        termination=lambda s, a, following: following[:, 0] % 2 == 1,
    )
    rollouts, _ = started(model, 100, 50)
    first = rollouts.step(still(100))
    ended = first.terminations
    assert 20 < ended.sum() < 80
    second = rollouts.step(still(100))
    assert (first.rewards == second.rewards)[~ended].all()
    assert (first.rewards == second.rewards)[ended].mean() < 0.2


def test_penalty_and_model_reward_are_reported_apart() -> None:
    model = counting([5, 5], penalty=lambda said: said.observations[:, 0], penalty_coef=2.0)
    step = started(model, 3, 4)[0].step(still(3))
    assert step.model_rewards.tolist() == [6, 6, 6]
    assert step.penalties.tolist() == [5, 5, 5]
    assert step.rewards.tolist() == [-4, -4, -4]
    assert step.returns.tolist() == [-4, -4, -4]


def test_a_rollout_that_diverges_restarts() -> None:
    model = penalized_model(lambda s, a: (s * math.nan, s[:, 0]), starts=[1, 1])
    rollouts, _ = started(model, 2, 5)
    for _ in range(3):
        step = rollouts.step(still(2))
        assert (step.exits == NON_FINITE).all()
        assert step.terminations.all()
        assert step.rewards.tolist() == [100 * LOWEST, 100 * LOWEST]
        assert step.observations.tolist() == [[1], [1]]
        assert step.lengths.tolist() == [1, 1]


def test_a_reset_forgets_what_was_under_way() -> None:
    rollouts, _ = started(counting([10, 10]), 2, 3)
    rollouts.step(still(2))
    rollouts.reset(generator(1))
    step = rollouts.step(still(2))
    assert step.lengths.tolist() == [1, 1]
    assert step.returns.tolist() == [11, 11]


@pytest.mark.parametrize("horizon", [1, 50])
def test_writing_into_what_was_returned_moves_nothing(horizon: int) -> None:
    """SB3's buffers and wrappers normalise in place; the rollouts must keep their own state."""
    system = LinearGaussianSystem()
    model = PenalizedModel(system.model(), system.transitions(num_episodes=2, num_steps=10))

    def rollout(vandal: bool) -> list[np.ndarray]:
        rollouts, observations = started(model, 4, horizon)
        seen = [observations.copy()]
        if vandal:
            observations[:] = 1e6
        for _ in range(5):
            action = np.full((4, 1), 0.3, np.float32)
            step = rollouts.step(action)
            seen += [np.array(field) for field in step]
            if vandal:
                action[:] = 1e6
                for field in step:
                    field[:] = 1
        return seen

    for quiet, loud in zip(rollout(False), rollout(True), strict=True):
        np.testing.assert_array_equal(quiet, loud)


def test_no_array_is_handed_out_twice() -> None:
    """A buffer that stores without a copy would find its rows rewritten by the next step."""
    rollouts, first = started(counting([10, 10]), 2, 3)
    kept = [first]
    for _ in range(4):
        step = rollouts.step(still(2))
        for name, array in step._asdict().items():
            assert not any(np.shares_memory(array, other) for other in kept), name
        kept += [step.observations, step.rewards, step.returns, step.lengths, step.terminations, step.truncations]


@pytest.mark.parametrize(("option", "named"), [("num_rollouts", "num_envs"), ("horizon", "horizon")])
def test_sizes_are_checked(option: str, named: str) -> None:
    """`num_rollouts` is named as the user knows it: the environments' `num_envs`."""
    with pytest.raises(ConfigError, match=named):
        Rollouts(counting([0, 0]), **{"num_rollouts": 2, "horizon": 2, option: 0})


@pytest.mark.parametrize("actions", [np.zeros((3, 1)), np.zeros(2), np.array([[0.0], [np.nan]])], ids=repr)
def test_actions_that_are_no_actions_are_refused_and_change_nothing(actions: np.ndarray) -> None:
    """A refused step must not count: the next good one continues where the last good one ended."""
    rollouts, _ = started(counting([10, 10]), 2, 3)
    with pytest.raises(InputError, match="actions"):
        rollouts.step(actions)
    step = rollouts.step(still(2))
    assert step.observations.tolist() == [[11], [11]]
    assert step.lengths.tolist() == [1, 1]


@pytest.mark.parametrize("member_per", ["step", "rollout"])
def test_a_state_continues_in_the_middle_of_rollouts(member_per: Any) -> None:
    """Places, members, lengths and returns: a run that was killed must see the same future bit for bit."""
    starts = [0.0, 100.0, 200.0, 300.0]
    model = counting(starts, end_above=302, offsets=[0.0, 0.5, 1.0], member_per=member_per)
    rollouts, _ = started(model, 40, 5)
    for _ in range(3):
        rollouts.step(still(40))
    state = {name: tensor.clone() for name, tensor in rollouts.get_state().items()}
    words = rollouts._generator.get_state()
    expected = [rollouts.step(still(40)) for _ in range(8)]
    other = Rollouts(model, num_rollouts=40, horizon=5)
    other.set_state(state, generator(1).set_state(words))
    for step in expected:
        for name, found, wanted in zip(step._fields, other.step(still(40)), step, strict=True):
            np.testing.assert_array_equal(found, wanted, err_msg=name)
