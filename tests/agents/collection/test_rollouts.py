"""Rolling a fixed policy out: the episodes depend on the seed, and on nothing else."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from stable_baselines3 import SAC, TD3
from stable_baselines3.sac.policies import SACPolicy

from mopo_agents.collection.episodes import (
    EPISODES_SIDE_BY_SIDE,
    EpisodeRunner,
    make_rollout_policy,
    squashed_gaussian,
)
from mopo_agents.collection.rollouts import roll_out
from mopo_agents.policies import save_policy
from mopo_agents.runs.state.files import AppendLog
from mopo_agents.runs.state.generators import generators_untouched
from mopo_env.errors import ConfigError, StoreError
from mopo_env.real.real_env import make_behaviour_env
from mopo_env.transitions import Episode, Transitions

pytest.importorskip("mujoco")

HOPPER = functools.partial(make_behaviour_env, "hopper-random", max_episode_steps=30, disable_env_checker=True)
ROWS = 1200  # whole groups of sixteen episodes, and a part of one


def hopper_episodes(policy: Path, **changes: Any) -> list[Episode]:
    """Roll out in Hopper, which falls after some twenty random steps or is stopped after thirty."""
    return roll_out(HOPPER, **{"policy": policy, "rows": ROWS, "seed": 7, "progress": False, **changes})


def fingerprint(episodes: list[Episode]) -> str:
    """Tell whether two rollouts are the same bit for bit."""
    return Transitions.from_episodes(episodes).fingerprint


@pytest.fixture(scope="module")
def episodes(policy: Path) -> list[Episode]:
    return hopper_episodes(policy)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that was never trained, in files."""
    agent = SAC("MlpPolicy", HOPPER(), policy_kwargs={"net_arch": [16, 16]}, buffer_size=10, seed=0, device="cpu")
    save_policy(agent, tmp_path_factory.mktemp("policy"))
    return tmp_path_factory.getbasetemp() / "policy0"


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """That files survive one is tested with the writer."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


class TestEpisodes:
    """What comes out."""

    def test_every_row_is_what_the_environment_did(self, episodes: list[Episode]) -> None:
        """Each episode again, from its own seed, with its recorded actions; the ends and their causes too."""
        env = HOPPER()
        for number, episode in enumerate(episodes[:40]):
            start_seed, _ = np.random.SeedSequence(7, spawn_key=(0, number)).generate_state(2, np.uint64).tolist()
            observation, _ = env.reset(seed=start_seed)
            np.testing.assert_array_equal(episode.observations[0], observation)
            for step, action in enumerate(episode.actions):
                observation, reward, terminated, truncated, _ = env.step(action)
                np.testing.assert_array_equal(episode.observations[step + 1], observation)
                assert episode.rewards[step] == np.float32(reward)
                assert (terminated or truncated) == (step == len(episode.actions) - 1)
            assert episode.terminated == terminated
        assert {episode.terminated for episode in episodes} == {True, False}

    def test_there_are_as_many_rows_as_were_asked_for(self, policy: Path, episodes: list[Episode]) -> None:
        """The last episode is cut off; what came before is whole."""
        data = Transitions.from_episodes(episodes)
        assert len(data) == ROWS
        assert data.truncations[-1]
        longer = hopper_episodes(policy, rows=ROWS + 40)
        assert fingerprint(episodes[:-1]) == fingerprint(longer[: len(episodes) - 1])
        kept = len(episodes[-1].actions)
        np.testing.assert_array_equal(episodes[-1].observations, longer[len(episodes) - 1].observations[: kept + 1])

    def test_an_end_that_fits_is_not_called_a_cut(self, policy: Path, episodes: list[Episode]) -> None:
        """Where the rows end with a fall, it stays a fall."""
        number = next(index for index, episode in enumerate(episodes) if episode.terminated and index > 2)
        rows = sum(len(episode.actions) for episode in episodes[: number + 1])
        exact = hopper_episodes(policy, rows=rows)
        assert len(exact) == number + 1
        assert exact[-1].terminated

    def test_seed_and_stream_decide(self, policy: Path, episodes: list[Episode]) -> None:
        """The same seed for two policies must not start all their episodes alike."""
        assert fingerprint(hopper_episodes(policy)) == fingerprint(episodes)
        for change in ({"seed": 8}, {"stream": 1}):
            other = hopper_episodes(policy, **change)
            starts = {episode.observations[0].tobytes() for episode in other}
            assert len(starts) == len(other)
            assert not starts & {episode.observations[0].tobytes() for episode in episodes}

    def test_a_group_does_not_remember_the_one_before(self, policy: Path) -> None:
        """Processes get groups in whatever order; and no generator of the program's is used."""
        arguments = (HOPPER, policy, 7, 0)
        runner = EpisodeRunner(*arguments)
        third, first = runner.run(3), runner.run(1)
        torch.rand(3)
        fresh = EpisodeRunner(*arguments)
        assert fingerprint(fresh.run(1)) == fingerprint(first)
        assert fingerprint(fresh.run(3)) == fingerprint(third)
        assert len(first) == EPISODES_SIDE_BY_SIDE

    @pytest.mark.slow
    def test_processes_change_nothing(self, policy: Path) -> None:
        """One, two and three of them; starting each costs seconds of imports."""
        alone = fingerprint(hopper_episodes(policy))
        for workers in (2, 3):
            assert fingerprint(hopper_episodes(policy, workers=workers)) == alone

    @pytest.mark.slow
    def test_a_dead_process_is_reported(self, policy: Path) -> None:
        """Out of memory, say; the library's own message names no option."""
        with pytest.raises(ConfigError, match="workers: one of 2 processes ended early"):
            roll_out(functools.partial(os._exit, 1), policy=policy, rows=10, seed=0, workers=2, progress=False)


