"""Collected datasets: every row is what the robot did, in order, with the true cause of every end."""

from __future__ import annotations

import csv
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.agents import files
from helpers.runs import ON_POLICY, recorded, run
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from mopo_agents.collection import collector as collector_module
from mopo_agents.collection import recipes
from mopo_agents.collection.behaviour import train_behaviour
from mopo_agents.collection.collector import Collector
from mopo_agents.collection.config import CollectConfig
from mopo_agents.collection.episodes import EpisodeRunner
from mopo_agents.collection.recipes import RECIPES
from mopo_agents.collection.rollouts import roll_out
from mopo_agents.evaluation import evaluate
from mopo_agents.policies import load_policy
from mopo_agents.sb3.mixins import RandomRollouts
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.datasets.locate import load_dataset
from mopo_env.errors import ConfigError
from mopo_env.models.ensemble import save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.real.real_env import make_behaviour_env, make_real_env
from mopo_env.rewards import RewardFunction, ant_angle, ant_forward, halfcheetah_capped, halfcheetah_jump
from mopo_env.tasks import TASKS
from mopo_env.transitions import Transitions

mujoco = pytest.importorskip("mujoco")

RANDOM_STEPS, STEPS = 50, 120
SMALL: dict[str, Any] = {
    "agent_options": {"learning_starts": RANDOM_STEPS, "policy_kwargs": {"net_arch": [16]}},
    "progress": False,
}
MEDIUM: dict[str, Any] = {"steps": 500, "behaviour_steps": 700, "threshold": 5.0, "seed": 2, **SMALL}


def collect(
    task: str,
    *,
    folder: Path | None = None,
    agent_options: dict[str, Any] | None = None,
    progress: bool = True,
    **options: Any,
) -> Transitions:
    """Collect by a configuration of these options."""
    config = CollectConfig(task=task, **options)
    return recipes.collect(config, folder=folder, agent_options=agent_options, progress=progress)


def collect_small(
    task: str, *, steps: int = STEPS, seed: int = 0, max_episode_steps: int | None = None
) -> tuple[Transitions, Any]:
    """Collect a little of a replay buffer, and return the agent too."""
    agents: list[Any] = []

    def spied(*args: Any, **options: Any) -> Any:
        behaviour = train_behaviour(*args, **options)
        agents.append(behaviour.agent)
        return behaviour

    def make(name: str) -> Any:
        return make_behaviour_env(
            name, **({} if max_episode_steps is None else {"max_episode_steps": max_episode_steps})
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collector_module, "train_behaviour", spied)
        patch.setattr(collector_module, "make_behaviour_env", make)
        return collect(task, steps=steps, seed=seed, **SMALL), agents[0]


@pytest.fixture(scope="module")
def hopper() -> tuple[Transitions, Any]:
    """Hopper falls over after some twenty random steps, so its episodes end by termination."""
    return collect_small("hopper-mixed", seed=3)


def test_the_dataset_is_the_whole_replay_buffer(hopper: tuple[Transitions, Any]) -> None:
    """The recipe "mixed" means exactly this: all that SAC saw, the random steps included."""
    transitions, agent = hopper
    buffer = agent.replay_buffer
    assert len(transitions) == STEPS
    assert agent.num_timesteps == STEPS
    assert buffer.pos == STEPS
    assert agent._n_updates == STEPS - RANDOM_STEPS
    np.testing.assert_array_equal(transitions.observations, buffer.observations[:STEPS, 0])
    np.testing.assert_array_equal(transitions.next_observations, buffer.next_observations[:STEPS, 0])
    np.testing.assert_array_equal(transitions.rewards, buffer.rewards[:STEPS, 0])
    np.testing.assert_array_equal(transitions.terminations, buffer.dones[:STEPS, 0].astype(bool))
    np.testing.assert_allclose(transitions.actions, buffer.actions[:STEPS, 0], atol=1e-6)  # Hopper's box is −1…1


