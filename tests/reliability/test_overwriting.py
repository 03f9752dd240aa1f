"""No command replaces what the user has without --overwrite: each that writes, into a folder that is occupied."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.agents import files, halfcheetah_rows, write_log
from helpers.models import fitted_ensemble
from helpers.runs import TASK, leave_run

from mopo_env.datasets.d4rl import load_d4rl
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.datasets.minari.reader import save_minari
from mopo_env.models.ensemble import load_ensemble, save_ensemble
from mopo_env.terminations.learned import LearnedTermination, save_termination
from mopo_env.toys import LinearGaussianSystem
from mopo_env.transitions import Transitions

Mopo = Callable[..., tuple[int, str, str]]

TINY_FIT = ["--max-epochs=1", "--hidden-sizes", "8", "--weight-decay", "0", "0", "--num-members=2", "--num-elites=1"]
COLUMNS = ["--observations", "mm", "speed", "--actions", "push", "--reward", "pay", "--episode", "run"]
COLUMNS += ["--next-observations", "mm_after", "speed_after", "--terminated", "fell"]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of the user's: data, an ensemble and a rule, which took hours."""
    folder, data = tmp_path / "mine", halfcheetah_rows(60)
    save_transitions(data, folder)
    save_ensemble(fitted_ensemble(data), folder)
    save_termination(LearnedTermination(17, 6), folder)
    return folder


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Other data."""
    save_transitions(halfcheetah_rows(80), tmp_path / "other")
    return tmp_path / "other"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log.csv")


def refused(mopo: Mopo, folder: Path, *arguments: object) -> str:
    """Return the message of a refusal that changed nothing and left nothing."""
    before = files(folder)
    code, out, err = mopo(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("mopo: ")
    assert "Traceback" not in err
    assert files(folder) == before
    return err


class TestFit:
    """`mopo fit B --out A` once deleted A's data, with exit code 0."""

    def test_other_data_are_kept(self, mopo: Mopo, mine: Path, other: Path) -> None:
        err = refused(mopo, mine, "fit", other, "--out", mine, *TINY_FIT)
        assert err == (
            f"mopo: --out: {mine} holds another dataset. Choose another folder, or pass --overwrite to replace it.\n"
        )

    @pytest.mark.parametrize("out", [[], ["--out", "mine"], ["--out", "mine/../mine"]])
    def test_an_ensemble_is_kept(self, mopo: Mopo, mine: Path, out: list[str]) -> None:
        err = refused(mopo, mine, "fit", mine, *out, *TINY_FIT)
        assert "already holds an ensemble" in err
        assert "--overwrite" in err

    def test_overwrite_replaces_the_ensemble_and_keeps_the_data(self, mopo: Mopo, mine: Path) -> None:
        before = files(mine)
        assert mopo("fit", mine, *TINY_FIT, "--overwrite")[0] == 0
        changed = {name for name, body in files(mine).items() if before.get(name) != body}
        assert {name.split("-")[0] for name in changed} == {"ensemble.json", "ensemble"}
        assert load_ensemble(mine).hidden_sizes == (8,)

    def test_overwrite_replaces_other_data(self, mopo: Mopo, mine: Path, other: Path) -> None:
        assert mopo("fit", other, "--out", mine, *TINY_FIT, "--overwrite")[0] == 0
        assert load_transitions(mine).fingerprint == load_transitions(other).fingerprint

    def test_the_same_data_elsewhere_are_no_other_data(self, mopo: Mopo, mine: Path, tmp_path: Path) -> None:
        """A copy of them beside a missing ensemble needs no permission."""
        save_transitions(load_transitions(mine), tmp_path / "copy")
        assert mopo("fit", mine, "--out", tmp_path / "copy", *TINY_FIT)[0] == 0

    def test_damaged_data_are_kept_too(self, mopo: Mopo, mine: Path, other: Path) -> None:
        """They may be all that is left."""
        (mine / "dataset.json").write_text("{")
        assert "holds another dataset" in refused(mopo, mine, "fit", other, "--out", mine, *TINY_FIT)

    def test_a_rule_is_kept(self, mopo: Mopo, mine: Path) -> None:
        assert "already holds a termination rule" in refused(mopo, mine, "fit-termination", mine)