class TestResume:
    """Finished episodes are not run again."""

    @staticmethod
    def run_until(monkeypatch: pytest.MonkeyPatch, groups: int, then: Callable[[], None]) -> list[int]:
        """Do something in a group, and note which groups are run."""
        run, asked = EpisodeRunner.run, list[int]()

        def counted(self: EpisodeRunner, group: int) -> list[Episode]:
            asked.append(group)
            if len(asked) == groups:
                then()
            return run(self, group)

        monkeypatch.setattr(EpisodeRunner, "run", counted)
        return asked

    def test_after_a_crash(self, policy: Path, episodes: list[Episode], tmp_path: Path) -> None:
        def crash() -> None:
            raise MemoryError

        with pytest.MonkeyPatch.context() as patch:
            self.run_until(patch, 3, crash)
            with pytest.raises(MemoryError):
                hopper_episodes(policy, folder=tmp_path, checkpoint_minutes=0.0)
        with pytest.MonkeyPatch.context() as patch:
            asked = self.run_until(patch, 99, crash)
            assert fingerprint(hopper_episodes(policy, folder=tmp_path)) == fingerprint(episodes)
            assert asked[0] == 2  # the first two groups were on disk
            asked.clear()
            assert fingerprint(hopper_episodes(policy, folder=tmp_path)) == fingerprint(episodes)
            assert asked == []  # nothing is left to do
            assert fingerprint(hopper_episodes(policy, folder=tmp_path, rows=2000)) == fingerprint(
                hopper_episodes(policy, rows=2000)
            )
            assert fingerprint(hopper_episodes(policy, folder=tmp_path, rows=500)) == fingerprint(
                hopper_episodes(policy, rows=500)
            )

    def test_after_ctrl_c(self, policy: Path, episodes: list[Episode], tmp_path: Path) -> None:
        """The group under way is finished and saved, though no checkpoint was due."""
        with pytest.MonkeyPatch.context() as patch:
            self.run_until(patch, 2, lambda: signal.raise_signal(signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                hopper_episodes(policy, folder=tmp_path, checkpoint_minutes=60.0)
        assert len(AppendLog(tmp_path).read()[0]["lengths"]) == 2 * EPISODES_SIDE_BY_SIDE
        assert fingerprint(hopper_episodes(policy, folder=tmp_path)) == fingerprint(episodes)

    def test_other_rollouts_are_refused(self, policy: Path, tmp_path: Path) -> None:
        agent = SAC("MlpPolicy", HOPPER(), policy_kwargs={"net_arch": [16, 16]}, buffer_size=10, seed=1, device="cpu")
        save_policy(agent, tmp_path / "other")
        log = tmp_path / "log"
        hopper_episodes(policy, folder=log, rows=100)
        other = {"policy": tmp_path / "other"}
        for change, named in [({"seed": 8}, "seed: begun with 7, now 8"), (other, "policy: begun with")]:
            with pytest.raises(ConfigError, match=named):
                hopper_episodes(**{"policy": policy, "folder": log, **change})


class TestSquashedGaussian:
    """Actions must be distributed as Stable-Baselines3's own are."""

    @pytest.fixture
    def sac(self) -> SACPolicy:
        """Two actions in boxes of other sizes; the standard deviations depend on the state."""
        box = Box(np.float32([-1.0, 0.0]), np.float32([1.0, 10.0]))
        with generators_untouched():
            torch.manual_seed(0)
            return SACPolicy(Box(-1.0, 1.0, (3,)), box, lambda _: 0.0, net_arch=[16])

    def test_without_noise_it_is_the_deterministic_policy(self, sac: SACPolicy) -> None:
        class Silent:
            def standard_normal(self, *, dtype: Any, out: np.ndarray) -> None:
                out[:] = 0.0

        observations = np.random.default_rng(0).uniform(-1, 1, (6, 3)).astype(np.float32)
        found = squashed_gaussian(sac)(observations, [Silent()] * 6, range(6))  # type: ignore[list-item]
        expected, _ = sac.predict(observations, deterministic=True)
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_with_noise_it_is_the_stochastic_one(self, sac: SACPolicy) -> None:
        """Before the squashing, the draws have the network's means and standard deviations (five standard errors)."""
        draws = 4000
        observations = np.repeat(np.float32([[0.3, -0.8, 0.5]]), draws, axis=0)
        generators = [np.random.default_rng(index) for index in range(draws)]
        actions = squashed_gaussian(sac)(observations, generators, range(draws))
        assert actions.dtype == np.float32
        gaussian = np.arctanh(sac.scale_action(actions.astype(np.float64)))
        mean, log_std, _ = sac.actor.get_action_dist_params(torch.from_numpy(observations[:1]))
        std = log_std.exp().detach().numpy()[0]
        np.testing.assert_array_less(np.abs(gaussian.mean(axis=0) - mean.detach().numpy()[0]), 5 * std / np.sqrt(draws))
        np.testing.assert_allclose(gaussian.std(axis=0), std, rtol=5 / np.sqrt(2 * draws))

    def test_finished_episodes_draw_nothing(self, sac: SACPolicy) -> None:
        """Else the actions of one episode would depend on the lengths of others."""
        generators = [np.random.default_rng(index) for index in range(3)]
        squashed_gaussian(sac)(np.zeros((3, 3), dtype=np.float32), generators, [0, 2])
        assert generators[1].bit_generator.state == np.random.default_rng(1).bit_generator.state
        assert generators[2].bit_generator.state != np.random.default_rng(2).bit_generator.state

    def test_other_agents_are_refused(self, tmp_path: Path) -> None:
        """TD3's policy has no noise of its own: rolled out, it would be another recipe."""
        save_policy(TD3("MlpPolicy", HOPPER(), policy_kwargs={"net_arch": [4]}, buffer_size=10), tmp_path)
        with pytest.raises(ConfigError, match="only policies of SAC"):
            make_rollout_policy(tmp_path)
        with pytest.raises(StoreError, match="there is no policy"):
            hopper_episodes(tmp_path / "nowhere", folder=tmp_path / "log")