def replay(task: str, transitions: Transitions, seed: int, **options: Any) -> list[int]:
    """Check every row against the environment itself, and return the lengths of the episodes."""
    env = make_real_env(task, **options)
    observation, _ = env.reset(seed=seed)
    lengths, length = [], 0
    for row in range(len(transitions)):
        np.testing.assert_array_equal(transitions.observations[row], observation)
        observation, reward, terminated, truncated, _ = env.step(transitions.actions[row])
        length += 1
        np.testing.assert_array_equal(transitions.next_observations[row], observation)
        assert transitions.rewards[row] == np.float32(reward)
        assert transitions.terminations[row] == terminated
        if row < len(transitions) - 1:
            assert transitions.truncations[row] == (truncated and not terminated)
        if terminated or truncated:
            observation, _ = env.reset()
            lengths.append(length)
            length = 0
    env.close()
    return lengths


def test_every_row_is_what_the_environment_did(hopper: tuple[Transitions, Any]) -> None:
    """With the same seed and actions the robot does the same: also s′ at a terminal row, where D4RL has a restart."""
    transitions, _ = hopper
    lengths = replay("hopper-mixed", transitions, 3)
    assert len(lengths) > 1
    assert transitions.terminations.sum() == len(lengths)
    end = lengths[0] - 1
    assert (transitions.next_observations[end] != transitions.observations[end + 1]).any()


def test_a_time_limit_is_a_truncation() -> None:
    """HalfCheetah never falls: a cut after 30 steps must not teach the critic that the world ended there."""
    transitions, _ = collect_small("halfcheetah-mixed", steps=100, max_episode_steps=30)
    assert not transitions.terminations.any()
    assert np.flatnonzero(transitions.truncations).tolist() == [29, 59, 89, 99]  # and the last row
    replay("halfcheetah-mixed", transitions, 0, max_episode_steps=30)


def test_the_last_row_ends_its_episode(hopper: tuple[Transitions, Any]) -> None:
    """Collection stops in mid-stride: unflagged, a reader that joins datasets would run on into the next."""
    transitions, _ = hopper
    assert transitions.terminations[-1] != transitions.truncations[-1]
    assert not transitions.truncations[:-1].any()


def test_the_seed_decides_the_data(hopper: tuple[Transitions, Any]) -> None:
    """Else a published dataset could not be made again."""
    transitions, _ = hopper
    assert collect_small("hopper-mixed", seed=3)[0].fingerprint == transitions.fingerprint
    assert collect_small("hopper-mixed", seed=4)[0].fingerprint != transitions.fingerprint


def test_metadata_say_where_the_data_come_from(hopper: tuple[Transitions, Any]) -> None:
    transitions, _ = hopper
    metadata = transitions.metadata
    assert (metadata["name"], metadata["real_env_id"], metadata["seed"]) == ("hopper-mixed", "Hopper-v5", 3)
    assert f"after {STEPS} steps" in metadata["recipe"]
    assert metadata["mujoco_version"] == mujoco.__version__
    behaviour = metadata["behaviour"]
    assert (behaviour["agent"], behaviour["steps"]) == ("SAC", STEPS)
    assert behaviour["hyperparameters"]["learning_starts"] == RANDOM_STEPS
    finished = transitions.episode_returns[: len(metadata["episode_returns"])]
    assert len(finished) == transitions.terminations.sum()
    # Rounded to three digits; the rewards were float64 when they were summed.
    np.testing.assert_allclose(metadata["episode_returns"], finished, atol=1e-3)


@pytest.mark.parametrize(("task", "reward"), [("halfcheetah-jump", halfcheetah_jump), ("ant-angle", ant_angle)])
def test_the_recipe_replay_relabels_the_whole_replay_buffer(task: str, reward: RewardFunction) -> None:
    """SAC saw and learned the behaviour reward; the dataset has the task's, as its real environment would have paid."""
    transitions, agent = collect_small(task, seed=3)
    buffer = agent.replay_buffer
    filled = len(transitions)
    assert buffer.pos == filled
    assert (len(transitions), agent.num_timesteps, agent._n_updates) == (STEPS, STEPS, STEPS - RANDOM_STEPS)
    np.testing.assert_array_equal(transitions.observations, buffer.observations[:filled, 0])
    np.testing.assert_array_equal(transitions.next_observations, buffer.next_observations[:filled, 0])
    np.testing.assert_array_equal(transitions.terminations, buffer.dones[:filled, 0].astype(bool))
    arrays = (transitions.observations, transitions.actions, transitions.next_observations)
    np.testing.assert_array_equal(transitions.rewards, np.float32(reward(*arrays)))
    behaviour = halfcheetah_capped if task == "halfcheetah-jump" else ant_forward
    np.testing.assert_array_equal(buffer.rewards[:filled, 0], np.float32(behaviour(*arrays)))
    replay(task, transitions, 3)  # the same seed and actions in the real environment


