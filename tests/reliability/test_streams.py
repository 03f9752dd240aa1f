"""Whatever standard output and error are connected to, no command ends in a traceback, and no work is lost."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers.agents import halfcheetah_rows
from helpers.interrupted import in_child
from helpers.runs import TASK, leave_run
from helpers.terminals import all_commands, connect, on_terminal, run_main

from mopo_agents._utils.streams import lasting_streams
from mopo_env.datasets.files import save_transitions
from mopo_env.models.ensemble import save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig

# JAX, which other tests load into the same process, warns of every fork. The children here never use it.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")

COMMANDS = [words for words, _ in all_commands()]
ENCODINGS = ["ascii", "cp1252"]
HOSTILE = "λ − … ± 数 \udcff"
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")
TINY_FIT = FitConfig(max_epochs=1, hidden_sizes=(8,), weight_decay=(0.0, 0.0), num_members=2, num_elites=1)
TINY_RUN = ["--epochs=2", "--gradient-steps=1", "--rollout-batch-size=8", "--evaluate-every=0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset without a task, so that a training needs no MuJoCo."""
    rows, folder = halfcheetah_rows(100), tmp_path_factory.mktemp("λ data")
    save_transitions(rows, folder)
    save_ensemble(fit_ensemble(rows, TINY_FIT, progress=False), folder)
    return folder


class TestCharacters:
    """λ, − and … once ended seven commands with a UnicodeEncodeError."""

    def test_the_parser_was_asked(self) -> None:
        assert {("tasks",), ("train",), ("data", "show"), ("cache", "list")} <= set(COMMANDS)

    @pytest.mark.parametrize("encoding", ENCODINGS)
    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_every_command(self, command: tuple[str, ...], encoding: str) -> None:
        """Its help, and an error that repeats what the terminal cannot show."""
        code, out, err = on_terminal(encoding, *command, "--help")
        assert (code, err) == (0, "")
        assert "usage: mopo" in out
        code, out, err = on_terminal(encoding, *command, HOSTILE, f"--{HOSTILE}")
        assert code == 2
        assert "Traceback" not in out + err

    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_every_table(self, encoding: str, data: Path, tmp_path: Path) -> None:
        """Where a character is missing, its name or an escape stands there."""
        leave_run(tmp_path / "runs" / "a")
        (tmp_path / "plan.toml").write_text(f'out = "out λ"\n[options]\ntask = "{TASK}"\n[[grid]]\nseed = [0]\n')
        for command in (
            ["tasks"],
            ["methods"],
            ["data", "show", data],
            ["model", "show", data],
            ["report", "runs"],
            ["cache", "list"],
            ["sweep", "status", "plan.toml"],
            ["train", data, *TINY_RUN, "--out", tmp_path / "run"],
            ["select", tmp_path / "run"],
        ):
            code, out, err = on_terminal(encoding, *command)
            assert "Traceback" not in out + err
            assert code == 0, err
        assert "h    lambda  real environment" in on_terminal(encoding, "tasks")[1]

    def test_utf_8_is_left_as_it_is(self) -> None:
        assert "h    λ  real environment" in on_terminal("utf-8", "tasks")[1]


class TestBrokenStreams:
    """`mopo train … | head -1`, a dead `tee`, a full disk, `>&-`: hours of training must not end with a print."""

    @needs_full
    @pytest.mark.parametrize(
        ("out", "err", "code"),
        [
            ("closed", "closed", 0),
            ("broken pipe", "broken pipe", 141),
            ("/dev/full", "/dev/full", 2),
            ("closed", "broken pipe", 0),
        ],
    )
    def test_a_training_ends_as_it_would(self, out: str, err: str, code: int, data: Path, tmp_path: Path) -> None:
        """Also its progress bar, which writes to standard error. The exit code says that output was lost."""

        def work() -> None:
            connect(1, out)
            connect(2, err)
            sys.exit(run_main("train", data, *TINY_RUN, "--out", tmp_path / "run"))

        assert in_child(work) == code
        assert json.loads((tmp_path / "run" / "result.json").read_text())["updates"] == 2

    @pytest.mark.slow
    def test_a_training_whose_reader_goes(self, data: Path, tmp_path: Path) -> None:
        """The command as it is typed, in a shell."""
        program = "import sys; from mopo_agents.cli.main import main; sys.exit(main())"
        mopo = shlex.join([sys.executable, "-c", program, "train", str(data), *TINY_RUN, "--out", "run"])
        done = subprocess.run(["bash", "-c", f"{mopo} 2>&1 | head -c 1; exit ${{PIPESTATUS[0]}}"], check=False)  # noqa: S607
        assert done.returncode == 141
        assert (tmp_path / "run" / "result.json").exists()

    @needs_full
    def test_a_full_disk_is_told(self, capfd: pytest.CaptureFixture[str]) -> None:
        def work() -> None:
            connect(1, "/dev/full")
            sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8")
            sys.exit(run_main("tasks"))

        assert in_child(work) == 2
        assert capfd.readouterr().err == (
            "mopo: standard output: No space left on device. The work is done, but not all of it was shown.\n"
        )

    def test_an_error_keeps_its_exit_code(self) -> None:
        def work() -> None:
            connect(1, "broken pipe")
            connect(2, "closed")
            sys.exit(run_main("train", "no-such-task"))

        assert in_child(work) == 2

    def test_no_file_takes_the_number_of_a_closed_stream(self, tmp_path: Path) -> None:
        """A library that writes to "standard error" would else write into the file."""

        def work() -> None:
            for number in range(3):
                os.close(number)
            sys.stdout = sys.stderr = None
            with lasting_streams(), (tmp_path / "file").open("wb"):
                os.write(2, b"a warning of a C library")

        assert in_child(work) == 0
        assert (tmp_path / "file").read_bytes() == b""

    def test_a_terminal_that_does_not_block(self) -> None:
        """Another program can set this for all who share the terminal; everything is still written."""
        reader, writer = os.pipe()

        def work() -> None:
            os.dup2(writer, 1)
            os.set_blocking(1, False)
            sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8")
            with lasting_streams():
                sys.stdout.write("x" * 1_000_000)

        found: list[bytes] = []

        def read() -> None:
            with os.fdopen(reader, "rb") as stream:
                found.append(stream.read())

        thread = threading.Thread(target=read)
        thread.start()
        try:
            assert in_child(work) == 0
        finally:
            os.close(writer)
            thread.join()
        assert len(found[0]) == 1_000_000


def test_streams_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    """Those that are no files, such as a notebook's, are not touched at all."""
    before = sys.stdout, sys.stderr
    with lasting_streams():
        assert (sys.stdout, sys.stderr) == before
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8")
    replaced = sys.stdout
    try:
        with lasting_streams():
            assert sys.stdout is not replaced
        assert sys.stdout is replaced
    finally:
        sys.stdout = before[0]