def write_d4rl(path: Path) -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        file["observations"], file["actions"] = np.zeros((20, 3), np.float32), np.zeros((20, 1), np.float32)
        file["rewards"], file["terminals"] = np.zeros(20, np.float32), np.zeros(20, bool)
    assert isinstance(load_d4rl(path), Transitions)
    return path


def test_imports_keep_data(mopo: Mopo, mine: Path, log: Path, tmp_path: Path) -> None:
    hdf5 = write_d4rl(tmp_path / "hopper.hdf5")
    for arguments in (["import-table", log, *COLUMNS], ["import-d4rl", hdf5]):
        assert "already holds a dataset" in refused(mopo, mine, "data", *arguments, "--out", mine)
        before = load_transitions(mine).fingerprint
        assert mopo("data", *arguments, "--out", mine, "--overwrite")[0] == 0
        assert load_transitions(mine).fingerprint != before


def test_a_failed_import_keeps_data(mopo: Mopo, mine: Path, tmp_path: Path) -> None:
    """--overwrite replaces data by other data, not by nothing."""
    (tmp_path / "bad.csv").write_text("x,a,r\n1,0,nan\n2,0,1\n")
    columns = ["--observations", "x", "--actions", "a", "--reward", "r"]
    refused(mopo, mine, "data", "import-table", tmp_path / "bad.csv", *columns, "--out", mine, "--overwrite")


def test_collect_keeps_data(mopo: Mopo, mine: Path) -> None:
    assert "already holds a dataset" in refused(mopo, mine, "collect", TASK, "--out", mine)


def test_collect_looks_at_the_minari_id_first(mopo: Mopo, tmp_path: Path) -> None:
    """After hours of collecting, the refusal of an id that exists would come late."""
    save_minari(LinearGaussianSystem().transitions(num_episodes=2, num_steps=5), "mine/data-v0")
    before = files(tmp_path / "minari" / "mine" / "data-v0" / "data")
    code, out, err = mopo("collect", TASK, "--out", tmp_path / "new", "--minari", "mine/data-v0")
    assert (code, out) == (2, "")
    assert "'mine/data-v0' exists already" in err
    assert not (tmp_path / "new").exists()
    assert files(tmp_path / "minari" / "mine" / "data-v0" / "data") == before


def test_train_keeps_what_is_no_run(mopo: Mopo, mine: Path) -> None:
    """A run writes a policy, tables and checkpoints under names of its own choice."""
    err = refused(mopo, mine, "train", TASK, "--out", mine)
    assert "expected no folder, an empty one, or a run" in err


class TestPictures:
    """A picture may go anywhere, so it may go over a file that is something else."""

    @pytest.mark.parametrize("command", [["data", "show"], ["model", "show"]])
    def test_a_file_is_kept(self, mopo: Mopo, mine: Path, command: list[str]) -> None:
        (mine / "thesis.pdf").write_bytes(b"years")
        err = refused(mopo, mine, *command, mine, "--plot", mine / "thesis.pdf")
        assert err.startswith(f"mopo: --plot: {mine / 'thesis.pdf'} exists already.")
        assert mopo(*command, mine, "--plot", mine)[2].startswith(f"mopo: --plot: {mine} is a folder")