def test_metadata_of_relabelled_data_tell_both_rewards_apart() -> None:
    transitions, _ = collect_small("halfcheetah-jump", steps=100, max_episode_steps=30)
    metadata = transitions.metadata
    assert (metadata["name"], metadata["seed"]) == ("halfcheetah-jump", 0)
    assert metadata["behaviour_env_id"] == "mopo/HalfCheetahCapped-v0"
    assert metadata["real_env_id"] == "mopo/HalfCheetahJump-v0"
    assert metadata["reward_function"] == "mopo_env.rewards.halfcheetah_jump"
    assert "after 100 steps" in metadata["recipe"]
    assert len(metadata["behaviour_returns"]) == 3
    assert "episode_returns" not in metadata
    assert np.abs(np.array(metadata["behaviour_returns"]) - transitions.episode_returns[:3]).min() > 0.1


def test_from_collecting_to_a_policy_on_a_relabelled_task(tmp_path: Path) -> None:
    """The whole way of halfcheetah-jump, in small: collect, fit, train with the task's random rollouts, evaluate."""
    transitions, _ = collect_small("halfcheetah-jump", steps=300)
    fit = FitConfig(max_epochs=1, hidden_sizes=(8,), weight_decay=(0.0, 0.0), num_members=2, num_elites=1)
    save_transitions(transitions, tmp_path / "data")
    save_ensemble(fit_ensemble(transitions, fit, progress=False), tmp_path / "data")
    result = run(tmp_path / "data", tmp_path / "run", task="halfcheetah-jump", method="mopo-no-lip", evaluate_every=2)
    assert isinstance(result.agent, RandomRollouts)
    assert recorded(tmp_path / "run")["random_rollouts"] is True
    # No number where there is none: null in JSON, an empty cell in the table.
    assert json.loads((tmp_path / "run" / "result.json").read_text())["evaluations"][0]["normalised"] is None
    assert (tmp_path / "run" / "evaluations.csv").read_text().splitlines()[1].endswith(",")
    assert "evaluation/normalised" not in (tmp_path / "run" / "progress.csv").read_text()
    with pytest.raises(ConfigError, match="random_rollouts: PPO is not off-policy"):
        run(tmp_path / "data", tmp_path / "ppo", task="halfcheetah-jump", method="mopo-no-lip", **ON_POLICY)


def test_a_replay_buffer_of_random_steps_alone_is_refused() -> None:
    """It would be another recipe under this name. The recipe "replay" takes its length from either option."""
    with pytest.raises(ConfigError, match=f"steps: found {RANDOM_STEPS}, expected more than the {RANDOM_STEPS}"):
        collect_small("hopper-mixed", steps=RANDOM_STEPS)
    with pytest.raises(ConfigError, match=r"^behaviour_steps: found 10"):
        collect("halfcheetah-jump", behaviour_steps=10)
    with pytest.raises(ConfigError, match=r"^steps: found 10"):
        collect("halfcheetah-jump", steps=10)


