"""Datasets that many tests look at, and none writes into."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.agents import halfcheetah_rows, write_log
from helpers.transitions import transitions

from mopo_env.datasets.files import save_transitions
from mopo_env.datasets.tables.reader import load_table
from mopo_env.models.ensemble import save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig

TINY_FIT = FitConfig(max_epochs=1, hidden_sizes=(8,), weight_decay=(0.0, 0.0), num_members=2, num_elites=1)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset of HalfCheetah's widths and an ensemble."""
    data, folder = halfcheetah_rows(200), tmp_path_factory.mktemp("dataset")
    save_transitions(data, folder)
    save_ensemble(fit_ensemble(data, TINY_FIT, progress=False), folder)
    return folder


@pytest.fixture(scope="session")
def without_ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset of HalfCheetah's widths, and no ensemble."""
    folder = tmp_path_factory.mktemp("dataset")
    save_transitions(transitions(100, widths=(17, 6)), folder)
    return folder


@pytest.fixture
def cart(tmp_path: Path) -> Path:
    """A folder with a user's own log and an ensemble; tests may write into it."""
    columns = {"observations": ["mm", "speed"], "next_observations": ["mm_after", "speed_after"], "actions": ["push"]}
    labels = {"reward": "pay", "terminated": "fell", "episode": "run"}
    data, folder = load_table(write_log(tmp_path / "cart.csv"), **columns, **labels), tmp_path / "cart"
    save_transitions(data, folder)
    save_ensemble(fit_ensemble(data, TINY_FIT, progress=False), folder)
    return folder
