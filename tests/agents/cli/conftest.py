"""The command line sees no bundled data, and a small dataset of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.agents import halfcheetah_rows

from mopo_env.datasets.files import save_transitions


@pytest.fixture(autouse=True)
def _nothing_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes with the package must not decide what these tests see."""
    monkeypatch.setattr("mopo_env.datasets.folders._BUNDLED", tmp_path / "bundled")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a dataset, into which a test may write."""
    save_transitions(halfcheetah_rows(), tmp_path / "data")
    return tmp_path / "data"
