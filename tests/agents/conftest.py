"""Datasets that many tests look at, and none writes into."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.agents import halfcheetah_rows
from helpers.transitions import transitions

from mopo_env.datasets.files import save_transitions
from mopo_env.models.ensemble import save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset of HalfCheetah's widths and an ensemble."""
    data, folder = halfcheetah_rows(200), tmp_path_factory.mktemp("dataset")
    fit = FitConfig(max_epochs=1, hidden_sizes=(8,), weight_decay=(0.0, 0.0), num_members=2, num_elites=1)
    save_transitions(data, folder)
    save_ensemble(fit_ensemble(data, fit, progress=False), folder)
    return folder


@pytest.fixture(scope="session")
def without_ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset of HalfCheetah's widths, and no ensemble."""
    folder = tmp_path_factory.mktemp("dataset")
    save_transitions(transitions(100, widths=(17, 6)), folder)
    return folder
