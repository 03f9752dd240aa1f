"""What an interrupted run goes on from, whichever run it is: every piece alone."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from helpers.agents import files
from helpers.offline_toy import small_agent, toy_transitions
from stable_baselines3 import PPO, SAC, TD3

from mopo_agents._utils.trees import flatten, unflatten
from mopo_agents.agents import make_agent
from mopo_agents.runs.state import files as state_files
from mopo_agents.runs.state.agent_state import agent_state, set_agent_state
from mopo_agents.runs.state.files import (
    AppendLog,
    claim_folder,
    read_state,
    remove_folder,
    remove_strays,
    restoring,
    write_state,
)
from mopo_agents.runs.state.generators import (
    generator_state,
    generators_untouched,
    global_generators,
    set_generator_state,
    set_global_generators,
)
from mopo_agents.runs.state.interruption import Interrupted, interruptible
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, StoreError
from mopo_env.toys import StubEnsemble


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

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_those_of_gpus_too(self) -> None:
        """An agent on a GPU draws its actions there."""
        with generators_untouched():
            torch.rand(1, device="cuda")
            state = unflatten(flatten(global_generators()))
            expected = torch.rand(3, device="cuda")
            set_global_generators(state)
            assert torch.equal(torch.rand(3, device="cuda"), expected)

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

    @pytest.mark.parametrize("make", [np.random.default_rng, lambda seed: torch.Generator().manual_seed(seed)])
    def test_those_of_ones_own(self, make: Callable[[int], Any]) -> None:
        """Agents and replay buffers draw from their own; the state is a copy."""

        def draw(generator: Any) -> float:
            if isinstance(generator, torch.Generator):
                return torch.rand(1, generator=generator).item()
            return float(generator.random())

        generator, other = make(1), make(2)
        draw(generator)
        state = unflatten(flatten(generator_state(generator)))
        expected = [draw(generator) for _ in range(3)]
        set_generator_state(other, state)
        assert [draw(other) for _ in range(3)] == expected


class TestStateFile:
    """Any tree of arrays and numbers, as one artifact."""

    def test_round_trip(self, tmp_path: Path) -> None:
        """Values and types, generators' 128-bit numbers among them; a new state replaces the old one and its file."""
        arrays = {str(kind): np.arange(3).astype(kind) for kind in ("uint8", "bool", "int64", "float32", "float64")}
        for number in (1, 2):
            state = {
                "arrays": {**arrays, "scalar": np.array(number), "none": np.zeros((0, 2))},
                "numbers": {"large": 2**127 + number, "float": 0.1, "flag": True, "text": "x", "nothing": None},
            }
            write_state(tmp_path, "run", state)
            found = read_state(tmp_path, "run")
            assert found is not None
            assert found["numbers"] == state["numbers"]
            assert found["arrays"].keys() == state["arrays"].keys()
            for name, array in state["arrays"].items():
                assert found["arrays"][name].dtype == array.dtype
                np.testing.assert_array_equal(found["arrays"][name], array)
        assert len(list(tmp_path.iterdir())) == 2

    def test_strays_of_crashes_are_removed(self, tmp_path: Path) -> None:
        """A run on a cluster may be killed a hundred times."""
        write_state(tmp_path, "run", {"x": np.arange(3)})
        before = files(tmp_path)
        for name in ("run-0123456789ab.safetensors", ".run.json.1.a.tmp", ".run-abc.safetensors.1.a.tmp"):
            (tmp_path / name).write_text("half")
        remove_strays(tmp_path, "run")
        assert files(tmp_path) == before

    def test_nothing_to_go_on_from(self, tmp_path: Path) -> None:
        assert read_state(tmp_path / "nowhere", "run") is None

    def test_another_version_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same names may then mean something else."""
        with monkeypatch.context() as patch:
            patch.setattr(state_files, "_STATE_VERSION", 99)
            write_state(tmp_path, "run", {"rows": 1})
        with pytest.raises(StoreError, match=r"run\.json: found state version 99, expected \d+.*remove the folder"):
            read_state(tmp_path, "run")

    def test_a_misfit_is_told_from_a_mistake_of_the_user(self, tmp_path: Path) -> None:
        def refuse() -> None:
            raise ConfigError("buffer_size: too small")

        with pytest.raises(StoreError, match="does not fit this run: KeyError: 'rows'"), restoring(tmp_path):
            dict[str, int]()["rows"]
        with pytest.raises(ConfigError, match="buffer_size"), restoring(tmp_path):
            refuse()


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

    def test_old_parts_are_removed(self, tmp_path: Path) -> None:
        """Rows that have left a replay buffer; and what a crash left, half a part among it."""
        log = AppendLog(tmp_path)
        self.append(log, 1, 2, 3)
        self.append(log, 4, 5)
        self.append(log, 6)
        for name in ("part-0000000000-abc.safetensors", ".part-0000000009.json.1.a.tmp", "part-0000000007.json"):
            (tmp_path / name).write_text("half")
        assert [log.start_of(position) for position in (0, 2, 3, 4, 5)] == [0, 0, 3, 3, 5]
        log.keep_only(log.start_of(4), 6)
        assert {path.name[:15] for path in tmp_path.iterdir()} == {"part-0000000003", "part-0000000005"}
        again = AppendLog(tmp_path)
        assert [part["x"].tolist() for part in again.read(start=3, until=6)] == [[4, 5], [6]]
        assert again.start_of(4) == 3

    def test_what_was_skipped_is_not_missed(self, tmp_path: Path) -> None:
        """Between two saves, more rows can come than a replay buffer holds."""
        log = AppendLog(tmp_path)
        self.append(log, 1, 2)
        log.position = 10
        self.append(log, 11, 12)
        assert log.start_of(10) == 10
        log.keep_only(10, 12)
        assert [part["x"].tolist() for part in AppendLog(tmp_path).read(start=10, until=12)] == [[11, 12]]

    def test_nothing_is_read_from_nowhere(self, tmp_path: Path) -> None:
        assert AppendLog(tmp_path / "nowhere").read() == []
        assert AppendLog(tmp_path / "nowhere").read(until=0) == []


class TestFolder:
    """Files of one run must not be continued by another."""

    def test_the_same_options_go_on(self, tmp_path: Path) -> None:
        options = {"seed": 1, "agent": {"tau": 0.005, "train_freq": (1, "step")}}
        for _ in range(2):  # a tuple comes back from JSON as a list
            claim_folder(tmp_path, options)

    def test_other_options_are_named(self, tmp_path: Path) -> None:
        claim_folder(tmp_path, {"seed": 1, "versions": {"mujoco": "3.4.0"}, "same": True})
        before = files(tmp_path)
        with pytest.raises(ConfigError) as caught:
            claim_folder(tmp_path, {"seed": 2, "versions": {"mujoco": "4.0.0", "torch": "2"}, "same": True})
        message = str(caught.value)
        assert "seed: begun with 1, now 2" in message
        assert "versions/mujoco: begun with '3.4.0', now '4.0.0'" in message
        assert "versions/torch: begun with None, now '2'" in message
        assert "same" not in message.replace("those again", "")
        assert files(tmp_path) == before

    def test_files_of_somebody_else_are_left_alone(self, tmp_path: Path) -> None:
        """The folder is removed when the work is done. What a crash left of the claim itself does no harm."""
        (tmp_path / ".configuration.json.1.a.tmp").touch()
        claim_folder(tmp_path, {"seed": 1})
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "thesis.tex").touch()
        with pytest.raises(ConfigError, match="not of unfinished work"):
            claim_folder(tmp_path / "other", {"seed": 1})

    def test_it_is_removed_as_a_whole(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Half of it under the same name would be half of a run; what a crash leaves elsewhere goes the next time."""
        folder = tmp_path / "unfinished"
        claim_folder(folder, {"seed": 1})
        with monkeypatch.context() as patch:
            patch.setattr("shutil.rmtree", lambda *args, **options: None)
            remove_folder(folder)
        assert not folder.exists()
        assert len(list(tmp_path.iterdir())) == 1
        remove_folder(folder)
        assert list(tmp_path.iterdir()) == []


