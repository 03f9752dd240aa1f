"""Set-up shared by all tests."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)

# Shapes and types are checked at run time where the mathematics is. Elsewhere our own errors must get their say.
install_import_hook(
    [
        *[f"mopo_env.{name}" for name in ("model", "ensemble", "fit", "penalties", "terminations", "toys")],
        *[f"mopo_agents.baselines.{name}" for name in ("action_vae", "divergences", "tanh_gaussian")],
    ],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the user's datasets and from the current folder."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("MOPO_DATASETS_PATH", str(tmp_path / "mopo"))
    monkeypatch.chdir(tmp_path)
