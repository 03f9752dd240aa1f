"""`mopo data`: importing what others wrote, and showing what a dataset holds."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from helpers.agents import files, halfcheetah_rows
from helpers.minari_files import ID, write_minari
from helpers.runs import TASK

from mopo_agents.cli import imports
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.datasets.minari.reader import save_minari

COLUMNS = ["--observations", "pos", "vel", "--actions", "u", "--reward", "r"]


Mopo = Callable[..., tuple[int, str, str]]


def write_table(path: Path) -> Path:
    """Two runs of four steps, of which the last is worth its observation only."""
    lines = [f"{run},{step},{10 * run + step},{step % 2 * 4 - 2},{step}" for run in (0, 1) for step in range(4)]
    path.write_text("\n".join(["run,vel,pos,u,r", *lines]))
    return path


def test_import_table(mopo: Mopo, tmp_path: Path) -> None:
    """From a log to a data, with bounds that no column holds."""
    path, folder = write_table(tmp_path / "log.csv"), tmp_path / "data"
    arguments = ("data", "import-table", path, *COLUMNS, "--episode", "run", "--out", folder)
    code, out, err = mopo(*arguments)
    assert (code, out) == (2, "")
    assert "found values from -2 to 2 and no action_space" in err
    assert not folder.exists()
    code, out, err = mopo(*arguments, "--action-low", "-2", "--action-high", "3")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "6 transitions in 2 episodes; episode returns: mean 3.0, max 3.0",
        "2 rows were dropped, the last of each episode, because the file lacks their next states.",
        f"The dataset is in {folder}. Next: mopo data show {folder}; mopo fit {folder}",
    ]
    loaded = load_transitions(folder)
    assert loaded.observations[:, 0].tolist() == [0, 1, 2, 10, 11, 12]
    assert (loaded.action_space.low.tolist(), loaded.action_space.high.tolist()) == ([-2], [3])
    before = files(folder)
    code, _, err = mopo(*arguments, "--action-low", "-2")
    assert code == 2
    assert "already holds a dataset" in err
    assert files(folder) == before


def test_import_table_with_every_column(mopo: Mopo, tmp_path: Path) -> None:
    """Each option reaches the argument of its name."""
    path = tmp_path / "log.csv"
    path.write_text("s,t,a,b,r,died,cut,run\n0,1,0,5,1,0,0,x\n1,2,0,5,1,1,0,x\n7,8,0,5,1,0,1,y\n")
    code, out, _ = mopo(
        *("data", "import-table", path, "--observations", "s", "--next-observations", "t", "--actions", "a", "b"),
        *("--reward", "r", "--terminated", "died", "--truncated", "cut", "--episode", "run"),
        *("--out", tmp_path / "data", "--action-low", "-1", "0", "--action-high", "1", "9"),
    )
    assert (code, "dropped" in out) == (0, False)
    loaded = load_transitions(tmp_path / "data")
    assert loaded.next_observations[:, 0].tolist() == [1, 2, 8]
    assert loaded.terminations.tolist() == [False, True, False]
    assert loaded.truncations.tolist() == [False, False, True]
    assert loaded.action_space.high.tolist() == [1, 9]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (None, (3.0,), ([-1, -1], [3, 3])),
        ((-2.0,), None, ([-2, -2], [1, 1])),
        ((-2.0, 0.0), (3.0, 4.0), ([-2, 0], [3, 4])),
    ],
)
def test_bounds_of_actions(low: Any, high: Any, expected: tuple[list[float], list[float]]) -> None:
    """One number stands for all actions, and what is not given is −1 or 1."""
    space = imports._action_space(2, low, high)
    assert isinstance(space, Box)
    assert (space.low.tolist(), space.high.tolist()) == expected


def test_import_table_of_discrete_actions(mopo: Mopo, tmp_path: Path) -> None:
    """The log of a switch: one column says which of two actions was taken."""
    path, folder = tmp_path / "log.csv", tmp_path / "data"
    path.write_text("x,on,r\n0.1,0,1\n0.2,1,1\n0.3,1,1\n0.4,0,1\n")
    columns = ("--observations", "x", "--actions", "on", "--reward", "r", "--out", folder)
    code, _, err = mopo("data", "import-table", path, *columns, "--discrete-actions", "2")
    assert (code, err) == (0, "")
    loaded = load_transitions(folder)
    assert (loaded.actions.tolist(), loaded.action_space) == ([0, 1, 1], Discrete(2))


def test_import_of_a_dirty_log(mopo: Mopo, tmp_path: Path) -> None:
    """Every option reaches the argument of its name, and the report counts what was left out and why."""
    folder = tmp_path / "data"
    lines = [f"{minute};{20 + minute},5;{'on' if minute % 2 else 'off'};0,5;1" for minute in (0, 2, 1, 3, 8, 9, 9, 10)]
    (tmp_path / "a.csv").write_text("\n".join(["t;°C;mode;u;r", *lines, "11;?;on;0,5;1"]), encoding="cp1252")
    (tmp_path / "b.csv").write_text("\n".join(["t;°C;mode;u;r", *lines[:1], *lines[2:3]]), encoding="cp1252")
    arguments = [
        *("data", "import-table", tmp_path / "a.csv", tmp_path / "b.csv", "--observations", "°C", "mode"),
        *("--actions", "u", "--reward", "r", "--time", "t", "--one-hot", "mode", "--delimiter", ";", "--decimal", ","),
        *("--encoding", "cp1252", "--out", folder),
    ]
    code, out, err = mopo(*arguments)
    assert (code, out) == (2, "")
    assert "a.csv: line 10, column '°C': found '?', expected a number" in err
    assert not (tmp_path / "data").exists()
    code, out, err = mopo(*arguments, "--na", "?", "--drop-missing")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "6 transitions in 4 episodes; episode returns: mean 1.5, max 3.0",
        "1 of 11 rows had missing values and were dropped.",
        "The rows were out of order at 3 places, and were sorted by time.",
        "The usual time step is 1. 1 gap in time and 1 duplicate time ended episodes.",
        "4 rows were dropped, the last of each episode, because the file lacks their next states.",
        f"The dataset is in {folder}. Next: mopo data show {folder}; mopo fit {folder}",
    ]
    loaded = load_transitions(tmp_path / "data")
    assert loaded.observation_names == ["°C", "mode=off", "mode=on"]
    assert loaded.observations[:, 0].tolist() == [20.5, 21.5, 22.5, 28.5, 29.5, 20.5]
    out = mopo("data", "show", tmp_path / "data")[1]
    assert [line.split()[0] for line in out.splitlines()[-20:] if line.startswith(("mode=", "u ", "°C"))] == [
        *("°C", "mode=off", "mode=on", "u"),
    ]


def test_a_log_without_a_fixed_step(mopo: Mopo, tmp_path: Path) -> None:
    """Written on events: what is cut away is then most of it, and the report says what to do."""
    times = np.cumsum(np.random.default_rng(0).exponential(size=40))
    (tmp_path / "log.csv").write_text("\n".join(["pos,vel,u,r,t", *(f"0,{time},0,0,{time}" for time in times)]))
    code, out, _ = mopo("data", "import-table", tmp_path / "log.csv", *COLUMNS, "--time", "t", "--out", tmp_path / "d")
    assert (code, "resample it to one" in out) == (0, True)


def test_no_file_at_all(mopo: Mopo, tmp_path: Path) -> None:
    code, _, err = mopo("data", "import-table", *COLUMNS, "--out", tmp_path / "data")
    assert (code, err) == (2, "mopo: found no file to read, expected one or more.\n")


def test_import_minari(mopo: Mopo, tmp_path: Path) -> None:
    """A dataset of dictionaries is refused with the command that joins their parts, and that command works."""
    episode = {
        "observations": {"position": np.zeros((6, 2), np.float32), "speed": np.ones((6, 1), np.float32)},
        "actions": np.zeros((5, 1), np.float32),
        "rewards": np.zeros(5),
    }
    space = Dict({"position": Box(-1, 1, (2,)), "speed": Box(-1, 1, (1,))})
    write_minari([episode], observation_space=space, action_space=Box(-1, 1, (1,)))
    folder = tmp_path / "data"
    for arguments in (("data", "show", ID), ("data", "import-minari", ID, "--out", folder)):
        code, out, err = mopo(*arguments)
        assert (code, out) == (2, "")
        assert "`mopo data import-minari ID --flatten --out FOLDER`" in err
    assert not folder.exists()
    code, out, _ = mopo("data", "import-minari", ID, "--flatten", "--out", folder)
    assert (code, out.splitlines()[0]) == (0, "5 transitions in 1 episode; episode returns: mean 0.0, max 0.0")
    assert load_transitions(folder).observation_names == ["position[0]", "position[1]", "speed[0]"]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ([], "no action_space"),
        (["--action-low", "0", "--action-high", "90"], ([0, 0], [90, 90])),
        (["--action-low", "-2", "0", "--action-high", "50", "90"], ([-2, 0], [50, 90])),
        (["--action-low", "0", "0", "0"], "--action-low: found 3 numbers, expected 1 or 2"),
        (["--action-high", "-9"], "expected finite low below high"),
    ],
)
def test_bounds_of_actions_in_hdf5(mopo: Mopo, tmp_path: Path, bounds: list[str], expected: Any) -> None:
    """Files of D4RL's layout that others wrote have actions in units."""
    import h5py

    with h5py.File(tmp_path / "plant.hdf5", "w") as file:
        file["observations"], file["actions"] = np.zeros((5, 3), np.float32), np.full((5, 2), 45.0, np.float32)
        file["rewards"], file["terminals"] = np.zeros(5, np.float32), np.zeros(5, bool)
    code, _, err = mopo("data", "import-d4rl", tmp_path / "plant.hdf5", "--out", tmp_path / "data", *bounds)
    if isinstance(expected, str):
        assert code == 2
        assert expected in err
        assert not (tmp_path / "data").exists()
        return
    space = load_transitions(tmp_path / "data").action_space
    assert isinstance(space, Box)
    assert (space.low.tolist(), space.high.tolist()) == expected


