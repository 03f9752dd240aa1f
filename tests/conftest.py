"""Set-up shared by all tests."""

from __future__ import annotations

import os
import signal
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.array_types import check_array_types

torch.set_num_threads(1)
# What runs in the background of a shell is started with SIGINT ignored, and tests send it to themselves.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored below nohup

_ROOT = Path(__file__).resolve().parent.parent
check_array_types(_ROOT / "mopo_env", _ROOT / "agents" / "mopo_agents")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the user's datasets and from the current folder."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("MOPO_DATASETS_PATH", str(tmp_path / "mopo"))
    monkeypatch.setenv("MOPO_CACHE_PATH", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mopo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line, and return exit code, output and errors."""
    from mopo_agents.cli import main as cli

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mopo", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
