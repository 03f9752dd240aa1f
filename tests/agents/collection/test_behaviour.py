"""Training a behaviour policy: where it stops, and that an interruption leaves no trace in what comes out."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from helpers.agents import files
from stable_baselines3 import DQN
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from mopo_agents._utils.trees import flatten
from mopo_agents.collection import behaviour as behaviour_module
from mopo_agents.collection import checkpoint as checkpoint_module
from mopo_agents.collection.behaviour import Behaviour, hyperparameters, train_behaviour
from mopo_agents.collection.checkpoint import Checkpoint
from mopo_agents.runs.state.agent_state import agent_state
from mopo_agents.runs.state.generators import global_generators
from mopo_env.errors import ConfigError, StoreError
from mopo_env.real.real_env import make_behaviour_env

pytest.importorskip("mujoco")

STEPS, RANDOM_STEPS = 90, 40
OPTIONS = {"learning_starts": RANDOM_STEPS, "batch_size": 16, "policy_kwargs": {"net_arch": [8]}}

SMALL: dict[str, Any] = {"steps": STEPS, "seed": 3, "agent_options": OPTIONS, "progress": False}


class CrashError(Exception):
    """Stands for a power cut: raised where nobody expects it."""


def train(task: str = "hopper-mixed", **changes: Any) -> Behaviour:
    """Train a small SAC for a little while; Hopper falls every twenty steps."""
    return train_behaviour(lambda: make_behaviour_env(task), **{**SMALL, **changes})


def interrupted_hopper() -> gym.Env[Any, Any]:
    """Press Ctrl-C while the environment is being built."""
    signal.raise_signal(signal.SIGINT)
    return make_behaviour_env("hopper-mixed")


def contents(behaviour: Behaviour) -> dict[str, Any]:
    """Everything that a run leaves: weights, moments, counters, rows and returns."""
    buffer: Any = behaviour.agent.replay_buffer
    rows = {name: getattr(buffer, name)[: behaviour.agent.num_timesteps] for name in checkpoint_module._ROWS}
    curve = {name: getattr(behaviour, name) for name in ("threshold_step", "episode_returns", "episode_lengths")}
    return flatten({"agent": agent_state(behaviour.agent), "rows": rows, "curve": curve})


def assert_same(found: Behaviour, expected: Behaviour) -> None:
    """Compare two runs bit for bit."""
    first, second = contents(found), contents(expected)
    assert first.keys() == second.keys()
    for name, value in second.items():
        np.testing.assert_array_equal(first[name], value, err_msg=name)


def crash_at(monkeypatch: pytest.MonkeyPatch, step: int, *, between: bool = False) -> None:
    """Make the power fail after a number of steps, with a checkpoint of every seventh of them.

    With `between` it fails in the save after that step, behind the rows and before the word that they count.
    """
    steps, write, whole = 0, checkpoint_module.write_state, Checkpoint.save

    def failing_write(*arguments: Any) -> None:
        if between and steps == step:
            raise CrashError
        write(*arguments)

    def counted_save(self: Checkpoint, *arguments: Any) -> None:
        nonlocal steps
        steps += 1
        if steps % 7 == 0 or (between and steps == step):
            whole(self, *arguments)
        if steps == step:
            raise CrashError

    monkeypatch.setattr(checkpoint_module, "write_state", failing_write)
    monkeypatch.setattr(Checkpoint, "save", counted_save)


def interrupt(folder: Path, step: int, *, between: bool = False, **arguments: Any) -> None:
    """Begin a run, or go on with it, and end it with a crash after so many steps."""
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, step, between=between)
        with pytest.raises(CrashError):
            train(folder=folder, checkpoint_minutes=0.0, **arguments)


@pytest.fixture(scope="module")
def straight() -> Behaviour:
    """The run that nothing interrupts."""
    return train()


@pytest.fixture(scope="module")
def long() -> Behaviour:
    """A run of some twenty episodes."""
    return train(steps=380)


@pytest.fixture(scope="module")
def threshold(long: Behaviour) -> float:
    """A return that ten episodes reach, but not the first ten, though one of them does."""
    best = long.best_mean
    assert best is not None
    threshold = best - 1e-9  # sums of ten numbers differ in the last bit with their order
    assert long.episode_returns[:10].max() > threshold > long.episode_returns[:10].mean()
    return threshold


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of checkpoints need not survive one here; that they do is tested with the writer."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


class TestResume:
    """What goes on is the same run."""

    # Before any checkpoint, in the random steps, around the first update (42 has a checkpoint), and at the end.
    @pytest.mark.parametrize("step", [1, 17, RANDOM_STEPS, RANDOM_STEPS + 3, STEPS - 1])
    def test_after_a_crash_at_any_step(self, straight: Behaviour, tmp_path: Path, step: int) -> None:
        interrupt(tmp_path, step)
        assert_same(train(folder=tmp_path), straight)

    def test_after_a_crash_within_a_save(self, straight: Behaviour, tmp_path: Path) -> None:
        """Rows are on disk that do not count yet: they are collected again, and written over."""
        interrupt(tmp_path, 60, between=True)
        interrupt(tmp_path, 20, between=True)
        assert_same(train(folder=tmp_path), straight)

    def test_a_finished_run_is_only_read(self, straight: Behaviour, tmp_path: Path) -> None:
        """Rolling out comes after training, and may be interrupted too."""
        train(folder=tmp_path)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
        assert_same(train(folder=tmp_path), straight)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == before

    def test_checkpoints_change_nothing(self, straight: Behaviour, tmp_path: Path) -> None:
        """One after each step, against none."""
        assert_same(train(folder=tmp_path, checkpoint_minutes=0.0), straight)

    def test_a_longer_run_goes_on_from_a_shorter_one(self, straight: Behaviour, tmp_path: Path) -> None:
        """Who asked for too few steps loses none of them."""
        train(folder=tmp_path, steps=70)
        assert_same(train(folder=tmp_path), straight)
        with pytest.raises(ConfigError, match=r"has done 90 already\. Ask for at least as many"):
            train(folder=tmp_path, steps=70)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"seed": 4}, "seed: begun with 3, now 4"),
            ({"agent_options": {**OPTIONS, "tau": 0.01}}, "hyperparameters/tau: begun with 0.005, now 0.01"),
            ({"threshold": 5.0}, "threshold: begun with None, now 5.0"),
            ({"task": "walker2d-mixed"}, "environment: begun with 'Hopper-v5', now 'Walker2d-v5'"),
        ],
    )
    def test_another_run_is_refused(self, tmp_path: Path, change: dict[str, Any], named: str) -> None:
        """Half of one run and half of another would be a dataset of nobody's."""
        interrupt(tmp_path, 8)
        before = files(tmp_path)
        with pytest.raises(ConfigError, match=named):
            train(folder=tmp_path, **change)
        assert files(tmp_path) == before

    def test_other_versions_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another MuJoCo has other contacts."""
        interrupt(tmp_path, 8)
        monkeypatch.setattr(behaviour_module, "library_versions", lambda: {"mujoco": "9.9.9"})
        with pytest.raises(ConfigError, match=r"versions/mujoco: begun with .*, now '9\.9\.9'"):
            train(folder=tmp_path)

    def test_damage_is_not_taken_for_a_new_run(self, tmp_path: Path) -> None:
        interrupt(tmp_path, 50)
        for path in (tmp_path / "rows").glob("part-0000000014-*"):
            path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(StoreError, match="damaged"):
            train(folder=tmp_path)

    def test_an_environment_that_cannot_be_kept_is_refused_at_once(self, tmp_path: Path) -> None:
        """And not by the first checkpoint, minutes later. Without checkpoints it is as good as any."""

        def make_env() -> gym.Env[Any, Any]:
            return gym.wrappers.NormalizeReward(make_behaviour_env("hopper-mixed"))

        with pytest.raises(ConfigError, match="NormalizeReward cannot be saved"):
            train_behaviour(make_env, folder=tmp_path / "nothing", **SMALL)
        assert not (tmp_path / "nothing").exists()
        assert train_behaviour(make_env, **{**SMALL, "steps": 45}).agent.num_timesteps == 45

    def test_another_agent_in_another_environment(self, tmp_path: Path) -> None:
        """Nothing here is SAC's or MuJoCo's own: DQN explores by a schedule, and CartPole has two actions."""
        options: dict[str, Any] = {
            "learning_starts": 30,
            "train_freq": 4,
            "target_update_interval": 20,
            "batch_size": 8,
        }

        def cart_pole(**changes: Any) -> Behaviour:
            arguments: dict[str, Any] = {"steps": 198, "agent_class": DQN, "agent_options": options, **changes}
            return train_behaviour(lambda: gym.make("CartPole-v1"), seed=1, progress=False, **arguments)

        with pytest.MonkeyPatch.context() as patch:
            crash_at(patch, 20)
            with pytest.raises(CrashError):
                cart_pole(folder=tmp_path, checkpoint_minutes=0.0)
        straight = cart_pole()
        assert_same(cart_pole(folder=tmp_path), straight)
        assert_same(cart_pole(folder=tmp_path), straight)  # only read
        # It updates every fourth step, and so it finished the rollout; what was not asked for does not count.
        assert (straight.agent.num_timesteps, straight.steps) == (200, 198)
        assert straight.episode_lengths.sum() <= 198
        with pytest.raises(ConfigError, match="steps: begun with 198, now 300"):  # the schedule would be another
            cart_pole(folder=tmp_path, steps=300)


class TestThreshold:
    """Where the training of "medium" and "mixed" ends."""

    @staticmethod
    def crossing(long: Behaviour, threshold: float) -> int:
        """Compute by hand at which step ten episodes in a row first had this mean."""
        ends = long.episode_lengths.cumsum()
        for last in range(9, len(ends)):
            if sum(long.episode_returns[last - 9 : last + 1]) / 10 >= threshold:
                return int(ends[last])
        raise AssertionError("no such threshold in this run")

    def test_it_ends_there(self, long: Behaviour, threshold: float) -> None:
        """At the end of an episode, the step's row stored and its update done."""
        stopped = train(steps=380, threshold=threshold)
        step = self.crossing(long, threshold)
        assert (stopped.threshold, stopped.threshold_step) == (threshold, step)
        assert stopped.agent.num_timesteps == step < 380
        assert stopped.agent._n_updates == step - RANDOM_STEPS  # type: ignore[attr-defined]
        assert stopped.episode_lengths.sum() == step
        buffer, long_buffer = stopped.agent.replay_buffer, long.agent.replay_buffer
        assert buffer is not None
        assert long_buffer is not None
        assert buffer.pos == step
        assert buffer.dones[step - 1, 0]  # type: ignore[attr-defined]
        np.testing.assert_array_equal(buffer.rewards[:step], long_buffer.rewards[:step])  # type: ignore[attr-defined]

    def test_reached_with_the_last_step_it_counts(self, long: Behaviour, threshold: float) -> None:
        assert train(steps=self.crossing(long, threshold), threshold=threshold).threshold_step is not None

    def test_not_reached(self, straight: Behaviour) -> None:
        """The run is whole, and the same as one that nobody measures."""
        unreached = train(threshold=1e6)
        assert unreached.threshold_step is None
        assert_same(unreached, straight)

    def test_going_on_behind_it(self, long: Behaviour, threshold: float, tmp_path: Path) -> None:
        """The half-trained policy is handed out once, also when the run is interrupted before or after."""
        step, seen = self.crossing(long, threshold), list[int]()

        def at_threshold(agent: OffPolicyAlgorithm) -> None:
            seen.append(agent.num_timesteps)

        arguments: dict[str, Any] = {"steps": 380, "threshold": threshold, "at_threshold": at_threshold}
        interrupt(tmp_path, step - 10, **arguments)
        assert seen == []
        interrupt(tmp_path, 30, **arguments)
        assert seen == [step]
        whole = train(folder=tmp_path, **arguments)
        assert (seen, whole.threshold_step) == ([step], step)
        for name, value in contents(long).items():
            if name != "curve/threshold_step":
                np.testing.assert_array_equal(contents(whole)[name], value, err_msg=name)

    def test_a_run_that_ended_there_does_not_go_on(self, threshold: float, tmp_path: Path) -> None:
        ended = train(steps=380, threshold=threshold, folder=tmp_path)
        assert_same(train(steps=380, threshold=threshold, folder=tmp_path), ended)

    def test_best_mean_and_curve(self, straight: Behaviour) -> None:
        returns, lengths = np.array([0.0, 10.0, *[1.0] * 10]), np.array([3] * 12)
        options: dict[str, Any] = {"agent": straight.agent, "steps": STEPS, "threshold": None, "threshold_step": None}
        known = Behaviour(episode_returns=returns, episode_lengths=lengths, **options)
        assert known.best_mean == pytest.approx(1.9)  # ten from the second on: 10 and nine times 1
        assert known.curve().decode().splitlines()[:3] == ["step,return,length", "3,0.0,3", "6,10.0,3"]
        assert Behaviour(episode_returns=returns[:9], episode_lengths=lengths[:9], **options).best_mean is None