class TestInterruption:
    """Ctrl-C once is a wish, twice an order."""

    def test_twice(self) -> None:
        answers: list[object] = []

        def work() -> None:
            with interruptible() as interrupted:
                answers.append(interrupted())
                signal.raise_signal(signal.SIGINT)
                answers.append(interrupted())
                signal.raise_signal(signal.SIGINT)
                answers.append("behind it")

        with pytest.raises(KeyboardInterrupt):
            work()
        assert answers == [False, True]

    def test_an_interruption_that_nobody_asked_about(self) -> None:
        """The work was done before it looked: the program that was interrupted must end all the same."""
        done = []

        def work() -> None:
            with interruptible():
                signal.raise_signal(signal.SIGINT)
                done.append(True)

        with pytest.raises(KeyboardInterrupt):
            work()
        assert done

    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
    def test_the_signal_is_told(self, name: str, capfd: pytest.CaptureFixture[str]) -> None:
        """The exit code of a process says what ended it. Work that stops for it need not know which it was."""
        number, before = getattr(signal, name), signal.getsignal(getattr(signal, name))

        def work() -> None:
            with interruptible("it goes on a little") as interrupted:
                signal.raise_signal(number)
                assert interrupted()
                raise KeyboardInterrupt

        with pytest.raises(Interrupted) as caught:
            work()
        assert caught.value.number == number
        assert signal.getsignal(number) is before
        assert ("it goes on a little" in capfd.readouterr().err) == (name != "SIGHUP")

    def test_where_it_is_ignored_it_stays_ignored(self) -> None:
        """A script's background jobs are not meant by the Ctrl-C that ends the script."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with interruptible() as interrupted:
                signal.raise_signal(signal.SIGINT)
                assert not interrupted()
        finally:
            signal.signal(signal.SIGINT, before)

    def test_outside_the_main_thread(self) -> None:
        """Signals cannot be caught there; training must still work."""
        answers = []

        def work() -> None:
            with interruptible() as interrupted:
                answers.append(interrupted())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert answers == [False]


def pendulum(agent_class: type[Any] = SAC, **options: Any) -> Any:
    """A small agent in a real environment."""
    chosen: dict[str, Any] = {"policy_kwargs": {"net_arch": [4]}, "seed": 0, **options}
    return agent_class("MlpPolicy", gym.make("Pendulum-v1"), **chosen)


def in_model(**options: Any) -> Any:
    """The default agent of `mopo train`, small."""
    options = {"policy_kwargs": {"net_arch": [4]}, "horizon": 2, "rollout_batch_size": 4, **options}
    model = StubEnsemble(1, 1, mean=lambda s, a: (s, torch.zeros(len(s))))
    return make_agent("SAC", PenalizedModel(model, toy_transitions()), gradient_steps=2, batch_size=8, **options)


AGENTS: dict[str, tuple[int, Callable[[], Any]]] = {
    "SAC": (12, lambda: pendulum(learning_starts=3)),
    "SAC, fixed entropy coefficient": (12, lambda: pendulum(learning_starts=3, ent_coef=0.1)),
    "TD3": (12, lambda: pendulum(TD3, learning_starts=3)),
    "PPO": (8, lambda: pendulum(PPO, n_steps=8, batch_size=4)),
    "MOPO": (16, in_model),
    "MOPO, overlapped": (16, lambda: in_model(overlap=True)),
    "MOPO, random rollouts": (16, lambda: in_model(random_rollouts=True)),
    "BRAC-p": (4, lambda: small_agent("BRAC-p", gradient_steps=2, cloning_updates=2)),
    "BEAR": (4, lambda: small_agent("BEAR", gradient_steps=2)),
}


class TestAgentState:
    """Networks, optimizers, counters and generators of whichever agent."""

    @pytest.fixture(autouse=True)
    def _leave_the_generators_alone(self) -> Iterator[None]:
        with generators_untouched():
            yield

    @pytest.mark.parametrize("name", AGENTS)
    def test_everything_comes_back(self, name: str, tmp_path: Path) -> None:
        """By way of files, into an agent whose weights, moments, counters and generators were others."""
        steps, make = AGENTS[name]
        write_state(tmp_path, "run", agent_state(make().learn(steps, log_interval=None)))
        saved = read_state(tmp_path, "run")
        assert saved is not None
        expected = flatten(saved)
        assert any(path.endswith("exp_avg_sq") and leaf.any() for path, leaf in expected.items())
        other = make()
        assert flatten(agent_state(other))["counters/num_timesteps"] != expected["counters/num_timesteps"]
        set_agent_state(other, saved)
        found = flatten(agent_state(other))
        assert found.keys() == expected.keys()
        for path, leaf in expected.items():
            np.testing.assert_array_equal(found[path], leaf, err_msg=path)

    @pytest.mark.parametrize("name", ["BEAR", "BRAC-p"])
    def test_training_goes_on_bit_for_bit(self, name: str, tmp_path: Path) -> None:
        """These pieces are all that an agent needs which takes no steps: three epochs, in one go or with a break."""
        _, make = AGENTS[name]
        whole = make().learn(6, log_interval=None)
        first = make().learn(2, log_interval=None)
        state = {
            "agent": agent_state(first),
            "buffer": generator_state(first.replay_buffer._generator),
            "generators": global_generators(),
        }
        write_state(tmp_path, "run", state)
        second, saved = make(), read_state(tmp_path, "run")
        assert saved is not None
        set_agent_state(second, saved["agent"])
        set_generator_state(second.replay_buffer._generator, saved["buffer"])
        set_global_generators(saved["generators"])
        second.learn(4, log_interval=None, reset_num_timesteps=False)
        for path, tensor in whole.policy.state_dict().items():
            np.testing.assert_array_equal(second.policy.state_dict()[path], tensor, err_msg=path)

    def test_the_state_does_not_change_with_the_agent(self) -> None:
        """A view of the live weights would be another state by the time it is looked at."""
        agent = in_model(overlap=True).learn(8, log_interval=None)
        state = flatten(agent_state(agent))
        before = {name: np.array(value) for name, value in state.items() if isinstance(value, np.ndarray)}
        agent.learn(8, log_interval=None, reset_num_timesteps=False)
        assert any(
            (before[name] != value).any() for name, value in flatten(agent_state(agent)).items() if name in before
        )
        for name, value in before.items():
            np.testing.assert_array_equal(state[name], value, err_msg=name)

    def test_another_kind_of_agent_is_refused(self, tmp_path: Path) -> None:
        state = agent_state(pendulum(learning_starts=3).learn(6, log_interval=None))
        with pytest.raises(StoreError, match="does not fit this run"), restoring(tmp_path):
            set_agent_state(pendulum(TD3), state)