def test_import_d4rl(mopo: Mopo, tmp_path: Path) -> None:
    """Rows of a file without time-outs are cut into episodes, and the file is named by its digest."""
    import h5py

    data = halfcheetah_rows()
    with h5py.File(tmp_path / "cheetah-v0.hdf5", "w") as file:
        for name in ("observations", "actions", "rewards"):
            file.create_dataset(name, data=getattr(data, name), compression="gzip")
        file.create_dataset("terminals", data=data.terminations)
    folder = tmp_path / "data"
    code, out, _ = mopo("data", "import-d4rl", tmp_path / "cheetah-v0.hdf5", "--out", folder, "--max-episode-steps", 50)
    assert code == 0
    digest = hashlib.sha256((tmp_path / "cheetah-v0.hdf5").read_bytes()).hexdigest()
    assert out.splitlines()[1] == f"SHA-256 {digest}: not a file that D4RL published."
    assert out.splitlines()[2].startswith("2 rows were dropped")
    assert out.splitlines()[-1] == f"The dataset is in {folder}. Next: mopo data show {folder}; mopo fit {folder}"
    assert load_transitions(folder).truncations.nonzero()[0].tolist() == [48, 97]
    code, out, _ = mopo("data", "show", folder)
    assert code == 0
    assert "rows dropped: 2 rows of the source" in out