class TestInterruption:
    """Ctrl-C once saves, twice ends at once."""

    def test_once(self, tmp_path: Path) -> None:
        """Without any checkpoint before it; the handler is as it was afterwards."""
        arguments: dict[str, Any] = {"steps": 280, "threshold": -1e9}
        before = signal.getsignal(signal.SIGINT)
        sent: Callable[[OffPolicyAlgorithm], None] = lambda agent: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
        with pytest.raises(KeyboardInterrupt):
            train(folder=tmp_path, checkpoint_minutes=60.0, at_threshold=sent, **arguments)
        assert signal.getsignal(signal.SIGINT) is before
        assert (tmp_path / "training.json").is_file()
        nothing: Callable[[OffPolicyAlgorithm], None] = lambda agent: None  # noqa: E731
        whole = train(folder=tmp_path, at_threshold=nothing, **arguments)
        assert_same(whole, train(at_threshold=nothing, **arguments))

    def test_before_the_first_step(self, straight: Behaviour, tmp_path: Path) -> None:
        """There are no rows to save then, and the optimisers remember nothing."""
        with pytest.raises(KeyboardInterrupt):
            train_behaviour(interrupted_hopper, folder=tmp_path, **SMALL)
        assert_same(train(folder=tmp_path), straight)


def test_the_users_generators_are_left_alone() -> None:
    """Stable-Baselines3 seeds and draws from all three."""
    before = flatten(global_generators())
    train(steps=60)
    for name, value in flatten(global_generators()).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_hyperparameters_are_those_of_stable_baselines(straight: Behaviour) -> None:
    """The defaults stand in the dataset's metadata, so that they are known when the library has changed them."""
    assert hyperparameters(straight.agent) == {
        "learning_rate": 0.0003,
        "learning_starts": RANDOM_STEPS,
        "batch_size": 16,
        "tau": 0.005,
        "gamma": 0.99,
        "train_freq": [1, "step"],
        "gradient_steps": 1,
        "ent_coef": "auto",
        "target_entropy": -3.0,
        "target_update_interval": 1,
        "use_sde": False,
        "policy_kwargs": {"net_arch": [8], "use_sde": False},
        "net_arch": [8],
    }
