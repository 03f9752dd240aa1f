"""What the training of a behaviour policy goes on from: every piece alone. Whole runs are in test_behaviour.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.monitor import Monitor

from mopo_agents._utils.trees import flatten, unflatten
from mopo_agents.collection.checkpoint import Checkpoint
from mopo_agents.collection.environment_state import check_environment, environment_state, set_environment_state
from mopo_agents.runs.state.append_log import AppendLog
from mopo_agents.runs.state.generators import generators_untouched
from mopo_env.errors import ConfigError, StoreError
from mopo_env.real.real_env import make_behaviour_env

pytest.importorskip("mujoco")

MakeEnv = Callable[[], gym.Env[Any, Any]]


def cheap(name: str) -> MakeEnv:
    """An environment of classic control, with a time limit that a test can meet."""
    return lambda: gym.make(name, max_episode_steps=40)


ENVIRONMENTS: dict[str, MakeEnv] = {
    **{
        name: lambda name=name: make_behaviour_env(name, max_episode_steps=40)  # type: ignore[misc]
        for name in ("halfcheetah-mixed", "hopper-mixed", "walker2d-mixed", "ant-angle")
    },
    "Ant-v5": cheap("Ant-v5"),
    "Pendulum-v1": cheap("Pendulum-v1"),
    "CartPole-v1": cheap("CartPole-v1"),
}


class TestEnvironmentState:
    """From the middle of an episode, another process must see the same future bit for bit."""

    @staticmethod
    def future(env: gym.Env[Any, Any], steps: int) -> list[Any]:
        """Act at random, start again where an episode ends, and return all that was seen."""
        generator, seen = np.random.default_rng(5), []
        for _ in range(steps):
            if isinstance(env.action_space, gym.spaces.Box):
                action = generator.uniform(env.action_space.low, env.action_space.high).astype(np.float32)
            else:
                action = generator.integers(2)
            observation, reward, terminated, truncated, info = env.step(action)
            info.get("episode", {}).pop("t", None)  # of the clock
            seen.append((observation.tobytes(), float(reward), terminated, truncated, str(info)))
            if terminated or truncated:
                seen.append(env.reset()[0].tobytes())
        return seen

    @pytest.mark.parametrize("name", ENVIRONMENTS)
    def test_the_future_is_the_same(self, name: str) -> None:
        """Three hundred steps with falls, time limits and new starts, from step 25 on; Ant's first velocity too."""
        env = Monitor(ENVIRONMENTS[name]())
        env.reset(seed=3)
        self.future(env, 25)
        state = unflatten(flatten(environment_state(env)))
        expected = self.future(env, 300)
        other = Monitor(ENVIRONMENTS[name]())
        other.reset()
        set_environment_state(other, state)
        assert self.future(other, 300) == expected
        assert (other.episode_returns, other.episode_lengths) == (env.episode_returns, env.episode_lengths)
        assert other.total_steps == env.total_steps

    def test_taking_the_state_changes_nothing(self) -> None:
        """A run with checkpoints must be the run without."""
        envs = [ENVIRONMENTS["ant-angle"]() for _ in range(2)]
        for env in envs:
            env.reset(seed=3)
        for _ in range(100):
            environment_state(envs[0])
            assert self.future(envs[0], 1) == self.future(envs[1], 1)

    def test_an_unknown_wrapper_is_refused(self) -> None:
        """It may remember something: a resumed run would then differ in silence."""
        env = gym.wrappers.FrameStackObservation(ENVIRONMENTS["Pendulum-v1"](), 2)
        with pytest.raises(ConfigError, match="wrapper FrameStackObservation"):
            check_environment(env)

    def test_an_unknown_environment_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="PenalizedModelEnv cannot be kept"):
            check_environment(gym.make("MOPO-linear-gaussian"))


def pendulum_agent(*, learn: int = 0, buffer_size: int, agent_class: type[Any] = SAC) -> Any:
    """A small agent in an environment of its own."""
    with generators_untouched():
        options: dict[str, Any] = {"policy_kwargs": {"net_arch": [4]}, "learning_starts": 3, "seed": 0}
        agent = agent_class("MlpPolicy", cheap("Pendulum-v1")(), buffer_size=buffer_size, **options)
        return agent.learn(learn, log_interval=None) if learn else agent


class TestCheckpoint:
    """The files of a run."""

    def test_only_new_rows_are_written(self, tmp_path: Path) -> None:
        """The cost of a checkpoint must not grow with the run."""
        agent = pendulum_agent(learn=40, buffer_size=200)
        checkpoint = Checkpoint(tmp_path)
        checkpoint.save(agent, agent.env.envs[0], {})
        agent.learn(10, log_interval=None, reset_num_timesteps=False)
        checkpoint.save(agent, agent.env.envs[0], {})
        parts = AppendLog(tmp_path / "rows").read(until=50)
        assert [len(part["rewards"]) for part in parts] == [40, 10]
        rewards = np.concatenate([part["rewards"] for part in parts])
        np.testing.assert_array_equal(rewards, agent.replay_buffer.rewards[:50])

    def test_an_overflowing_buffer_is_refused(self, tmp_path: Path) -> None:
        """Its oldest rows would be overwritten in memory and not on disk."""
        agent = pendulum_agent(learn=40, buffer_size=39)
        with pytest.raises(ConfigError, match="buffer_size: found 39"):
            Checkpoint(tmp_path).save(agent, agent.env.envs[0], {})

    @pytest.mark.parametrize("damage", ["training-*.safetensors", "training.json", "rows/part-*.safetensors"])
    def test_damage_is_noticed(self, tmp_path: Path, damage: str) -> None:
        """A run that goes on from altered numbers ends with a wrong dataset and no sign of it."""
        agent = pendulum_agent(learn=20, buffer_size=100)
        Checkpoint(tmp_path).save(agent, agent.env.envs[0], {})
        (path,) = tmp_path.glob(damage)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 128
        path.write_bytes(content)
        with pytest.raises(StoreError, match=path.name.split(".")[0]):
            Checkpoint(tmp_path).restore(agent, agent.env.envs[0])

    def test_another_kind_of_agent_is_refused(self, tmp_path: Path) -> None:
        """Files of one run must not be put into another; the message says what to do."""
        agent = pendulum_agent(learn=6, buffer_size=10)
        Checkpoint(tmp_path).save(agent, agent.env.envs[0], {})
        other = pendulum_agent(buffer_size=10, agent_class=TD3)
        with pytest.raises(StoreError, match=r"(?s)does not fit this run.*or remove the folder"):
            Checkpoint(tmp_path).restore(other, other.env.envs[0])