class TestTables:
    """`mopo report --csv PATH`, for every kind of thing that PATH can be."""

    @pytest.fixture(autouse=True)
    def _runs(self, tmp_path: Path) -> None:
        leave_run(tmp_path / "runs" / "one")

    @staticmethod
    def is_table(text: str) -> bool:
        return text.startswith("task,method,agent") and len(text.splitlines()) == 2

    def test_a_file_is_kept(self, mopo: Mopo, tmp_path: Path) -> None:
        (tmp_path / "mine.csv").write_text("mine")
        (tmp_path / "link.csv").symlink_to("mine.csv")
        for name in ("mine.csv", "link.csv"):
            code, out, err = mopo("report", "--csv", tmp_path / name)
            assert (code, out) == (2, "")
            assert "exists already. Choose another file, or pass --overwrite" in err
        assert (tmp_path / "mine.csv").read_text() == "mine"

    def test_a_link_stays_a_link(self, mopo: Mopo, tmp_path: Path) -> None:
        (tmp_path / "mine.csv").write_text("mine")
        (tmp_path / "link.csv").symlink_to("mine.csv")
        assert mopo("report", "--csv", tmp_path / "link.csv", "--overwrite")[0] == 0
        assert (tmp_path / "link.csv").is_symlink()
        assert self.is_table((tmp_path / "mine.csv").read_text())

    def test_a_link_to_nothing_makes_what_it_names(self, mopo: Mopo, tmp_path: Path) -> None:
        (tmp_path / "link.csv").symlink_to("later.csv")
        assert mopo("report", "--csv", tmp_path / "link.csv")[0] == 0
        assert (tmp_path / "link.csv").is_symlink()
        assert self.is_table((tmp_path / "later.csv").read_text())

    @pytest.mark.parametrize("is_link", [False, True])
    def test_a_device_gets_the_table(self, mopo: Mopo, tmp_path: Path, is_link: bool) -> None:
        """And is a device afterwards: a file that replaced /dev/null would break the machine."""
        terminal, device = os.openpty()
        path = Path(os.ttyname(device))
        if is_link:
            path = tmp_path / "link.csv"
            path.symlink_to(os.ttyname(device))
        assert mopo("report", "--csv", path)[0] == 0
        received = os.read(terminal, 100_000).decode().replace("\r", "")
        os.close(terminal)
        os.close(device)
        assert self.is_table(received)
        assert path.is_symlink() == is_link

    def test_a_pipe_gets_the_table(self, mopo: Mopo, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        received: list[str] = []
        reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_text()), daemon=True)
        reader.start()
        assert mopo("report", "--csv", tmp_path / "pipe")[0] == 0
        reader.join(10)
        assert len(received) == 1
        assert self.is_table(received[0])
        assert (tmp_path / "pipe").is_fifo()

    def test_a_folder_is_refused(self, mopo: Mopo, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "link").symlink_to("folder")
        for name in ("folder", "link"):
            code, out, err = mopo("report", "--csv", tmp_path / name)
            assert (code, out) == (2, "")
            assert err == f"mopo: --csv: {tmp_path / name} is a folder, expected a file.\n"


def test_an_evaluation_with_other_returns_is_kept(mopo: Mopo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy may have changed since; the same returns may be written again."""
    from helpers.agents import make_small, penalized_model

    from mopo_agents import evaluation
    from mopo_agents.policies import save_policy

    save_policy(make_small("SAC", penalized_model()), tmp_path / "run", metadata={"task": TASK})
    found = [1.0, 2.0]
    result = lambda *_, **__: evaluation.Evaluation(returns=tuple(found), lengths=(3, 3), normalised=None)  # noqa: E731
    monkeypatch.setattr(evaluation, "evaluate", result)
    assert mopo("evaluate", tmp_path / "run")[0] == 0
    assert mopo("evaluate", tmp_path / "run")[0] == 0
    before = files(tmp_path / "run")
    found[0] = 5.0
    code, out, err = mopo("evaluate", tmp_path / "run")
    assert code == 2
    assert "return 3.5" in out, "it is shown all the same"
    assert "holds an evaluation with other returns, and is kept" in err
    assert files(tmp_path / "run") == before
    assert mopo("evaluate", tmp_path / "run", "--overwrite")[0] == 0
    assert files(tmp_path / "run") != before
