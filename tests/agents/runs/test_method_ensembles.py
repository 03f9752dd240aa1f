"""The ensembles of methods: fitted once for a dataset and a configuration, and else as the dataset's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.damage import rewrite_json

from mopo_agents.runs import method_ensembles
from mopo_agents.runs.method_ensembles import ensemble_with
from mopo_env.datasets.files import save_transitions
from mopo_env.errors import StoreError
from mopo_env.models.ensemble import load_ensemble, save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.toys import LinearGaussianSystem
from mopo_env.transitions import Transitions

SMALL = FitConfig(
    num_members=2, num_elites=1, hidden_sizes=(6,), weight_decay=(0.0, 1e-4), max_epochs=1, learning_rate=2e-3, seed=5
)


def recorded(seed: int = 0) -> Transitions:
    return LinearGaussianSystem().transitions(num_episodes=30, num_steps=4, seed=seed)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset with an ensemble of its own."""
    save_transitions(recorded(), tmp_path / "data")
    save_ensemble(fit_ensemble(recorded(), SMALL, progress=False), tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[FitConfig]:
    """Every configuration that was fitted."""
    seen: list[FitConfig] = []

    def spy(transitions: Transitions, config: FitConfig, **options: Any) -> Any:
        seen.append(config)
        return fit_ensemble(transitions, config, **options)

    monkeypatch.setattr(method_ensembles, "fit_ensemble", spy)
    return seen


def find(options: dict[str, Any], data: Path | str) -> Path | None:
    return ensemble_with(options, data, progress=False)


def test_it_differs_from_the_datasets_own_in_the_options_alone(data: Path, fits: list[FitConfig]) -> None:
    """An ablation in which the number of epochs differs as well would ablate that too."""
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    folder = find({"lipschitz": 3.0}, data)
    assert fits == [replace(SMALL, lipschitz=3.0)]
    assert folder is not None
    assert FitConfig.from_recorded(load_ensemble(folder).metadata["config"]) == replace(SMALL, lipschitz=3.0)
    assert {path.name: path.read_bytes() for path in data.iterdir()} == before, "the dataset's own stays"


def test_it_is_fitted_once(data: Path, fits: list[FitConfig], tmp_path: Path) -> None:
    """Minutes the first time, nothing the second; and never the one of other options or other data."""
    first = find({"lipschitz": 3.0}, data)
    assert find({"lipschitz": 3.0}, data) == first
    assert len(fits) == 1
    assert first is not None
    assert first.parent == tmp_path / "cache" / "ensembles"
    assert find({"lipschitz": 4.0}, data) != first
    assert find({"num_members": 1, "num_elites": 1}, data) != first
    assert len(fits) == 3
    other = tmp_path / "other"
    save_transitions(recorded(seed=1), other)
    save_ensemble(fit_ensemble(recorded(seed=1), SMALL, progress=False), other)
    assert find({"lipschitz": 3.0}, other) != first
    assert len(fits) == 4


def test_the_same_data_elsewhere_are_the_same_data(data: Path, fits: list[FitConfig], tmp_path: Path) -> None:
    """The key is the content."""
    first = find({"lipschitz": 3.0}, data)
    assert find({"lipschitz": 3.0}, data.rename(tmp_path / "moved")) == first
    assert len(fits) == 1


def test_the_datasets_own_is_used_if_it_was_fitted_so(data: Path, fits: list[FitConfig]) -> None:
    assert find({"num_members": 2, "learning_rate": 2e-3}, data) is None
    assert find({}, data) is None
    assert fits == []


def test_one_member_is_an_ensemble(data: Path) -> None:
    """The paper's "no ens."."""
    folder = find({"num_members": 1, "num_elites": 1}, data)
    assert folder is not None
    ensemble = load_ensemble(folder)
    assert (ensemble.num_members, ensemble.elites.tolist()) == (1, [0])


@pytest.mark.parametrize("config", [None, {"num_members": 2, "batch": 3}, {"seed": -1}, "all"])
def test_an_ensemble_that_does_not_say_how_it_was_fitted_sets_nothing(
    config: Any, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the defaults do, as where there is no ensemble at all."""
    ensemble = load_ensemble(data)
    ensemble.metadata = {} if config is None else {"config": config}
    save_ensemble(ensemble, data)
    assert method_ensembles._own_config(data) is None
    (data / "ensemble.json").unlink()
    assert method_ensembles._own_config(data) is None


def test_it_is_said_once_that_an_ensemble_is_fitted(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Minutes without a word look like a hang."""
    folder = ensemble_with({"lipschitz": 3.0}, data)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"No ensemble with lipschitz=3.0 for {data} yet: fitting one into {folder}." in err
    ensemble_with({"lipschitz": 3.0}, data)
    assert capsys.readouterr().err == ""


def test_a_folder_that_holds_something_else_is_refused(data: Path) -> None:
    """A file put there by hand must not pass for a regularised ensemble."""
    folder = find({"lipschitz": 3.0}, data)
    assert folder is not None
    save_ensemble(load_ensemble(data), folder)
    with pytest.raises(StoreError, match="holds another ensemble than its name says"):
        find({"lipschitz": 3.0}, data)


def test_an_ensemble_of_before_an_option_existed_keeps_its_key(data: Path) -> None:
    """Its record lacks the option, which then had no other value than today's default."""

    def forget(manifest: dict[str, Any]) -> None:
        for name in ("lipschitz", "scale_targets"):
            del manifest["metadata"]["config"][name]

    rewrite_json(data / "ensemble.json", forget)
    assert method_ensembles._own_config(data) == SMALL
