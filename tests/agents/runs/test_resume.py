"""A run that is killed and resumed ends as if it had not been killed, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Discrete
from helpers.agents import files, quiet_jax, same_weights
from helpers.damage import change_tensor, rewritten
from helpers.interrupted import die_after, in_child, outcome
from helpers.runs import ON_POLICY, config, run
from helpers.transitions import transitions
from stable_baselines3 import SAC

from mopo_agents.cli import main as cli
from mopo_agents.runs.callback import EpochCallback
from mopo_agents.runs.folder import new_folder, running
from mopo_agents.runs.resume import resume
from mopo_agents.runs.state.files import read_state, write_state
from mopo_agents.runs.train import train
from mopo_env._utils.store import read_artifact
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.datasets.relabel import relabel
from mopo_env.errors import BusyError, ConfigError, MopoError
from mopo_env.models.ensemble import save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig

# JAX, which tests of other agents load into the same process, warns of every fork. The children here never use it.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")

Mopo = Callable[..., tuple[int, str, str]]

TINY_FIT = FitConfig(max_epochs=1, hidden_sizes=(8,), weight_decay=(0.0, 0.0), num_members=2, num_elites=1)
SAVED: dict[str, Any] = {"epochs": 5, "save_every": 0, "seed": 3}


@pytest.fixture(autouse=True)
def _no_waiting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run waits for the next second before it makes its file of events, whose order matters to one test."""
    if "tensorboard" not in request.node.name:
        monkeypatch.setattr("mopo_agents.runs.logs.time.sleep", lambda seconds: None)


def die_after_epoch(epoch: int) -> None:
    """Make this process die when it has saved an epoch and is in the middle of the next."""
    count = EpochCallback._on_rollout_end

    def check(self: EpochCallback) -> None:
        if self.epoch == epoch:
            os.kill(os.getpid(), signal.SIGKILL)
        count(self)

    EpochCallback._on_rollout_end = check  # type: ignore[method-assign]


def killed_and_resumed(data: Path, folder: Path, *, after: int = 3, **options: Any) -> None:
    def work() -> None:
        die_after_epoch(after)
        run(data, folder, **{**SAVED, **options})

    assert in_child(work) == -signal.SIGKILL
    assert not (folder / "result.json").exists()
    resume(folder, progress=False)


