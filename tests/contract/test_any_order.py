"""Calls in any order, with any arguments: what comes back fits the spaces and is finite, or the error is documented."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import asdict, fields
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env as gymnasium_check
from gymnasium.vector import AutoresetMode
from helpers.models import penalized_model
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from stable_baselines3.common.env_checker import check_env as sb3_check

from mopo_agents.collection.config import CollectConfig
from mopo_agents.runs.config import TrainConfig
from mopo_env.envs.env import PenalizedModelEnv
from mopo_env.envs.envelope import EXITS
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.envs.vector_env import PenalizedModelVectorEnv
from mopo_env.errors import ConfigError, InputError, UnknownNameError
from mopo_env.models.fit_config import FitConfig
from mopo_env.tasks import TOY_ID
from mopo_env.terminations.config import TerminationConfig

SETTINGS = settings(max_examples=30, stateful_step_count=25, deadline=None, database=None, derandomize=True)
NUMBERS = st.one_of(st.floats(width=32), st.sampled_from([0.0, -1.0, 1.0, 9.0, -9.0, 3e38, math.nan, math.inf]))
SEEDS = st.none() | st.integers(0, 2**31)


@pytest.mark.parametrize("horizon", [2, 5, 1000])
def test_both_checkers_at_every_horizon(horizon: int) -> None:
    """Warnings are errors here. `tests/envs/test_env.py` has a fitted model, and the horizon of 1 by hand."""
    env = gym.make(TOY_ID, horizon=horizon).unwrapped
    gymnasium_check(env, skip_render_check=False)
    sb3_check(env)


def wild() -> PenalizedModel:
    """Return a world that runs away, dies above 10, and breaks down in three places."""

    def mean(states: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        following = 2 * states + 3 * actions
        following = torch.where(states < -6, math.nan, following)
        rewards = torch.where(states[:, 0].abs() < 0.1, math.inf, following[:, 0])
        return following, rewards

    def std(states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        spread = torch.where(states > 7, math.nan, states.abs())
        return spread.repeat(2, 1, 2)

    return penalized_model(mean, std=std, num_members=2, starts=[-1.0, 0.5, 2.0], end_above=10.0)


class SingleEnv(RuleBasedStateMachine):
    """`PenalizedModelEnv`."""

    @initialize()
    def make(self) -> None:
        self.env, self.began = PenalizedModelEnv(wild(), horizon=4), False

    def look(self, observation: Any) -> None:
        assert self.env.observation_space.contains(observation)
        assert np.isfinite(observation).all()

    @rule(seed=SEEDS)
    def reset(self, seed: int | None) -> None:
        observation, info = self.env.reset(seed=seed)
        self.began = True
        self.look(observation)
        assert info == {}

    @rule(start=st.lists(NUMBERS, max_size=2))
    def reset_to(self, start: list[float]) -> None:
        good = len(start) == 1 and math.isfinite(start[0])
        try:
            observation, _ = self.env.reset(options={"observation": start})
        except InputError:
            assert not good
        else:
            assert good
            self.began = True
            assert np.isfinite(observation).all()

    @rule(action=st.one_of(NUMBERS, st.lists(NUMBERS, max_size=2), st.just("left")))
    def step(self, action: Any) -> None:
        """Also after the end of an episode: the model goes on, as Gymnasium allows."""
        good = isinstance(action, list) and len(action) == 1 and math.isfinite(action[0])
        try:
            observation, reward, terminated, truncated, info = self.env.step(
                np.asarray(action) if isinstance(action, str) else np.array(action, dtype=np.float32)
            )
        except gym.error.ResetNeeded:
            assert not self.began
        except InputError:
            assert self.began
            assert not good
        else:
            assert good
            assert np.isfinite(observation).all()
            assert observation.shape == (1,)
            assert math.isfinite(reward)
            assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
            assert info["exit"] in EXITS
            assert math.isfinite(info["penalty"])
            assert math.isfinite(info["reward_model"])

    @rule()
    def close(self) -> None:
        self.env.close()


class VectorEnv(RuleBasedStateMachine):
    """`PenalizedModelVectorEnv` in each of its modes, killed and continued at any time."""

    @initialize(mode=st.sampled_from(AutoresetMode))
    def make(self, mode: AutoresetMode) -> None:
        self.env = PenalizedModelVectorEnv(wild(), num_envs=3, horizon=4, autoreset_mode=mode)
        self.ended: np.ndarray | None = None

    @rule(seed=SEEDS)
    def reset(self, seed: int | None) -> None:
        observations, _ = self.env.reset(seed=seed)
        assert self.env.observation_space.contains(observations)
        self.ended = np.zeros(3, bool)

    @rule(mask=st.lists(st.booleans(), min_size=3, max_size=3))
    def reset_some(self, mask: list[bool]) -> None:
        if self.env.autoreset_mode is AutoresetMode.DISABLED:
            try:
                observations, _ = self.env.reset(options={"reset_mask": np.array(mask)})
            except gym.error.ResetNeeded:
                assert self.ended is None
            else:
                assert self.ended is not None
                self.ended &= ~np.array(mask)
                assert np.isfinite(observations).all()

    @rule(actions=st.lists(NUMBERS, min_size=2, max_size=4))
    def step(self, actions: list[float]) -> None:
        good = len(actions) == 3 and np.isfinite(actions).all()
        waits = self.env.autoreset_mode is AutoresetMode.DISABLED and self.ended is not None and self.ended.any()
        try:
            step = self.env.step(np.array(actions, dtype=np.float32)[:, None])
        except gym.error.ResetNeeded:
            assert self.ended is None or waits
        except InputError:
            assert not good
        else:
            assert good
            observations, rewards, terminations, truncations, infos = step
            self.ended = terminations | truncations
            for array in (observations, rewards, infos["penalty"], infos["reward_model"]):
                assert np.isfinite(array).all()
            assert observations.shape == (3, 1)
            assert (terminations.dtype, truncations.dtype) == (np.bool_, np.bool_)

    @rule()
    def goes_on_in_another_process(self) -> None:
        if self.ended is not None:
            rollouts = self.env.rollouts
            state = pickle.loads(pickle.dumps(rollouts.get_state()))  # noqa: S301
            rollouts.set_state(state, self.env._generator)

    @rule()
    def close(self) -> None:
        self.env.close()


TestSingleEnv = pytest.mark.filterwarnings("ignore:overflow")(SingleEnv.TestCase)
TestVectorEnv = pytest.mark.filterwarnings("ignore:overflow")(VectorEnv.TestCase)
TestSingleEnv.settings = TestVectorEnv.settings = SETTINGS

# ---------------------------------------------------------------- configurations

CONFIGS: dict[type, dict[str, Any]] = {
    TrainConfig: {"task": "hopper-mixed"},
    FitConfig: {},
    TerminationConfig: {},
    CollectConfig: {"task": "hopper-mixed"},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 10**6) | st.floats() | st.text(max_size=4) | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_any_value_of_any_option(config: type) -> None:
    """It is refused by name, or it is kept and comes back from JSON as it was."""
    names = [field.name for field in fields(config)]
    outcomes = {"refused": 0, "kept": 0}

    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(st.sampled_from(names), JSON)
    def attempt(name: str, value: Any) -> None:
        try:
            made = config(**{**CONFIGS[config], name: value})
        except (ConfigError, UnknownNameError) as error:
            outcomes["refused"] += 1
            named = name in str(error)
        else:
            outcomes["kept"] += 1
            named = True
            assert config(**json.loads(json.dumps(asdict(made), allow_nan=False))) == made
        assert named, f"the refusal of {name}={value!r} does not name it"

    attempt()
    assert min(outcomes.values()) > 2, outcomes


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_a_misspelt_option(config: type) -> None:
    with pytest.raises(TypeError, match="sead"):
        config(**CONFIGS[config], sead=1)
