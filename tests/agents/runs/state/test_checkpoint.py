"""What an interrupted run goes on from: every piece alone. Whole runs are in test_behaviour.py."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.monitor import Monitor

from mopo_agents._utils.trees import flatten, unflatten
from mopo_agents.runs.state.agent_state import agent_state, set_agent_state
from mopo_agents.runs.state.append_log import AppendLog
from mopo_agents.runs.state.checkpoint import Checkpoint
from mopo_agents.runs.state.environment_state import check_environment, environment_state, set_environment_state
from mopo_agents.runs.state.generators import generators_untouched, global_generators, set_global_generators
from mopo_agents.runs.state.ownership import claim_folder
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


class TestTrees:
    """Nested state as flat names."""

    def test_round_trip(self) -> None:
        nested = {"a": {"b": 1, "c": {"d": [2]}}, "e": None}
        assert flatten(nested) == {"a/b": 1, "a/c/d": [2], "e": None}
        assert unflatten(flatten(nested)) == nested


class TestGenerators:
    """The generators that belong to the user's program."""

    @staticmethod
    def draws() -> tuple[float, ...]:
        """One number of each kind; the Gaussian ones come in pairs, of which one is kept."""
        normal, uniform = np.random.standard_normal(), np.random.random()  # noqa: NPY002
        return random.gauss(0, 1), random.random(), normal, uniform, torch.rand(1).item()

    def test_they_go_on_where_they_were(self) -> None:
        """After an odd number of Gaussian draws, so that the kept halves of pairs are part of the state."""
        with generators_untouched():
            self.draws()
            state = global_generators()
            expected = [self.draws() for _ in range(3)]
            assert [self.draws() for _ in range(3)] != expected
            set_global_generators(state)
            assert [self.draws() for _ in range(3)] == expected

    def test_they_are_left_alone_even_by_what_fails(self) -> None:
        def fail() -> None:
            with generators_untouched():
                self.draws()
                raise RuntimeError("on purpose")

        before = flatten(global_generators())
        with pytest.raises(RuntimeError, match="on purpose"):
            fail()
        for name, value in flatten(global_generators()).items():
            np.testing.assert_array_equal(value, before[name])


class TestAppendLog:
    """Rows on disk that only grow."""

    @staticmethod
    def values(log: AppendLog, until: int | None = None) -> list[int]:
        return [int(value) for part in log.read(until=until) for value in part["x"]]

    @staticmethod
    def append(log: AppendLog, *values: int) -> None:
        log.append({"x": np.array(values)}, length=len(values))

    def test_what_was_written_is_read_in_order(self, tmp_path: Path) -> None:
        log = AppendLog(tmp_path)
        self.append(log, 1, 2, 3)
        first = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        self.append(log, 4)
        again = AppendLog(tmp_path)
        assert self.values(again) == [1, 2, 3, 4]
        self.append(again, 5, 6)
        assert self.values(AppendLog(tmp_path)) == [1, 2, 3, 4, 5, 6]
        # The point of a log: a million rows are not written again for five thousand new ones.
        assert {name: (tmp_path / name).stat().st_mtime_ns for name in first} == first

    def test_a_part_that_does_not_count_is_replaced(self, tmp_path: Path) -> None:
        """A crash came after the rows and before the word that they count; the next part may be shorter."""
        log = AppendLog(tmp_path)
        self.append(log, 1, 2)
        self.append(log, 3, 4, 5)
        again = AppendLog(tmp_path)
        assert self.values(again, until=2) == [1, 2]
        self.append(again, 3)
        self.append(again, 4)
        assert self.values(AppendLog(tmp_path), until=4) == [1, 2, 3, 4]

    def test_a_missing_part_is_named(self, tmp_path: Path) -> None:
        log = AppendLog(tmp_path)
        self.append(log, 1, 2)
        self.append(log, 3)
        (tmp_path / "part-0000000002.json").unlink()
        with pytest.raises(StoreError, match=r"part-0000000002\.json: no such file"):
            AppendLog(tmp_path).read(until=3)

    def test_a_part_of_another_run_is_refused(self, tmp_path: Path) -> None:
        self.append(AppendLog(tmp_path), 1, 2, 3)
        with pytest.raises(StoreError, match=r"length 3 at 0.*ends by 2.*remove the folder"):
            AppendLog(tmp_path).read(until=2)

    def test_nothing_is_read_from_nowhere(self, tmp_path: Path) -> None:
        assert AppendLog(tmp_path / "nowhere").read() == []
        assert AppendLog(tmp_path / "nowhere").read(until=0) == []


