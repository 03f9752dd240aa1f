"""A run that is judged by its data and model alone, as its user asks for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.damage import rewrite_json
from helpers.runs import run

from mopo_agents.trust.offline import evaluate_offline, open_policy, report_text
from mopo_env.errors import ConfigError, StoreError


@pytest.fixture
def no_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a real environment was made")

    monkeypatch.setattr("mopo_env.real.real_env.make_real_env", refuse)
    monkeypatch.setattr("mopo_agents.evaluation.make_real_env", refuse)


@pytest.mark.usefixtures("no_simulator")
def test_a_report_without_a_real_step(dataset: Path, tmp_path: Path) -> None:
    """Everything is there, twice the same, JSON can hold it, and the text names what contradicts the bound."""
    folder = run(dataset, tmp_path / "run", epochs=2, checkpoint_every=1).folder
    options = {"num_starts": 2, "fqe_updates": 5}
    report = evaluate_offline(open_policy(folder), **options)  # type: ignore[arg-type]
    assert report.epoch == 2
    assert len(report.members) > 0
    assert np.isfinite([report.penalized, report.fitted_value.value, report.score.score, report.score.distance]).all()
    assert json.loads(json.dumps(report.as_data(), allow_nan=False))["score"]["left"] == report.score.left
    assert report == evaluate_offline(open_policy(folder), **options)  # type: ignore[arg-type]
    assert evaluate_offline(open_policy(folder, checkpoint="epoch-00001"), num_starts=1, fqe_updates=1).epoch == 1
    text = report_text(report)
    for words in ("fitted-Q evaluation", "lower bound", "The bound holds if all of these do", "No step of the real"):
        assert words in text


def test_what_cannot_be_judged_is_refused(dataset: Path, tmp_path: Path) -> None:
    """A score in another ensemble is another number; an agent without a model has none."""
    folder = run(dataset, tmp_path / "run", epochs=1, score_every=0).folder
    rewrite_json(folder / "config.json", lambda record: record.update(ensemble_digest="other"))
    with pytest.raises(ConfigError, match="not the one that the run trained in"):
        open_policy(folder)


def test_an_ensemble_that_moved(dataset: Path, tmp_path: Path) -> None:
    """The run's digest decides that it is the same one, not its path."""
    used = tmp_path / "used"
    folder = run(dataset, tmp_path / "run", ensemble=str(shutil.copytree(dataset, used)), epochs=1).folder
    shutil.rmtree(used)
    with pytest.raises(StoreError):
        open_policy(folder)
    open_policy(folder, ensemble=str(dataset))