KINDS: dict[str, dict[str, Any]] = {
    "SAC": {"agent": "SAC", "retain_epochs": 2},
    "SAC, its own code": {"fast": False},
    "SAC, overlapped": {"overlap": True},
    "SAC, rollouts with one member": {"member_per": "rollout", "horizon": 3},
    "SAC, random rollouts": {"random_rollouts": True},
    "TD3": {"agent": "TD3"},
    "TQC": {"agent": "TQC"},
    "CrossQ": {"agent": "CrossQ"},
    "PPO": {**ON_POLICY, "agent_options": {"batch_size": 40, "policy_kwargs": {"net_arch": [16]}}},
    "A2C": {**ON_POLICY, "agent": "A2C"},
    "BC": {"agent": "BC", "rollout_batch_size": None},
    "BEAR": {"agent": "BEAR", "rollout_batch_size": None},
    "BRAC-p": {"agent": "BRAC-p", "rollout_batch_size": None},
    "BRAC-v": {"agent": "BRAC-v", "rollout_batch_size": None},
    "offline-SAC": {"agent": "offline-SAC", "rollout_batch_size": None},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_ends_as_if_it_had_not_been(kind: str, dataset: Path, tmp_path: Path) -> None:
    """Weights, evaluations, logs and checkpoints."""
    options = KINDS[kind]
    run(dataset, tmp_path / "whole", **{**SAVED, **options})
    killed_and_resumed(dataset, tmp_path / "killed", **options)
    whole, killed = outcome(tmp_path / "whole"), outcome(tmp_path / "killed")
    for name in whole:
        assert killed[name] == whole[name], name


def test_the_target_of_dqn_keeps_its_rhythm(tmp_path: Path) -> None:
    """It is copied at every third update of the run, two of which make an epoch."""
    actions: dict[str, Any] = {"actions": np.arange(60) % 3, "action_space": Discrete(3)}
    data = transitions(widths=(2, 3), observations=np.random.default_rng(0).normal(size=(60, 2)), **actions)
    save_transitions(data, tmp_path / "data")
    save_ensemble(fit_ensemble(data, TINY_FIT, progress=False), tmp_path / "data")
    network = {"target_update_interval": 3, "policy_kwargs": {"net_arch": [16]}}
    options: dict[str, Any] = {"agent": "DQN", "task": str(tmp_path / "data"), "agent_options": network}
    run(tmp_path, tmp_path / "whole", **SAVED, **options, dataset=None)
    killed_and_resumed(tmp_path, tmp_path / "killed", after=2, **options, dataset=None)
    assert outcome(tmp_path / "whole") == outcome(tmp_path / "killed")


def resume_or_begin(data: Path, folder: Path, **options: Any) -> None:
    """Do what a user does after a crash."""
    if not (folder / "config.json").exists():
        run(data, folder, **options)
    elif not (folder / "result.json").exists():
        resume(folder, progress=False)
    elif any("unfinished" in path.name for path in folder.iterdir()):
        with pytest.raises(ConfigError, match="the run is finished"):
            resume(folder, progress=False)


@pytest.mark.parametrize("step", [23, pytest.param(1, marks=pytest.mark.slow)])
def test_every_moment_at_which_a_run_can_die(step: int, dataset: Path, tmp_path: Path) -> None:
    """Before each operation on a file, from the first to the last of a run; no temporary files stay behind.

    The buffer keeps two epochs, so that rows are appended, and removed when they are too old.
    """
    options: dict[str, Any] = {**SAVED, "retain_epochs": 2, "checkpoint_every": 2}
    run(dataset, tmp_path / "whole", **options)
    expected, died, code = outcome(tmp_path / "whole"), 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        folder = tmp_path / str(died)

        def work(folder: Path = folder, count: int = died) -> None:
            die_after(count)
            run(dataset, folder, **options)

        code = in_child(work)
        resume_or_begin(dataset, folder, **options)
        assert outcome(folder) == expected, f"killed before operation {died}"
        died += step
    assert (code, died > 60) == (0, True)


def test_a_run_that_is_killed_again_and_again(dataset: Path, tmp_path: Path) -> None:
    """In each epoch, also right after a resume; the state on disk does not grow."""
    options: dict[str, Any] = {**SAVED, "retain_epochs": 2}
    run(dataset, tmp_path / "whole", **options)
    folder, sizes = tmp_path / "killed", []
    for epoch in range(1, 5):

        def work(epoch: int = epoch) -> None:
            die_after_epoch(epoch)
            resume_or_begin(dataset, folder, **options)

        assert in_child(work) == -signal.SIGKILL
        sizes.append(len([path for path in (folder / "unfinished").rglob("*") if path.is_file()]))
    resume(folder, progress=False)
    assert outcome(folder) == outcome(tmp_path / "whole")
    assert sizes[1:] == [3 + 2 * 2] * 3, "lock, state and its arrays, and two parts of the buffer"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["SAC", "SAC, overlapped", "PPO"])
