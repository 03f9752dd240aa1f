"""Termination rules against the simulators they copy: a wrong bound silently changes what the agent is paid for.

A misplaced parenthesis in the paper's code dropped Hopper's lower bound and was copied into most ports.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from mopo_env.errors import ConfigError, UnknownNameError
from mopo_env.real.real_env import make_real_env, quiet_mujoco
from mopo_env.terminations import TERMINATIONS, Termination, ant, get_termination, hopper, never, walker2d

States = tuple[np.ndarray, np.ndarray]
NUM_STATES = 10_000


def terminal(rule: Termination, next_observations: Any, *, width: int = 11) -> np.ndarray:
    rows = torch.as_tensor(np.asarray(next_observations))
    return rule(torch.zeros_like(rows), torch.zeros(len(rows), 3), rows).numpy()


def mixed_scales(random: np.random.Generator, shape: tuple[int, ...], largest: float) -> np.ndarray:
    """Draw both signs over six orders of magnitude: thresholds lie anywhere between 0.2 and 100."""
    magnitude = largest * 10.0 ** random.uniform(-6, 0, shape)
    return magnitude * random.choice([-1.0, 1.0], shape)


def on_a_bound(random: np.random.Generator, values: np.ndarray, bounds: list[float]) -> None:
    """Put a tenth of the values exactly on a bound: only there do < and ≤ differ."""
    chosen = random.random(len(values)) < 0.1
    values[chosen] = random.choice(bounds, chosen.sum())


def planar_states(random: np.random.Generator, env: Any, z_bounds: list[float], angle_bounds: list[float]) -> States:
    """Heights around the bounds, angles small and huge, everything else anything at all."""
    num_positions, num_velocities = env.model.nq, env.model.nv
    positions = mixed_scales(random, (NUM_STATES, num_positions), 300.0)
    velocities = mixed_scales(random, (NUM_STATES, num_velocities), 99.0)
    positions[:, 1] = random.uniform(-0.5, 3.0, NUM_STATES)
    calm = random.random(NUM_STATES) < 0.7
    positions[calm, 2] = random.uniform(-1.5, 1.5, calm.sum()) * angle_bounds[1]
    positions[calm, 3:] = np.clip(positions[calm, 3:], -120, 120)
    on_a_bound(random, positions[:, 1], z_bounds)
    on_a_bound(random, positions[:, 2], angle_bounds)
    on_a_bound(random, positions[:, -1], [-100.0, 100.0])
    return positions, velocities


def hopper_states(random: np.random.Generator, env: Any) -> States:
    # |qvel| stays below 100: the environment ends an episode on larger ones but shows them clipped to ±10, so no rule
    # that reads the observation can see them.
    return planar_states(random, env, [0.7], [-0.2, 0.2])


def walker2d_states(random: np.random.Generator, env: Any) -> States:
    return planar_states(random, env, [0.8, 2.0], [-1.0, 1.0])


def halfcheetah_states(random: np.random.Generator, env: Any) -> States:
    return planar_states(random, env, [0.7], [-1.0, 1.0])


def ant_states(random: np.random.Generator, env: Any) -> States:
    positions = mixed_scales(random, (NUM_STATES, env.model.nq), 300.0)
    velocities = mixed_scales(random, (NUM_STATES, env.model.nv), 1e4)
    positions[:, 2] = random.uniform(-0.5, 1.7, NUM_STATES)
    on_a_bound(random, positions[:, 2], [0.2, 1.0])
    return positions, velocities


def real_env(name: str) -> Any:
    mujoco = pytest.importorskip("mujoco")
    if name != "ant":
        return make_real_env(f"{name}-random").unwrapped
    with quiet_mujoco(mujoco):
        return gym.make("Ant-v5", include_cfrc_ext_in_observation=False).unwrapped


@pytest.mark.parametrize(
    ("name", "draw", "healthy_share"),
    [
        ("hopper", hopper_states, (0.05, 0.6)),
        ("walker2d", walker2d_states, (0.05, 0.6)),
        ("ant", ant_states, (0.2, 0.8)),
        ("halfcheetah", halfcheetah_states, (1.0, 1.0)),
    ],
)
def test_rule_agrees_with_the_real_environment(
    name: str, draw: Callable[..., States], healthy_share: tuple[float, float]
) -> None:
    """10,000 states, the bounds themselves among them, compared in float64 without exception."""
    env = real_env(name)
    positions, velocities = draw(np.random.default_rng(0), env)
    observations, healthy = [], []
    for position, velocity in zip(positions, velocities, strict=True):
        env.set_state(position, velocity)
        observations.append(env._get_obs())
        # HalfCheetah has no notion of health: its step always returns terminated=False.
        healthy.append(bool(getattr(env, "is_healthy", True)))
    env.close()
    expected = ~np.array(healthy)
    found = terminal(TERMINATIONS[name], np.array(observations))
    wrong = np.flatnonzero(found != expected)
    assert len(wrong) == 0, f"{len(wrong)} states, the first: {observations[wrong[0]]}, healthy: {healthy[wrong[0]]}"
    low, high = healthy_share
    assert low <= np.mean(healthy) <= high, "the states must show both sides of the rule"


def test_ant_ends_on_numbers_that_are_not_finite_as_the_real_one_does() -> None:
    """The state is written past `set_state`, which would run the simulator on it."""
    env = real_env("ant")
    for index, value in [(5, np.nan), (7, np.inf), (20, -np.inf)]:
        env.reset(seed=0)
        assert env.is_healthy
        assert not terminal(ant, env._get_obs()[None])[0]
        if index < env.model.nq:
            env.data.qpos[index] = value
        else:
            env.data.qvel[index - env.model.nq] = value
        assert not env.is_healthy
        assert terminal(ant, env._get_obs()[None])[0]
    env.close()


def healthy_hopper() -> np.ndarray:
    state = np.zeros(11)
    state[0] = 1.25
    return state


@pytest.mark.parametrize("column", range(1, 11))
@pytest.mark.parametrize("value", [-500.0, 500.0, -100.0, 100.0])
def test_hopper_ends_on_both_sides_of_every_column(column: int, value: float) -> None:
    """`abs(x < 100)` instead of `abs(x) < 100` lets −500 pass. A model may predict velocities that no env shows."""
    state = healthy_hopper()
    assert not terminal(hopper, [state])[0]
    state[column] = value
    assert terminal(hopper, [state])[0]


def test_hopper_goes_on_within_the_bounds_and_at_any_height() -> None:
    """|state| < 100 begins after z in the environment; a port that bounds z as well ends high jumps."""
    state = healthy_hopper()
    for state[0], state[2:] in ((1.25, -99.9), (1.25, 99.9), (150.0, 0.0)):
        assert not terminal(hopper, [state])[0]


@pytest.mark.parametrize(("rule", "height", "width"), [(hopper, 1.25, 11), (walker2d, 1.25, 17), (ant, 0.5, 27)])
def test_nan_in_height_or_angle_ends_the_episode(rule: Termination, height: float, width: int) -> None:
    """Comparisons with NaN are false, so a rule written as "ends if too low" would carry NaN on."""
    rows = np.zeros((3, width))
    rows[:, 0] = height
    rows[1, 0], rows[2, 1] = np.nan, np.nan
    assert terminal(rule, rows).tolist() == [False, True, True]


@pytest.mark.parametrize("rule", [hopper, walker2d, ant, never])
def test_one_flag_a_row_and_no_arithmetic_on_the_start(rule: Termination) -> None:
    """Only s′ decides; an s that is terminal itself must not end the episode."""
    rows = torch.full((4, 27), 0.0)
    rows[:, 0] = 0.9
    far = torch.full_like(rows, 1e6)
    flags = rule(far, torch.full((4, 3), 1e6), rows)
    assert flags.dtype == torch.bool
    assert flags.tolist() == [False] * 4


def test_a_misspelt_name_suggests_the_right_one() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown termination 'walker'.*'walker2d'"):
        get_termination("walker")


def test_what_is_neither_name_nor_callable_is_refused() -> None:
    with pytest.raises(ConfigError, match="termination"):
        get_termination(False)


def test_a_learned_rule_has_no_name_of_its_own() -> None:
    """It lies in a folder, which only `make_penalized_model` is told."""
    with pytest.raises(ConfigError, match="load_termination"):
        get_termination("learned")