class TestRecipes:
    """D4RL's four, from the command to the folder that is left."""

    def test_every_task_has_one(self) -> None:
        """`mopo_env` tells users which command to type, and `mopo_agents` holds the commands: the two must agree."""
        assert set(RECIPES) == {task.recipe for task in TASKS.values()}
        assert all(f"`mopo collect {task.name}`" in task.how_to_get_data for task in TASKS.values())

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "data"

    @staticmethod
    def files(folder: Path) -> set[str]:
        """Name the files that are left, without their digests."""
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        return {name.split("-")[0] + ".safetensors" if name.endswith(".safetensors") else name for name in found}

    def test_random(self, folder: Path) -> None:
        """A million steps by default, of a policy that was never trained, which is kept as the others are."""
        data = collect("hopper-random", folder=folder, steps=600, seed=5, progress=False)
        assert self.files(folder) == {
            "dataset.json",
            "dataset.safetensors",
            "behaviour/policy.json",
            "behaviour/policy.safetensors",
        }
        assert load_transitions(folder).fingerprint == data.fingerprint
        assert len(data) == 600
        assert "behaviour" not in data.metadata
        assert data.metadata["recipe"] == "600 steps of SAC as it was initialised, with stochastic actions"
        assert collect("hopper-random", steps=600, seed=5, progress=False).fingerprint == data.fingerprint
        assert collect("hopper-random", steps=600, seed=6, progress=False).fingerprint != data.fingerprint

    def test_mixed_ends_at_the_threshold(self, folder: Path) -> None:
        """The whole replay buffer up to there, and the policy that the robot had then."""
        data = collect("hopper-mixed", folder=folder, behaviour_steps=900, threshold=5.0, **SMALL)
        behaviour = data.metadata["behaviour"]
        step = behaviour["threshold_step"]
        assert (len(data), behaviour["steps"], behaviour["threshold"]) == (step, step, 5.0)
        assert step < 900
        assert data.terminations[-1] or data.truncations[-1]
        assert data.episode_returns[-10:].mean() >= 5.0
        assert self.files(folder) == {
            "dataset.json",
            "dataset.safetensors",
            "behaviour/policy.json",
            "behaviour/policy.safetensors",
            "behaviour/training_curve.csv",
        }
        with (folder / "behaviour" / "training_curve.csv").open() as table:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(table)]
        assert [row["step"] for row in rows] == (data.episode_ends + 1).tolist()
        np.testing.assert_allclose([row["return"] for row in rows], data.episode_returns, rtol=1e-5)
        assert sum(row["length"] for row in rows) == step

    def test_mixed_of_a_given_length_asks_for_no_threshold(self) -> None:
        """So that its size does not depend on the seed."""
        data = collect("hopper-mixed", steps=STEPS, threshold=-1e9, **SMALL)
        assert len(data) == STEPS
        assert (data.metadata["behaviour"]["threshold"], data.metadata["behaviour"]["threshold_step"]) == (None, None)

    def test_exactly_as_many_steps_from_an_agent_that_updates_every_so_many(self) -> None:
        """CartPole's DQN acts in rollouts of 250; here the last episode outlives what was asked for."""
        data = collect("cartpole-mixed", steps=1100, progress=False)
        assert len(data) == 1100
        assert (data.metadata["behaviour"]["steps"], data.metadata["recipe"].split(",")[0]) == (
            1250,
            "the replay buffer of DQN after 1100 steps",
        )
        np.testing.assert_allclose(data.metadata["episode_returns"], data.episode_returns[:-1])

    def test_med_expert_joins_two_policies(self, folder: Path, tmp_path: Path) -> None:
        """The first half is "medium" of the same seed; the second comes from the policy that trained on."""
        options: dict[str, Any] = {"threshold": 5.0, "seed": 2, **SMALL}
        both = collect("hopper-med-expert", folder=folder, steps=401, behaviour_steps=320, **options)
        medium = collect("hopper-medium", folder=tmp_path / "medium", steps=200, behaviour_steps=400, **options)
        assert (len(both), len(medium)) == (401, 200)
        for name in ("observations", "actions", "rewards", "next_observations", "terminations", "truncations"):
            np.testing.assert_array_equal(getattr(both, name)[:200], getattr(medium, name), err_msg=name)
        assert medium.metadata["behaviour"]["threshold_step"] == both.metadata["behaviour"]["threshold_step"] < 320
        assert both.metadata["behaviour"]["steps"] == 320
        make_env = functools.partial(make_behaviour_env, "hopper-medium")
        expert = Transitions.from_episodes(
            roll_out(make_env, policy=folder / "behaviour", rows=201, seed=2, stream=2, progress=False)
        )
        np.testing.assert_array_equal(both.rewards[200:], expert.rewards)
        weights = [
            load_policy(place).state_dict()["actor.mu.weight"].numpy()  # type: ignore[attr-defined]
            for place in (folder / "behaviour" / "medium", tmp_path / "medium" / "behaviour", folder / "behaviour")
        ]
        np.testing.assert_array_equal(weights[0], weights[1])
        assert (weights[1] != weights[2]).any()

    def test_the_behaviour_policy_can_be_evaluated(self, folder: Path) -> None:
        """`mopo evaluate` finds the task in the policy's metadata."""
        collect("hopper-medium", folder=folder, steps=100, behaviour_steps=700, threshold=5.0, **SMALL)
        metadata = json.loads((folder / "behaviour" / "policy.json").read_text())["metadata"]
        assert metadata["task"] == "hopper-medium"
        assert evaluate(load_policy(folder / "behaviour"), "hopper-medium", episodes=2).mean > 0.0

    def test_thresholds_are_the_papers_medium_returns(self) -> None:
        """Table 1: what "medium" earns is where the training of "medium", "mixed" and "med-expert" stops."""
        expected = {"halfcheetah": 3953.0, "hopper": 1021.7, "walker2d": 498.4}
        for task in TASKS.values():
            if task.paper_return is None:  # a task of ours
                continue
            robot = task.name.split("-")[0]
            has_one = task.recipe in ("medium", "mixed", "med-expert")
            assert task.behaviour_threshold == (expected[robot] if has_one else None)

    @pytest.mark.slow
    def test_the_bundled_data_begin_so(self) -> None:
        """A promise to those who have them: the recipe has not changed since, not in one bit."""
        collected, bundled = collect("halfcheetah-mixed", seed=1, steps=4000), load_dataset("halfcheetah-mixed")
        for name in ("observations", "actions", "rewards", "next_observations", "terminations"):
            np.testing.assert_array_equal(getattr(collected, name), getattr(bundled, name)[:4000], err_msg=name)
        np.testing.assert_array_equal(collected.truncations[:-1], bundled.truncations[:3999])


