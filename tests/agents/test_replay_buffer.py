"""What a batch of D_env ∪ D_model holds: the exact share, the true flags, and nothing stale or empty."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers.agents import make_small, set_global_seed
from helpers.transitions import transitions
from stable_baselines3 import SAC
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from mopo_agents.replay_buffer import MixedReplayBuffer
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, SpaceMismatchError
from mopo_env.toys import LinearGaussianSystem, StubEnsemble
from mopo_env.transitions import Transitions

# Observations from here on are real: model rows never get that far.
REAL = 1_000.0
OBSERVATIONS = Box(-np.inf, np.inf, (2,), np.float32)
ACTIONS = Box(-1.0, 1.0, (1,), np.float32)


def real_rows(num_rows: int = 50, *, width: int = 2, **changes: Any) -> Transitions:
    """Rows whose every column tells the row: s = 1000 + i, a = i/rows, r = i, s′ = 2000 + i."""
    row = np.arange(num_rows, dtype=np.float32)
    arrays: dict[str, Any] = {
        "observations": np.repeat(REAL + row[:, None], width, axis=1),
        "actions": row[:, None] / num_rows,
        "rewards": row,
        "next_observations": np.repeat(2 * REAL + row[:, None], width, axis=1),
    }
    return transitions(num_rows, **{**arrays, **changes})


def make_buffer(
    *, steps: int = 4, num_envs: int = 3, real_ratio: float = 0.05, seed: int = 0, **options: Any
) -> MixedReplayBuffer:
    """A buffer that keeps `steps` steps of `num_envs` rollouts."""
    return MixedReplayBuffer(
        steps * num_envs,
        OBSERVATIONS,
        ACTIONS,
        device="cpu",
        n_envs=num_envs,
        real_ratio=real_ratio,
        seed=seed,
        **options,
    )


def roll_out(buffer: MixedReplayBuffer, steps: int, *, first: int = 1, dones: Any = None, infos: Any = None) -> None:
    """Add rows whose every column tells the row: number k, counted from `first`, in s, s′ = k + 0.5, a and r."""
    for step in range(steps):
        number = (first + step * buffer.n_envs + np.arange(buffer.n_envs)).astype(np.float32)
        buffer.add(
            np.repeat(number[:, None], 2, axis=1),
            np.repeat(number[:, None] + 0.5, 2, axis=1),
            number[:, None] / 1_000,
            number,
            np.zeros(buffer.n_envs) if dones is None else np.asarray(dones),
            [{}] * buffer.n_envs if infos is None else infos,
        )


def filled(real_ratio: float = 0.05, **options: Any) -> MixedReplayBuffer:
    buffer = make_buffer(real_ratio=real_ratio, **options)
    roll_out(buffer, 4)
    buffer.attach(real_rows())
    return buffer


def is_real(samples: ReplayBufferSamples) -> np.ndarray:
    return samples.observations.numpy()[:, 0] >= REAL


@pytest.mark.parametrize(
    ("real_ratio", "batch_size", "expected"),
    [
        (0.0, 1, 0),
        (0.0, 7, 0),
        (0.0, 256, 0),
        (0.05, 1, 0),
        (0.05, 7, 0),
        (0.05, 256, 13),
        (0.5, 1, 0),  # half a row: Python rounds to the even number
        (0.5, 7, 4),
        (0.5, 256, 128),
        (1.0, 1, 1),
        (1.0, 7, 7),
        (1.0, 256, 256),
    ],
)
def test_every_batch_holds_the_exact_share_of_real_rows(real_ratio: float, batch_size: int, expected: int) -> None:
    """A share that is only right on average makes the updates noisier for nothing; f = 0 and 1 must be pure."""
    buffer = filled(real_ratio)
    for _ in range(20):
        samples = buffer.sample(batch_size)
        assert len(samples.observations) == batch_size
        assert is_real(samples).sum() == expected


@pytest.mark.parametrize("real_ratio", [0.05, 0.5, 1.0])
def test_each_mini_batch_of_one_large_sample_holds_the_exact_share(real_ratio: float) -> None:
    """SBX draws the rows of all updates in one call and cuts them contiguously: real rows must not lie in a heap."""
    buffer = make_buffer(real_ratio=real_ratio)
    roll_out(buffer, 4)
    buffer.attach(real_rows(), mini_batch_size=256)
    mini_batches = is_real(buffer.sample(6 * 256)).reshape(6, 256)
    np.testing.assert_array_equal(mini_batches.sum(axis=1), round(real_ratio * 256))


@pytest.mark.parametrize("real_ratio", [0.0, 1.0])
def test_mini_batches_of_one_large_sample_are_drawn_independently(real_ratio: float) -> None:
    """The same rows in every update of an epoch would throw the rest of the dataset away."""
    buffer = make_buffer(real_ratio=real_ratio)
    roll_out(buffer, 4)
    buffer.attach(real_rows(), mini_batch_size=256)
    first, second = buffer.sample(2 * 256).rewards.reshape(2, 256)
    assert (first != second).any()


def test_a_sample_that_is_no_whole_number_of_mini_batches_is_one_batch() -> None:
    """Someone who samples by hand gets the share of what was asked for: round(0.05·300) = 15."""
    buffer = make_buffer()
    roll_out(buffer, 4)
    buffer.attach(real_rows(), mini_batch_size=256)
    for size, expected in ((300, 15), (100, 5)):
        assert is_real(buffer.sample(size)).sum() == expected


def test_columns_of_a_row_stay_together() -> None:
    """Observation, action, reward and next observation of one transition: mixing them up would still train, badly."""
    samples = filled(0.5).sample(256)
    real = is_real(samples)
    number = samples.rewards.numpy()[:, 0]
    observations, actions = samples.observations.numpy(), samples.actions.numpy()[:, 0]
    np.testing.assert_array_equal(observations[real], np.repeat(REAL + number[real, None], 2, axis=1))
    np.testing.assert_array_equal(
        samples.next_observations.numpy()[real], np.repeat(2 * REAL + number[real, None], 2, axis=1)
    )
    np.testing.assert_allclose(actions[real], number[real] / 50, rtol=1e-6)  # float32; [−1, 1] is kept as it is
    np.testing.assert_array_equal(observations[~real], np.repeat(number[~real, None], 2, axis=1))
    np.testing.assert_array_equal(samples.next_observations.numpy()[~real], observations[~real] + 0.5)
    np.testing.assert_allclose(actions[~real], number[~real] / 1_000, rtol=1e-6)


def test_every_row_can_be_drawn() -> None:
    """An off-by-one would lose the last row for ever; 2,000 draws of each kind miss one of 50 once in 10¹⁶."""
    samples = filled(0.5).sample(4_000)
    real = is_real(samples)
    number = samples.rewards.numpy()[:, 0]
    assert set(number[real]) == set(range(50))
    assert set(number[~real]) == set(range(1, 13))


def test_samples_have_the_types_and_shapes_of_stable_baselines() -> None:
    """Agents subtract dones from 1 and multiply: shape (batch, 1) and float32, or it broadcasts."""
    samples = filled(0.5).sample(8)
    shapes = {name: tuple(getattr(samples, name).shape) for name in samples._fields if name != "discounts"}
    assert shapes == {
        "observations": (8, 2),
        "actions": (8, 1),
        "next_observations": (8, 2),
        "dones": (8, 1),
        "rewards": (8, 1),
    }
    assert {getattr(samples, name).dtype for name in shapes} == {torch.float32}
    assert samples.discounts is None


@pytest.mark.parametrize("rollouts", [1, 2, 3, 5, 8])
def test_the_buffer_is_first_in_first_out(rollouts: int) -> None:
    """After k rollouts of h steps it holds exactly the last retain·h·b model rows, and never an empty one."""
    retain, horizon, num_envs = 3, 2, 4
    buffer = make_buffer(steps=retain * horizon, num_envs=num_envs, real_ratio=0.0)
    per_rollout = horizon * num_envs
    for rollout in range(rollouts):
        roll_out(buffer, horizon, first=1 + rollout * per_rollout)
    newest = rollouts * per_rollout
    oldest = max(0, newest - retain * per_rollout)
    drawn = buffer.sample(2_000).rewards.numpy()[:, 0]  # misses one of 24 rows once in 10³⁵
    assert set(drawn) == set(range(oldest + 1, newest + 1))


def test_a_truncated_rollout_is_not_done_but_a_dead_one_is() -> None:
    """The horizon is a choice of ours and no fact about the state: the critic must bootstrap there, and only there."""
    buffer = make_buffer(steps=1, num_envs=4, real_ratio=0.0)
    # going on; truncated; dead; dead at the horizon
    infos = [{}, {"TimeLimit.truncated": True}, {"TimeLimit.truncated": False}, {"TimeLimit.truncated": False}]
    roll_out(buffer, 1, dones=[0.0, 1.0, 1.0, 1.0], infos=infos)
    samples = buffer.sample(200)
    assert set(zip(samples.rewards[:, 0].tolist(), samples.dones[:, 0].tolist(), strict=True)) == {
        (1.0, 0.0),
        (2.0, 0.0),
        (3.0, 1.0),
        (4.0, 1.0),
    }


def test_timeouts_count_as_ends_if_asked_to() -> None:
    """Stable-Baselines3's own switch."""
    buffer = make_buffer(steps=1, num_envs=2, real_ratio=0.0, handle_timeout_termination=False)
    roll_out(buffer, 1, dones=[0.0, 1.0], infos=[{}, {"TimeLimit.truncated": True}])
    samples = buffer.sample(100)
    assert set(zip(samples.rewards[:, 0].tolist(), samples.dones[:, 0].tolist(), strict=True)) == {
        (1.0, 0.0),
        (2.0, 1.0),
    }