def test_a_checksum_that_the_user_has(mopo: Mopo, tmp_path: Path) -> None:
    """Another file than the one meant is refused before anything of it is read, and nothing is written."""
    path = tmp_path / "hopper_medium-v2.hdf5"
    path.write_bytes(b"no HDF5 at all")
    code, out, err = mopo("data", "import-d4rl", path, "--out", tmp_path / "data", "--sha256", "0" * 64)
    assert (code, out) == (2, "")
    assert f"found the SHA-256 {hashlib.sha256(b'no HDF5 at all').hexdigest()}, expected {'0' * 64}" in err
    code, _, err = mopo("data", "import-d4rl", path, "--out", tmp_path / "data", "--sha256", "0" * 63)
    assert code == 2
    assert "64 hexadecimal digits" in err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("published", [True, False])
def test_a_published_name_is_compared_with_the_published_file(
    mopo: Mopo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    """The real files are not at hand: this one takes the place of one of them in the table."""
    import h5py

    from mopo_env.datasets.d4rl import D4RL_FILES

    path, data = tmp_path / "halfcheetah_medium-v2.hdf5", halfcheetah_rows()
    with h5py.File(path, "w") as file:
        for name in ("observations", "actions", "rewards", "next_observations"):
            file[name] = getattr(data, name)
        file["terminals"], file["timeouts"] = data.terminations, data.truncations
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    expected = D4RL_FILES[path.name]
    if published:
        monkeypatch.setitem(D4RL_FILES, path.name, digest)
    code, out, _ = mopo("data", "import-d4rl", path, "--out", tmp_path / "data", "--sha256", digest.upper())
    assert code == 0
    note = "the halfcheetah_medium-v2.hdf5 that D4RL published."
    if not published:
        note = f"not the halfcheetah_medium-v2.hdf5 that D4RL published, whose SHA-256 is {expected}."
    assert out.splitlines()[1] == f"SHA-256 {digest}: {note}"
    assert (load_transitions(tmp_path / "data").metadata.get("d4rl_file") is not None) == published
    # The name also tells the task, and with it the batch of the paper to compare with.
    assert "the paper's batch: mean 3953.0, largest 4410.7" in mopo("data", "show", tmp_path / "data")[1]


def test_show(mopo: Mopo, data: Path, tmp_path: Path) -> None:
    """The card, where the files are and what wrote them, and a picture."""
    pytest.importorskip("matplotlib")
    code, out, err = mopo("data", "show", data, "--plot", tmp_path / "card.png")
    assert (code, err) == (0, "")
    assert out.startswith("transitions  100 in 2 episodes")
    assert "broken succession: 98 next observations" in out
    assert f"The dataset is in {data}, written with mopo-env " in out
    assert f"numpy {np.__version__}" in out
    assert out.splitlines()[-1] == f"Picture: {tmp_path / 'card.png'}"
    assert (tmp_path / "card.png").read_bytes().startswith(b"\x89PNG")


def test_show_compares_with_the_task_that_is_named(mopo: Mopo, data: Path, tmp_path: Path) -> None:
    """By the argument, by the option, or by the dataset's own metadata; with none of them, with nothing."""
    assert "the paper's batch" not in mopo("data", "show", data)[1]
    assert "the paper's batch: mean 3953.0" in mopo("data", "show", data, "--task", "halfcheetah-medium")[1]
    save_transitions(halfcheetah_rows(), tmp_path / "mopo" / TASK)
    assert "the paper's batch: mean 2300.6" in mopo("data", "show", f"MOPO-{TASK}")[1]
    for entry in ("name", "task"):
        save_transitions(
            dataclasses.replace(halfcheetah_rows(), metadata={entry: "halfcheetah-random"}), tmp_path / entry
        )
        assert "the paper's batch: mean -303.2" in mopo("data", "show", tmp_path / entry)[1]
    code, _, err = mopo("data", "show", data, "--task", "halfcheetah-mediun")
    assert code == 2
    assert "Did you mean 'halfcheetah-medium'" in err


def test_show_a_minari_dataset(mopo: Mopo) -> None:
    """It has no folder of ours that could be named."""
    save_minari(dataclasses.replace(halfcheetah_rows(), truncations=np.ones(100, dtype=bool)), "mopo/cheetah-v0")
    code, out, _ = mopo("data", "show", "mopo/cheetah-v0")
    assert (code, "The dataset is in" in out) == (0, False)
    assert "99 of 100 episodes have one step only" in out