class TestUnfinished:
    """What an interruption leaves, and that it is as good as none."""

    def test_a_threshold_that_is_not_reached(self, tmp_path: Path) -> None:
        """An error that says what to do, and does not cost the training: with more steps it goes on."""
        with pytest.raises(ConfigError) as caught:
            collect("hopper-mixed", folder=tmp_path, behaviour_steps=100, threshold=5.0, **SMALL)
        for part in ("behaviour_steps: 100 training steps", "reach 5.0", "more behaviour_steps", "where this one"):
            assert part in str(caught.value)
        assert not (tmp_path / "dataset.json").exists()
        assert (tmp_path / "behaviour" / "training_curve.csv").exists()
        assert not (tmp_path / "behaviour" / "policy.json").exists()
        begun_at, learn = [], OffPolicyAlgorithm.learn

        def spied(self: Any, *args: Any, **options: Any) -> Any:
            begun_at.append(self.num_timesteps)
            return learn(self, *args, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(OffPolicyAlgorithm, "learn", spied)
            data = collect("hopper-mixed", folder=tmp_path, behaviour_steps=900, threshold=5.0, **SMALL)
        assert begun_at == [100]
        assert data.fingerprint == collect("hopper-mixed", behaviour_steps=900, threshold=5.0, **SMALL).fingerprint

    def test_interrupted_while_rolling_out(self, tmp_path: Path) -> None:
        """Training is over then: it is not begun anew, and the policy stays where it is."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Collector, "roll_out", lambda *args, **options: signal.raise_signal(signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                collect("hopper-medium", folder=tmp_path, **MEDIUM)
        assert (tmp_path / "unfinished").is_dir()
        policy = (tmp_path / "behaviour" / "policy.json").read_bytes()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("stable_baselines3.SAC.learn", lambda *args, **options: pytest.fail("trained again"))
            data = collect("hopper-medium", folder=tmp_path, **MEDIUM)
        assert (tmp_path / "behaviour" / "policy.json").read_bytes() == policy
        assert not (tmp_path / "unfinished").exists()
        assert data.fingerprint == collect("hopper-medium", **MEDIUM).fingerprint

    def test_another_task_or_seed_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="not enough"):
            collect("hopper-medium", folder=tmp_path, behaviour_steps=100, threshold=1e6, **SMALL)
        for task, seed, named in [
            ("hopper-mixed", 0, "task: begun with 'hopper-medium', now 'hopper-mixed'"),
            ("hopper-medium", 1, "seed: begun with 0, now 1"),
        ]:
            with pytest.raises(ConfigError, match=named):
                collect(task, folder=tmp_path, behaviour_steps=200, threshold=1e6, seed=seed, **SMALL)

    def test_a_folder_with_a_dataset_is_refused(self, tmp_path: Path) -> None:
        """Before anything is done."""
        collect("hopper-random", folder=tmp_path, steps=50, progress=False)
        before = files(tmp_path)
        with pytest.raises(ConfigError, match="already holds a dataset"):
            collect("hopper-random", folder=tmp_path, steps=60, progress=False)
        assert files(tmp_path) == before

    def test_without_a_folder_nothing_is_left(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        collect("hopper-medium", **{**MEDIUM, "steps": 50})
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("option", "value"), [("steps", 1), ("threshold", "1"), ("checkpoint_minutes", -1.0)])
    def test_wrong_options_are_named(self, tmp_path: Path, option: str, value: Any) -> None:
        with pytest.raises(ConfigError, match=f"{option}: expected"):
            collect("hopper-medium", folder=tmp_path / "data", **{option: value})
        assert not (tmp_path / "data").exists()

    def test_killed_while_tidying_up(self, tmp_path: Path) -> None:
        """The dataset is saved, the unfinished work still there: the same call must end as one that was left alone."""
        options: dict[str, Any] = {"steps": 50, "folder": tmp_path, "progress": False}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(recipes, "remove_folder", lambda folder: signal.raise_signal(signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                collect("hopper-random", **options)
        saved = load_transitions(tmp_path).fingerprint
        before = files(tmp_path)
        with pytest.raises(ConfigError, match="seed: begun with 0, now 3"):
            collect("hopper-random", seed=3, **options)
        assert files(tmp_path) == before
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(EpisodeRunner, "run", lambda *args: pytest.fail("rolled out again"))
            assert collect("hopper-random", **options).fingerprint == saved
        assert load_transitions(tmp_path).fingerprint == saved
        assert {path.name.split("-")[0] for path in tmp_path.iterdir()} == {"dataset.json", "dataset", "behaviour"}
        with pytest.raises(ConfigError, match="already holds a dataset"):
            collect("hopper-random", **options)

    @pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the workers in Linux's /proc")
    def test_workers_die_with_their_parent(self, tmp_path: Path) -> None:
        """Killed, a process cannot tell its workers to end; left alone they would compute for nobody, for ever."""
        config = {"task": "hopper-random", "steps": 10**7, "workers": 2, "checkpoint_minutes": 0.0}
        program = (
            "from mopo_agents import CollectConfig, collect\n"
            f"collect(CollectConfig(**{config!r}), folder={str(tmp_path)!r}, progress=False)"
        )

        def is_alive(process: int) -> bool:
            stat = Path(f"/proc/{process}/stat")
            return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"

        def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
            deadline = time.monotonic() + seconds
            while not condition() and time.monotonic() < deadline:
                time.sleep(0.02)
            return condition()

        parent = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
        children: list[int] = []
        try:
            assert wait_for(lambda: any((tmp_path / "unfinished" / "random").glob("part-*.json")), 60)
            found = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
            children = [int(process) for process in found.split()]
            assert len(children) >= 2
            parent.kill()
            parent.wait()
            assert wait_for(lambda: not any(map(is_alive, children)), 2)
        finally:
            parent.kill()
            parent.wait()
            for process in filter(is_alive, children):
                os.kill(process, signal.SIGKILL)

    @pytest.mark.slow
    @pytest.mark.parametrize("task", ["hopper-med-expert", "halfcheetah-jump"])
    def test_after_many_kills(self, tmp_path: Path, task: str) -> None:
        """Whole processes, killed again and again at moments of chance, against one that was left in peace.

        The signal of a timer ends a process as abruptly as SIGKILL; this one counts the process's own seconds, so that
        a busy machine changes nothing.
        """
        config = {name: value for name, value in MEDIUM.items() if name not in SMALL}
        config |= {"task": task, "checkpoint_minutes": 0.0}
        program = f"""
import random, signal, sys
from mopo_agents import CollectConfig, collect

signal.setitimer(signal.ITIMER_PROF, random.Random(int(sys.argv[1])).uniform(0.5, 4))
collect(CollectConfig(**{config!r}), folder={str(tmp_path)!r}, **{SMALL!r})
"""
        codes = []
        # One that is killed on its way out, behind its last line, is done too.
        while not (tmp_path / "dataset.json").exists() or (tmp_path / "unfinished").exists():
            arguments = [sys.executable, "-c", program, str(len(codes))]
            codes.append(subprocess.run(arguments, check=False).returncode)
            assert codes[-1] in (0, -signal.SIGPROF)
            assert len(codes) <= 40
        assert codes[0] == -signal.SIGPROF
        assert load_transitions(tmp_path).fingerprint == collect(**config, **SMALL).fingerprint