def test_a_pickled_buffer_goes_on_where_it_stopped() -> None:
    """Only what was written is in the pickle; the rest of the memory must be there again."""
    buffer = make_buffer(steps=3, num_envs=2, real_ratio=0.0)
    roll_out(buffer, 2)
    restored = copy.deepcopy(buffer)  # by the same two methods as a pickle
    roll_out(restored, 2, first=5)
    assert restored.full
    assert set(restored.sample(500).rewards[:, 0].tolist()) == {3.0, 4.0, 5.0, 6.0, 7.0, 8.0}


def test_an_agent_stores_the_last_state_and_the_cause_of_an_end() -> None:
    """From environment to batch: s′ is the true last state and never a restart's, done only where the model died."""
    rows = real_rows(4, width=1, observations=np.array([[0.0], [10.0], [0.0], [10.0]]))
    model = StubEnsemble(1, 1, mean=lambda states, actions: (states + 1.0, states[:, 0]))
    penalized_model = PenalizedModel(
        model, rows, termination=lambda states, actions, next_states: next_states[:, 0] >= 12.0
    )
    agent = make_small("SAC", penalized_model, horizon=4, rollout_batch_size=16, real_ratio=0.0)
    agent.learn(16 * 4, log_interval=None)
    samples = agent.replay_buffer.sample(1_000)
    states, next_states = samples.observations.numpy(), samples.next_observations.numpy()
    assert set(states[:, 0]) == {0.0, 1.0, 2.0, 3.0, 10.0, 11.0}
    np.testing.assert_array_equal(next_states, states + 1.0)
    np.testing.assert_array_equal(samples.dones.numpy(), next_states >= 12.0)