def test_kills_at_random_moments(kind: str, dataset: Path, tmp_path: Path) -> None:
    """Not only between operations on files: from outside, in updates, in rollouts and in the middle of a write."""
    options: dict[str, Any] = {**SAVED, **KINDS[kind], "epochs": 40, "save_every": 0}
    run(dataset, tmp_path / "whole", **options)
    generator, folder, kills = np.random.default_rng(0), tmp_path / "killed", 0
    while not (folder / "result.json").exists():
        # Longer and longer: on a busy machine, the shortest lives are too short for one epoch.
        def work(seconds: float = float(generator.uniform(0.2, 1.5)) * (1 + kills / 20)) -> None:
            killer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
            killer.daemon = True
            killer.start()
            resume_or_begin(dataset, folder, **options)

        kills += in_child(work) == -signal.SIGKILL
        assert kills < 200
    resume_or_begin(dataset, folder, **options)
    assert outcome(folder) == outcome(tmp_path / "whole")
    assert kills > 1


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_saves_and_ends_the_run(
    name: str, code: int, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C, a cluster that takes the machine back, a lost terminal: no epoch is lost, and the next step is named."""
    options = {**SAVED, "save_every": 60}
    run(dataset, tmp_path / "whole", **options)

    def work() -> None:
        count = EpochCallback._on_rollout_end

        def interrupt(self: EpochCallback) -> None:
            count(self)
            if self.epoch == 1:
                signal.raise_signal(getattr(signal, name))

        EpochCallback._on_rollout_end = interrupt  # type: ignore[method-assign]
        given = config(dataset, **options)
        sys.argv = ["mopo"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cli, "_run", lambda *_: train(given, folder="run", progress=False))
            cli.main()

    assert in_child(work) == code
    message = capfd.readouterr().err
    assert ("stops when this epoch is finished" in message) == (name != "SIGHUP")
    assert "mopo: Resume the run with `mopo train --resume run`" in message
    assert "Traceback" not in message
    result = resume("run", progress=False)
    assert [row["after_epoch"] for row in result.resumed] == [2]
    assert outcome(Path("run")) == outcome(tmp_path / "whole")


def interrupt_twice(self: EpochCallback) -> None:
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)


def test_the_second_interruption_does_not_wait(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch can be long. What was saved before stays."""
    with monkeypatch.context() as patch:
        patch.setattr(EpochCallback, "_on_rollout_end", interrupt_twice)
        with pytest.raises(KeyboardInterrupt) as caught:
            run(dataset, tmp_path / "run", **SAVED)
    assert "Resume the run" in "".join(caught.value.__notes__)
    assert resume(tmp_path / "run", progress=False).resumed[0]["after_epoch"] == 0


def test_a_run_that_is_not_saved_ends_at_once(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to wait for; and the folder is not lost."""
    with monkeypatch.context() as patch:
        patch.setattr(EpochCallback, "_on_rollout_end", lambda self: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt) as caught:
            run(dataset, tmp_path / "run", **{**SAVED, "save_every": None})
    assert "was not saved, because its state was not to be saved" in "".join(caught.value.__notes__)
    resume(tmp_path / "run", progress=False)
    run(dataset, tmp_path / "whole", **{**SAVED, "save_every": None})
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


# ---------------------------------------------------------------- what is resumed


def interrupted(data: Path, folder: Path, agent_class: Any = None, **options: Any) -> Path:
    """Leave a run that was stopped in its second epoch, after the state of the first was saved."""

    def stop(self: EpochCallback) -> None:
        finish(self)
        if self.epoch == 1:
            signal.raise_signal(signal.SIGINT)

    finish = EpochCallback._on_rollout_end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpochCallback, "_on_rollout_end", stop)
        given = config(data, **{**SAVED, **options})
        with pytest.raises(KeyboardInterrupt):
            train(given, folder=folder, agent_class=agent_class, progress=False)
    return folder


def test_tensorboard_has_neither_gaps_nor_doubles(dataset: Path, tmp_path: Path) -> None:
    """Events of the epochs that were lost are void, though their file stays."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    killed_and_resumed(dataset, tmp_path / "run", save_every=60)  # two epochs are in the log and in no state
    events = accumulator.EventAccumulator(str(tmp_path / "run")).Reload()
    for name in ("mopo/penalty_mean", "train/critic_loss"):
        assert [event.step for event in events.Scalars(name)] == [1, 2, 3, 4, 5]


def test_a_changed_ensemble_is_refused(dataset: Path, tmp_path: Path) -> None:
    """The rest of the run would be of another model, and its record of neither."""
    data = tmp_path / "data"
    shutil.copytree(dataset, data)
    folder = interrupted(data, tmp_path / "run")
    before = files(folder)
    tensors = read_artifact(data, "ensemble")[0]
    name = next(name for name, array in tensors.items() if array.dtype == np.float32)
    rewritten(data, "ensemble", change_tensor(name, lambda array: 1.5 * array))
    with pytest.raises(ConfigError, match=r"inputs have changed \(ensemble_digest: begun with '.*', now '"):
        resume(folder, progress=False)
    assert {name: body for name, body in files(folder).items() if name != "unfinished/.run.lock"} == {
        name: body for name, body in before.items() if name != "unfinished/.run.lock"
    }


def test_a_changed_dataset_is_refused(dataset: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(dataset, data)
    folder = interrupted(data, tmp_path / "run")
    save_transitions(relabel(load_transitions(data), lambda s, a, following: s[:, 0]), data)
    with pytest.raises(MopoError, match="dataset"):
        resume(folder, progress=False)


def test_another_machine_is_named(dataset: Path, tmp_path: Path) -> None:
    """Bits may then differ, which the output and the record say; the run goes on all the same."""
    folder = interrupted(dataset, tmp_path / "run")
    state = read_state(folder / "unfinished", "training")
    assert state is not None
    state["computed_with"] |= {"torch": "1.0", "processor": "Amiga"}
    write_state(folder / "unfinished", "training", state)
    (record,) = resume(folder, progress=False).resumed
    assert record["after_epoch"] == 2
    assert [text.split(":")[0] for text in record["differences"]] == ["processor", "torch"]
    assert json.loads((folder / "result.json").read_text())["resumed"] == [dict(record)]


def test_the_command_line_resumes(mopo: Mopo, dataset: Path, tmp_path: Path) -> None:
    """With the options of the run and no others; what is finished or nowhere is named."""
    folder = interrupted(dataset, tmp_path / "run", evaluation_episodes=1)
    code, _, err = mopo("train", "--dataset", dataset, "halfcheetah-mixed", "--out", folder)
    assert (code, f"holds an unfinished run. Resume it with `mopo train --resume {folder}`" in err) == (2, True)
    code, _, err = mopo("train", "--resume", folder, "--epochs", 9, "--out", "other")
    assert (code, "Leave out --epochs, --out" in err) == (2, True)
    code, out, err = mopo("train", "--resume", folder)
    assert (code, "resumed after epoch 2" in out + err) == (0, True)
    code, _, err = mopo("train", "--resume", folder)
    assert (code, "the run is finished, there is nothing to resume" in err) == (2, True)
    code, _, err = mopo("train", "--resume", "nowhere")
    assert (code, "nowhere: found no config.json" in err) == (2, True)
    code, _, err = mopo("train")
    assert (code, "TASK: found none" in err) == (2, True)


@quiet_jax
@pytest.mark.slow  # JAX compiles each agent anew
@pytest.mark.parametrize("agent", ["SBX-SAC", "SBX-TD3", "SBX-CrossQ"])
def test_agents_of_jax(agent: str, dataset: Path, tmp_path: Path) -> None:
    """Their weights, moments and keys are no tensors of PyTorch. JAX has threads, so there is no fork here."""
    pytest.importorskip("sbx")
    run(dataset, tmp_path / "whole", **SAVED, agent=agent)
    interrupted(dataset, tmp_path / "run", agent=agent)
    assert resume(tmp_path / "run", progress=False).resumed[0]["after_epoch"] == 2
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


class MySAC(SAC):
    """An agent of a user's own, whose numbers change from epoch to epoch."""

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        self.my_count = getattr(self, "my_count", 0) + 1
        self.tau = 0.1 * self.my_count
        super().train(gradient_steps, batch_size)


class Remembering(SAC):
    """An agent with a memory of which this package knows nothing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.memory = np.zeros(3)


def test_a_class_of_ones_own(dataset: Path, tmp_path: Path) -> None:
    """It is passed again; without it, the message says so."""
    given = config(dataset, **SAVED)
    whole = train(given, folder=tmp_path / "whole", agent_class=MySAC, progress=False)
    interrupted(dataset, tmp_path / "run", agent_class=MySAC)
    with pytest.raises(ConfigError, match=r"agent_class: .* is a run of .*MySAC, which has no name here"):
        resume(tmp_path / "run", progress=False)
    again = resume(tmp_path / "run", agent_class=MySAC, progress=False)
    assert same_weights(whole.agent, again.agent)
    assert again.agent.my_count == 5  # type: ignore[attr-defined]


def test_an_agent_with_a_memory_is_refused_before_it_trains(dataset: Path, tmp_path: Path) -> None:
    """It would resume as another agent than it was. Without saving, it may train."""
    with pytest.raises(ConfigError, match=r"save_every: runs of .*Remembering cannot be resumed: its attribute memory"):
        train(config(dataset), folder=tmp_path / "run", agent_class=Remembering, progress=False)
    recurrent = config(dataset, **{**ON_POLICY, "agent": None, "agent_options": {"policy": "MlpLstmPolicy"}})
    contrib = pytest.importorskip("sb3_contrib")
    with pytest.raises(ConfigError, match=r"_last_lstm_states is not saved.*--save-every None"):
        train(recurrent, folder=tmp_path / "run", agent_class=contrib.RecurrentPPO, progress=False)
    assert not (tmp_path / "run").exists()
    train(config(dataset, save_every=None), folder=tmp_path / "run", agent_class=Remembering, progress=False)


def test_a_run_has_one_process(dataset: Path, tmp_path: Path) -> None:
    """Two would write into each other's files; the lock of a dead one does not count."""
    folder = interrupted(dataset, tmp_path / "run")
    with running(folder), pytest.raises(BusyError, match=f"process {os.getpid()} on .* works in this folder"):
        resume(folder, progress=False)
    resume(folder, progress=False)


def test_two_runs_that_start_together_get_folders_of_their_own(dataset: Path) -> None:
    """Between the look for a free name and the making of the folder, the other one may take it."""
    names: list[Path] = []
    with ThreadPoolExecutor(8) as threads:
        names += threads.map(lambda _: new_folder("run"), range(40))
    assert len(set(names)) == 40


def test_what_a_crash_of_the_start_left(dataset: Path, tmp_path: Path) -> None:
    """An empty folder with a lock is as good as new; a state without its options is not touched."""
    with running(tmp_path / "run"):
        pass
    run(dataset, tmp_path / "run", **SAVED)
    folder = interrupted(dataset, tmp_path / "other")
    (folder / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"holds a run, but no config\.json"):
        run(dataset, folder, **SAVED)
