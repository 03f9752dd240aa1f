"""What ends a command ends in one line that a terminal can show."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.agents import halfcheetah_rows
from helpers.runs import leave_run

from mopo_agents.cli import data as data_commands
from mopo_agents.cli import main as cli
from mopo_env.datasets.files import save_transitions
from mopo_env.errors import DatasetError

Mopo = Callable[..., tuple[int, str, str]]

ERRORS: dict[str, tuple[Exception, str]] = {
    "full": (OSError(28, "No space left on device", "/data/x"), "mopo: /data/x: No space left on device."),
    "too many files": (OSError(24, "Too many open files"), "mopo: Too many open files."),
    "without words": (OSError(), "mopo: OSError."),
    "memory": (MemoryError(), "mopo: there is not enough memory."),
    "torch": (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "mopo: there is not enough"),
    "cuda": (RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"), "mopo: there is not enough memory."),
}


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def load(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(data_commands, "load_dataset", load)


@pytest.mark.parametrize("name", ERRORS)
def test_one_line(name: str, mopo: Mopo, monkeypatch: pytest.MonkeyPatch) -> None:
    error, start = ERRORS[name]
    raising(monkeypatch, error)
    code, out, err = mopo("data", "show", "x")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith(start)
    assert "--debug" in err


@pytest.mark.parametrize("place", [0, 2])
def test_debug_shows_where(place: int, mopo: Mopo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it stands; pytest sees the error itself."""
    raising(monkeypatch, OSError(24, "Too many open files"))
    arguments = ["data", "show", "x"]
    arguments.insert(place, "--debug")
    with pytest.raises(OSError, match="Too many open files"):
        mopo(*arguments)
    raising(monkeypatch, DatasetError("refused"))
    with pytest.raises(DatasetError):
        mopo(*arguments)


def test_a_defect_of_ours_keeps_its_traceback(mopo: Mopo, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, KeyError("bug"))
    with pytest.raises(KeyError):
        mopo("data", "show", "x")


def test_help_names_the_option(mopo: Mopo) -> None:
    assert "--debug" in mopo("--help")[1]


HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e"


class TestTerminal:
    """A file that holds control characters could move the cursor, or set the title, or hide what follows."""

    def test_errors(self, mopo: Mopo, monkeypatch: pytest.MonkeyPatch) -> None:
        raising(monkeypatch, DatasetError(f"found {HOSTILE}"))
        err = mopo("data", "show", "x")[2]
        assert not set(err) & set(HOSTILE) - set("]0;title[2J31m")

    def test_warnings(self, mopo: Mopo, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(*_: Any) -> Any:
            warnings.warn(f"column {HOSTILE}", stacklevel=2)
            raise DatasetError("x")

        monkeypatch.setattr(data_commands, "load_dataset", load)
        monkeypatch.setattr(sys, "warnoptions", [])
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            err = mopo("data", "show", "x")[2]
        assert "column " in err
        assert "\x1b" not in err

    def test_every_string_of_a_dataset(self, mopo: Mopo, tmp_path: Path) -> None:
        save_transitions(halfcheetah_rows(), tmp_path / "data")
        path = tmp_path / "data" / "dataset.json"
        path.write_text(path.read_text().replace('"numpy": "', '"numpy": "\\u001b[2J'))
        for command in (["data", "show"], ["fit"], ["model", "show"], ["fit-termination"]):
            code, out, err = mopo(*command, tmp_path / "data")
            assert code == 2
            assert "control characters" in err
            assert "\x1b" not in out + err

    @pytest.mark.parametrize("name", ["config.json", "result.json"])
    def test_every_string_of_a_run(self, name: str, mopo: Mopo, tmp_path: Path) -> None:
        leave_run(tmp_path / "runs" / "good")
        path = leave_run(tmp_path / "runs" / "bad") / name
        path.write_text(path.read_text().replace('": ', '\\u001b[2J": ', 1))
        code, out, err = mopo("report", "runs")
        assert code == 0
        assert "left out: runs/bad" in err
        assert "\x1b" not in out + err


def test_the_line_is_what_the_program_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fixture calls `main`; this is the same without it."""
    raising(monkeypatch, MemoryError())
    monkeypatch.setattr(sys, "argv", ["mopo", "data", "show", "x"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("mopo: there is not enough memory.")