def test_real_actions_are_scaled_as_the_agent_scales_its_own() -> None:
    """SB3 keeps actions on −1…1; raw ones beside them would teach the critic two meanings of one number."""
    space = Box(np.float32([0.0, -3.0]), np.float32([10.0, 1.0]), dtype=np.float32)
    raw = np.array([[0.0, -3.0], [5.0, -1.0], [10.0, 1.0], [2.5, 0.0]], dtype=np.float32)
    data = real_rows(4, actions=raw, action_space=space)
    buffer = MixedReplayBuffer(4, OBSERVATIONS, space, device="cpu", real_ratio=1.0)
    buffer.attach(data)
    samples = buffer.sample(200)
    expected = np.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [-0.5, 0.5]], dtype=np.float32)
    np.testing.assert_allclose(samples.actions.numpy(), expected[samples.rewards[:, 0].long().numpy()], atol=1e-6)

    model = StubEnsemble(2, 2, mean=lambda states, actions: (states, states[:, 0]))
    policy = make_small("SAC", PenalizedModel(model, data)).policy
    np.testing.assert_allclose(policy.scale_action(raw), expected, atol=1e-6)


def test_real_terminal_rows_are_done_and_truncated_ones_are_not() -> None:
    """The same rule as for model rows, on D4RL's flags."""
    buffer = make_buffer(real_ratio=1.0)
    buffer.attach(real_rows(3, terminations=np.array([False, True, False]), truncations=np.array([False, False, True])))
    samples = buffer.sample(100)
    assert set(zip(samples.rewards[:, 0].tolist(), samples.dones[:, 0].tolist(), strict=True)) == {
        (0.0, 0.0),
        (1.0, 1.0),
        (2.0, 0.0),
    }


