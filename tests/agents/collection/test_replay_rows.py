"""The rows of a replay buffer as a dataset: in order, in raw units, with the true cause of every end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from stable_baselines3.common.buffers import ReplayBuffer

from mopo_agents.collection.replay_rows import transitions_from_replay_buffer
from mopo_env.errors import DatasetError

SPACE = Box(-1.0, 1.0, (2,), np.float32)


def buffer_of(steps: int, n_envs: int = 1, *, ends: dict[tuple[int, int], bool] | None = None) -> ReplayBuffer:
    """A ring of five steps. Environment e, step k: s = 100·e + k, s′ = s + 0.5, a = s / 1000, r = −s.

    `ends` maps (step, environment) to "was truncated".
    """
    buffer = ReplayBuffer(5 * n_envs, Box(-np.inf, np.inf, (1,), np.float32), SPACE, device="cpu", n_envs=n_envs)
    for step in range(steps):
        states = np.float32([[100 * env + step] for env in range(n_envs)])
        flags = [(ends or {}).get((step, env)) for env in range(n_envs)]
        infos = [{"TimeLimit.truncated": bool(flag)} for flag in flags]
        dones = np.array([flag is not None for flag in flags])
        buffer.add(states, states + 0.5, np.repeat(states / 1000, 2, axis=1), -states[:, 0], dones, infos)
    return buffer


@pytest.mark.parametrize("n_envs", [1, 2, 3])
@pytest.mark.parametrize(("steps", "oldest"), [(3, 0), (5, 0), (8, 3)])
def test_each_environment_comes_whole_and_oldest_first(n_envs: int, steps: int, oldest: int) -> None:
    """The ring is not yet full, just full, or wrapped around; SB3 keeps step by step what happened side by side."""
    transitions = transitions_from_replay_buffer(buffer_of(steps, n_envs), SPACE)
    expected = [100 * env + step for env in range(n_envs) for step in range(oldest, steps)]
    assert transitions.observations[:, 0].tolist() == expected
    assert transitions.next_observations[:, 0].tolist() == [state + 0.5 for state in expected]
    assert transitions.rewards.tolist() == [-state for state in expected]
    np.testing.assert_allclose(transitions.actions, np.repeat(np.float32(expected)[:, None] / 1000, 2, 1), atol=1e-6)
    assert transitions.episode_ends.tolist() == [(env + 1) * (steps - oldest) - 1 for env in range(n_envs)]
    assert transitions.truncations.sum() == n_envs


@pytest.mark.parametrize(
    ("steps", "ends", "died", "cut"),
    [
        (7, {(3, 0): True, (5, 0): False}, [5], [3, 6]),  # the ring holds 2 to 6, and collection stopped after 6
        (3, {(2, 0): False}, [2], []),  # a death in the last row stays a death
        (4, {(3, 0): False, (1, 1): True}, [3], [101, 103]),  # each environment has its own ends
    ],
)
def test_flags_tell_deaths_from_cuts(steps: int, ends: Any, died: list[int], cut: list[int]) -> None:
    """The collection's end is a cut in the dataset alone; the buffer is left as it is."""
    buffer = buffer_of(steps, 1 + max(env for _, env in ends), ends=ends)
    flags = buffer.timeouts.copy(), buffer.dones.copy()
    transitions = transitions_from_replay_buffer(buffer, SPACE)
    assert transitions.observations[transitions.terminations, 0].tolist() == died
    assert transitions.observations[transitions.truncations, 0].tolist() == cut
    np.testing.assert_array_equal(flags, (buffer.timeouts, buffer.dones))


def test_actions_are_in_raw_units() -> None:
    """SB3 keeps −1…1. By hand for [0, 10] × [−3, 1]: 0 → (5, −1), 0.001 → (5.005, −0.998)."""
    space = Box(np.float32([0.0, -3.0]), np.float32([10.0, 1.0]), dtype=np.float32)
    transitions = transitions_from_replay_buffer(buffer_of(2), space)
    np.testing.assert_allclose(transitions.actions, [[5.0, -1.0], [5.005, -0.998]], rtol=1e-6)
    assert transitions.action_space == space


def test_only_the_oldest_steps() -> None:
    """Of each environment; the last of them is then a cut."""
    transitions = transitions_from_replay_buffer(buffer_of(8, 2), SPACE, steps=3)
    assert transitions.observations[:, 0].tolist() == [3, 4, 5, 103, 104, 105]
    assert np.flatnonzero(transitions.truncations).tolist() == [2, 5]


def test_buffers_without_next_states_are_refused() -> None:
    """To save memory SB3 can read s′ from the following row, which at an episode's end is another's start."""
    observations, options = Box(-np.inf, np.inf, (1,), np.float32), {"handle_timeout_termination": False}
    frugal = ReplayBuffer(5, observations, SPACE, device="cpu", optimize_memory_usage=True, **options)
    frugal.add(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 2)), np.zeros(1), np.zeros(1), [{}])
    with pytest.raises(DatasetError, match="optimize_memory_usage"):
        transitions_from_replay_buffer(frugal, SPACE)
    with pytest.raises(DatasetError, match="the replay buffer is empty"):
        transitions_from_replay_buffer(buffer_of(0), SPACE)
