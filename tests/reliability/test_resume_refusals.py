"""A run that does not fit its folder any more is refused, with the difference by name."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.agents import halfcheetah_rows
from helpers.damage import rewrite_json
from helpers.runs import config

import mopo_agents.runs.train as training
from mopo_agents.runs.callback import EpochCallback
from mopo_agents.runs.resume import resume
from mopo_agents.runs.train import train
from mopo_env._utils.store import FORMAT_VERSION
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.datasets.relabel import relabel
from mopo_env.errors import ConfigError, MopoError
from mopo_env.models.ensemble import save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interrupted run, and its data beside it."""
    data = halfcheetah_rows(100)
    tiny = FitConfig(max_epochs=1, hidden_sizes=(8,), weight_decay=(0.0, 0.0), num_members=2, num_elites=1)
    save_transitions(data, tmp_path / "data")
    save_ensemble(fit_ensemble(data, tiny, progress=False), tmp_path / "data")
    with monkeypatch.context() as patch:
        count = EpochCallback._on_rollout_end

        def interrupt(self: EpochCallback) -> None:
            count(self)
            if self.epoch == 1:
                signal.raise_signal(signal.SIGINT)

        patch.setattr(EpochCallback, "_on_rollout_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(config(tmp_path / "data", epochs=4, save_every=0), folder=tmp_path / "run", progress=False)
    return tmp_path / "run"


def changed_option(run: Path) -> None:
    rewrite_json(run / "config.json", lambda record: record.update(retain_epochs=3))


def changed_data(run: Path) -> None:
    data = run.parent / "data"
    save_transitions(relabel(load_transitions(data), lambda s, a, following: s[:, 0]), data)


def newer_format(run: Path) -> None:
    for path in (run / "unfinished").glob("*.json"):
        rewrite_json(path, lambda manifest: manifest.update(format_version=FORMAT_VERSION + 1))


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (changed_option, ["config.json was edited", "begun as"]),
        (changed_data, ["fitted to other data", "the rewards differ"]),
        (newer_format, [f"version {FORMAT_VERSION + 1}", f"{FORMAT_VERSION}"]),
    ],
)
def test_the_difference_is_named(change: Callable[[Path], Any], parts: list[str], run: Path, tmp_path: Path) -> None:
    """Three causes, three messages, and nothing is written: undone, the run goes on."""
    shutil.copytree(tmp_path / "data", tmp_path / "data before")
    shutil.copytree(run, tmp_path / "before")
    change(run)
    with pytest.raises(MopoError) as caught:
        resume(run, progress=False)
    for part in parts:
        assert part in str(caught.value), str(caught.value)
    for name, before in (("run", "before"), ("data", "data before")):
        shutil.rmtree(tmp_path / name)
        (tmp_path / before).rename(tmp_path / name)
    assert resume(run, progress=False).resumed[0]["after_epoch"] == 2


def test_an_option_beside_resume_is_named(mopo: Callable[..., tuple[int, str, str]], run: Path) -> None:
    code, _, err = mopo("train", "--resume", run, "--retain-epochs", 3, "--seed", 1)
    assert code == 2
    assert "a resumed run keeps its options" in err
    assert "--retain-epochs, --seed" in err


def test_a_run_that_another_process_finishes_meanwhile(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the first look at the folder and the lock lie seconds of loading; the result must not be made anew."""
    build = training.build_penalized_model
    with monkeypatch.context() as patch:

        def finish_first(*arguments: Any, **options: Any) -> Any:
            patch.setattr(training, "build_penalized_model", build)
            resume(run, progress=False)
            return build(*arguments, **options)

        patch.setattr(training, "build_penalized_model", finish_first)
        with pytest.raises(ConfigError, match="the run is finished"):
            resume(run, progress=False)
    assert json.loads((run / "result.json").read_text())["epochs"] == 4
    assert len(json.loads((run / "result.json").read_text())["resumed"]) == 1
    assert not (run / "unfinished").exists()