class TestOwnership:
    """Files of one run must not be continued by another."""

    def test_the_same_options_go_on(self, tmp_path: Path) -> None:
        options = {"seed": 1, "agent": {"tau": 0.005, "train_freq": (1, "step")}}
        for _ in range(2):  # a tuple comes back from JSON as a list
            claim_folder(tmp_path, options)

    def test_other_options_are_named(self, tmp_path: Path) -> None:
        claim_folder(tmp_path, {"seed": 1, "versions": {"mujoco": "3.4.0"}, "same": True})
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(ConfigError) as caught:
            claim_folder(tmp_path, {"seed": 2, "versions": {"mujoco": "4.0.0", "torch": "2"}, "same": True})
        message = str(caught.value)
        assert "seed: begun with 1, now 2" in message
        assert "versions/mujoco: begun with '3.4.0', now '4.0.0'" in message
        assert "versions/torch: begun with None, now '2'" in message
        assert "same" not in message.replace("those again", "")
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_files_of_somebody_else_are_left_alone(self, tmp_path: Path) -> None:
        """The folder is removed when the work is done. What a crash left of the claim itself does no harm."""
        (tmp_path / ".configuration.json.1.a.tmp").touch()
        claim_folder(tmp_path, {"seed": 1})
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "thesis.tex").touch()
        with pytest.raises(ConfigError, match="not of unfinished work"):
            claim_folder(tmp_path / "other", {"seed": 1})


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


class TestAgentState:
    """Networks, optimisers and counters of whichever agent."""

    @staticmethod
    def agent(agent_class: type[Any] = SAC, *, learn: int = 0, **options: Any) -> Any:
        with generators_untouched():
            agent = agent_class(
                "MlpPolicy",
                cheap("Pendulum-v1")(),
                policy_kwargs={"net_arch": [4]},
                learning_starts=3,
                seed=0,
                **options,
            )
            return agent.learn(learn, log_interval=None) if learn else agent

    @pytest.mark.parametrize(("agent_class", "options"), [(SAC, {}), (SAC, {"ent_coef": 0.1}), (TD3, {})])
    def test_everything_comes_back(self, agent_class: type[Any], options: dict[str, Any]) -> None:
        """Into an agent whose weights, moments and counters were others."""
        trained = self.agent(agent_class, learn=12, **options)
        expected = flatten(agent_state(trained))
        assert any(name.endswith("exp_avg_sq") and value.any() for name, value in expected.items())
        other = self.agent(agent_class, **options)
        set_agent_state(other, unflatten(expected))
        found = flatten(agent_state(other))
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)

    def test_the_state_does_not_change_with_the_agent(self) -> None:
        """A view of the live weights would be another state by the time it is looked at."""
        agent = self.agent(learn=6)
        state = flatten(agent_state(agent))
        before = {name: np.array(value) for name, value in state.items() if isinstance(value, np.ndarray)}
        agent.learn(6, log_interval=None, reset_num_timesteps=False)
        for name, value in before.items():
            np.testing.assert_array_equal(state[name], value, err_msg=name)

    def test_another_kind_of_agent_is_refused(self) -> None:
        with pytest.raises(StoreError, match="does not fit a TD3"):
            set_agent_state(self.agent(TD3), agent_state(self.agent(SAC, learn=6)))


class TestCheckpoint:
    """The files of a run."""

    def test_only_new_rows_are_written(self, tmp_path: Path) -> None:
        """The cost of a checkpoint must not grow with the run."""
        agent = TestAgentState.agent(learn=40, buffer_size=200)
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
        agent = TestAgentState.agent(learn=40, buffer_size=39)
        with pytest.raises(ConfigError, match="buffer_size: found 39"):
            Checkpoint(tmp_path).save(agent, agent.env.envs[0], {})

    @pytest.mark.parametrize("damage", ["training-*.safetensors", "training.json", "rows/part-*.safetensors"])
    def test_damage_is_noticed(self, tmp_path: Path, damage: str) -> None:
        """A run that goes on from altered numbers ends with a wrong dataset and no sign of it."""
        agent = TestAgentState.agent(learn=20, buffer_size=100)
        Checkpoint(tmp_path).save(agent, agent.env.envs[0], {})
        (path,) = tmp_path.glob(damage)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 128
        path.write_bytes(content)
        with pytest.raises(StoreError, match=path.name.split(".")[0]):
            Checkpoint(tmp_path).restore(agent, agent.env.envs[0])