def test_real_rows_that_were_never_attached_are_an_error() -> None:
    """Filling up with model rows would silently train without real data."""
    buffer = make_buffer()
    roll_out(buffer, 1)
    with pytest.raises(ConfigError, match=r"call attach\(transitions\), or set real_ratio=0"):
        buffer.sample(256)
    assert len(buffer.sample(7).rewards) == 7  # round(0.05·7) = 0: none is due


def test_without_a_rollout_there_is_nothing_to_mix() -> None:
    """SB3's own buffer draws rows of zeros here or raises from deep inside NumPy."""
    buffer = make_buffer()
    buffer.attach(real_rows())
    with pytest.raises(ConfigError, match="no model rows yet"):
        buffer.sample(256)


def test_real_rows_alone_need_no_rollout() -> None:
    """f = 1 is model-free offline training, a baseline one may want from the first step on."""
    buffer = make_buffer(real_ratio=1.0)
    buffer.attach(real_rows())
    assert is_real(buffer.sample(10)).all()


@pytest.mark.parametrize("changes", [{"width": 3}, {"actions": np.zeros((50, 2))}], ids=["observations", "actions"])
def test_a_dataset_of_other_widths_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SpaceMismatchError, match="but the buffer was made for"):
        make_buffer().attach(real_rows(**changes))


def test_optimised_memory_is_refused() -> None:
    """SB3's trick takes s′ from the next row, which belongs to another rollout where one ended."""
    with pytest.raises(ConfigError, match="optimize_memory_usage"):
        make_buffer(optimize_memory_usage=True)


@pytest.mark.parametrize("real_ratio", [-0.01, 1.01, float("nan"), "half", None, True])
def test_a_share_outside_0_to_1_is_refused(real_ratio: Any) -> None:
    with pytest.raises(ConfigError, match="real_ratio"):
        make_buffer(real_ratio=real_ratio)


@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_a_mini_batch_size_that_is_no_size_is_refused(size: Any) -> None:
    with pytest.raises(ConfigError, match="mini_batch_size"):
        make_buffer().attach(real_rows(), mini_batch_size=size)


@pytest.mark.parametrize("pickler", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_pickles_hold_no_real_rows(pickler: Any) -> None:
    """SB3 pickles buffers; the data are on disk already, and may be private."""
    buffer = filled(0.5)
    buffer.attach(real_rows(100_000))  # 2.4 MB of columns
    body = pickler.dumps(buffer)
    assert len(body) < 20_000
    restored = pickler.loads(body)
    with pytest.raises(ConfigError, match="attach"):
        restored.sample(8)
    restored.attach(real_rows(100_000))
    expected, found = buffer.sample(8), restored.sample(8)
    for name in ("observations", "actions", "next_observations", "dones", "rewards"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    assert is_real(buffer.sample(8)).sum() == 4  # the original has kept its own


def test_a_saved_agent_holds_no_real_rows(tmp_path: Path) -> None:
    """Objects given as replay_buffer_kwargs would be written into every save: 17 MB of data made a zip of 24 MB."""
    system = LinearGaussianSystem()
    data = system.transitions(num_episodes=400, num_steps=50)  # 20,000 rows; 480 kB that do not compress
    agent = make_small("SAC", PenalizedModel(system.model(), data), horizon=5)
    agent.learn(40, log_interval=None)
    assert agent.replay_buffer._real is not None
    path = tmp_path / "agent.zip"
    agent.save(path)
    assert path.stat().st_size < 100_000
    assert SAC.load(path).policy_kwargs["net_arch"] == [8]


def test_draws_come_from_the_buffers_own_generator() -> None:
    """Global state neither moves the draws nor is moved: an evaluation that draws must not change training."""
    drawn = []
    for global_seed in (0, 1):
        set_global_seed(global_seed)
        before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
        drawn.append(filled(0.5, seed=4).sample(256).rewards.numpy())
        np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), before[1])
    np.testing.assert_array_equal(*drawn)
    assert (filled(0.5, seed=5).sample(256).rewards.numpy() != drawn[0]).any()
