"""Tables of logged steps: CSV and Parquet mean the same, and every wrong cell is named by its place."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from helpers.interrupted import in_child

from mopo_env import load_table, load_transitions, save_transitions
from mopo_env.errors import ConfigError, DatasetError, MissingExtraError, MopoError, UnknownNameError

Table = dict[str, list[Any]]
ROLES: dict[str, Any] = {"observations": ["pos", "vel"], "actions": ["u"], "reward": "r"}
# Two runs of four and three steps; the first ends in a terminal state.
TABLE: Table = {
    "time": ["08:00", "08:01", "08:02", "08:03", "09:00", "09:01", "09:02"],
    "run": ["a", "a", "a", "a", "b", "b", "b"],
    "pos": [0.0, 1.0, 2.0, 3.0, 100.0, 101.0, 102.0],
    "vel": [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0],
    "u": [0.1, 0.2, 0.3, 0.4, -0.1, -0.2, -0.3],
    "r": [1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0],
    "pos_next": [1.0, 2.0, 3.0, 4.0, 101.0, 102.0, 103.0],
    "done": [0, 0, 0, 1, 0, 0, 0],
    "cut": [False, False, False, False, False, False, True],
}


def csv_text(table: Table) -> str:
    rows = [",".join(map(str, cells)) for cells in zip(*table.values(), strict=True)]
    return "\n".join([",".join(table), *rows]) + "\n"


def write_csv(path: Path, table: Table) -> Path:
    path = path / "log.csv"
    path.write_text(csv_text(table), encoding="utf-8")
    return path


def write_parquet(path: Path, table: Table) -> Path:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = path / "log.parquet"
    parquet.write_table(arrow.table(table), path)
    return path


@pytest.fixture(params=[write_csv, write_parquet], ids=["csv", "parquet"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Table], Path]:
    """Write a table in one format or the other."""
    return lambda table: request.param(tmp_path, table)


Write = Callable[[Table], Path]


class TestEpisodes:
    """Where an episode ends, and what is known of the state after."""

    def test_following_rows(self, write: Write) -> None:
        """By hand: rows 3 and 6 are the last of their runs and go; no next state is that of the other run."""
        loaded = load_table(write(TABLE), **ROLES, episode="run")
        assert loaded.observations[:, 0].tolist() == [0, 1, 2, 100, 101]
        assert loaded.next_observations.tolist() == [[1, 1], [2, 1], [3, 1], [101, 2], [102, 2]]
        np.testing.assert_array_equal(loaded.actions[:, 0], np.float32([0.1, 0.2, 0.3, -0.1, -0.2]))
        assert loaded.rewards.tolist() == [1, 2, 3, 10, 20]
        assert not loaded.terminations.any()
        assert loaded.truncations.tolist() == [False, False, True, False, True]

    @pytest.mark.parametrize(
        "columns",
        [
            {"terminated": "done", "truncated": "cut"},
            {"terminated": "done"},
            {"terminated": "done", "truncated": "cut", "episode": "run"},
        ],
        ids=lambda columns: "+".join(columns),
    )
    def test_ends_by_flag_are_the_same_rows(self, write: Write, columns: dict[str, str]) -> None:
        expected = load_table(write(TABLE), **ROLES, episode="run")
        assert load_table(write(TABLE), **ROLES, **columns).fingerprint == expected.fingerprint

    def test_next_observations_keep_every_row(self, write: Write) -> None:
        """Row 3 then reaches its terminal state, and row 6 is cut off."""
        roles = {**ROLES, "next_observations": ["pos_next", "vel"]}
        loaded = load_table(write(TABLE), **roles, terminated="done", truncated="cut")
        assert loaded.next_observations[:, 0].tolist() == TABLE["pos_next"]
        assert loaded.terminations.nonzero()[0].tolist() == [3]
        assert loaded.truncations.nonzero()[0].tolist() == [6]
        assert loaded.metadata["rows_dropped"] == 0

    def test_next_observations_and_episode(self, write: Write) -> None:
        """The end of a run is a truncation unless it is said to be terminal."""
        roles = {**ROLES, "next_observations": ["pos_next", "vel"], "episode": "run"}
        assert load_table(write(TABLE), **roles).truncations.nonzero()[0].tolist() == [3, 6]
        loaded = load_table(write(TABLE), **roles, terminated="done")
        assert loaded.terminations.nonzero()[0].tolist() == [3]
        assert loaded.truncations.nonzero()[0].tolist() == [6]

    def test_without_any_the_table_is_one_episode(self, write: Write) -> None:
        loaded = load_table(write(TABLE), **ROLES)
        assert len(loaded) == 6
        assert loaded.next_observations[:, 0].tolist() == TABLE["pos"][1:]
        assert loaded.truncations.nonzero()[0].tolist() == [5]

    def test_both_flags_mean_terminated(self, write: Write) -> None:
        roles = {**ROLES, "next_observations": ["pos_next", "vel"]}
        loaded = load_table(write({**TABLE, "cut": TABLE["done"]}), **roles, terminated="done", truncated="cut")
        assert (loaded.terminations[3], loaded.truncations[3]) == (True, False)

    def test_an_episode_that_comes_back(self, write: Write) -> None:
        """Rows sorted by time interleave runs: neighbours are then no consecutive steps."""
        path = write({**TABLE, "run": ["a", "a", "b", "b", "a", "b", "b"]})
        with pytest.raises(DatasetError, match=r"(line 6|row 5), column 'run': found 'a' again .*--time"):
            load_table(path, **ROLES, episode="run")

    def test_flags_that_contradict_the_episode(self, write: Write) -> None:
        path = write({**TABLE, "done": [0, 1, 0, 0, 0, 0, 0]})
        with pytest.raises(DatasetError, match=r"(line 3|row 2): flagged as the end of an episode, but the next row"):
            load_table(path, **ROLES, episode="run", terminated="done")

    def test_numbers_name_episodes_too(self, write: Write) -> None:
        expected = load_table(write(TABLE), **ROLES, episode="run").fingerprint
        path = write({**TABLE, "run": [7, 7, 7, 7, 3, 3, 3]})
        assert load_table(path, **ROLES, episode="run").fingerprint == expected


def test_metadata_and_space(write: Write, tmp_path: Path) -> None:
    """And the whole through our own format and back."""
    path = write({**TABLE, "u": [10 * value for value in TABLE["u"]]})
    loaded = load_table(path, **ROLES, episode="run", action_space=Box(-5, 5, (1,)))
    assert loaded.action_space == Box(-5, 5, (1,))
    assert loaded.metadata == {
        "name": "log",
        "source": "table",
        "files": [path.name],
        "columns": {"observations": ["pos", "vel"], "actions": ["u"], "reward": ["r"]},
        "log": {"rows": 7, "rows_missing": 0},
        "rows_dropped": 2,
    }
    save_transitions(loaded, tmp_path / "data")
    assert load_transitions(tmp_path / "data").fingerprint == loaded.fingerprint
    with pytest.raises(DatasetError, match=r"log\..*no action_space.*last row of each episode is not counted"):
        load_table(path, **ROLES, episode="run")


def test_the_order_of_columns_is_the_callers(write: Write) -> None:
    """Not the file's: a policy's inputs are in the order asked for."""
    loaded = load_table(write(TABLE), **{**ROLES, "observations": ["vel", "pos"], "actions": ["r", "u"]},
                        action_space=Box(-50, 50, (2,)))  # fmt: skip
    assert loaded.observations[1].tolist() == [1, 1]
    assert loaded.observations[4].tolist() == [2, 100]
    np.testing.assert_array_equal(loaded.actions[4], np.float32([10, -0.1]))


@pytest.mark.parametrize(
    ("roles", "name", "near"),
    [
        ({"observations": ["pos", "veel"]}, "veel", "vel"),
        ({"actions": ["U"]}, "U", "u"),
        ({"reward": "rr"}, "rr", "r"),
        ({"next_observations": ["pos_nxt", "vel"]}, "pos_nxt", "pos_next"),
        ({"terminated": "donee"}, "donee", "done"),
        ({"truncated": "Cut"}, "Cut", "cut"),
        ({"episode": "runs"}, "runs", "run"),
    ],
)
def test_unknown_columns(write: Write, roles: dict[str, Any], name: str, near: str) -> None:
    path = write(TABLE)
    with pytest.raises(UnknownNameError) as caught:
        load_table(path, **{**ROLES, **roles})
    assert f"unknown column of {path} {name!r}. Did you mean '{near}'" in str(caught.value)
    assert "Known: cut, done, pos" in str(caught.value)


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ({"observations": "pos"}, "observations: expected a list of different column names, found 'pos'"),
        ({"actions": []}, "actions: expected a list"),
        ({"observations": ["pos", "pos"]}, "observations: expected a list of different"),
        ({"next_observations": ["pos_next"]}, "next_observations: found 1 columns, expected 2"),
    ],
)
def test_columns_that_do_not_fit(write: Write, roles: dict[str, Any], expected: str) -> None:
    """A string is a sequence of letters, and 'uv' would be taken for two actions."""
    with pytest.raises(ConfigError, match=expected):
        load_table(write(TABLE), **{**ROLES, **roles})


def edited(old: str, new: str) -> str:
    text = csv_text(TABLE)
    assert old in text
    return text.replace(old, new, 1)


ALL = {**ROLES, "terminated": "done", "truncated": "cut", "episode": "run"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (edited("2.0,1.0,0.3", "2.0,fast,0.3"), "line 4, column 'vel': found 'fast', expected a number"),
        (edited("2.0,1.0,0.3", "2.0,,0.3"), "line 4, column 'vel': found no value, expected a number"),
        (edited("2.0,1.0,0.3", '2.0,"1,5",0.3'), "line 4, column 'vel': found '1,5', expected a number"),
        (edited("2.0,1.0,0.3", "2.0,1_0,0.3"), "line 4, column 'vel': found '1_0', expected a number"),
        (edited("2.0,1.0,0.3", "2.0,nan,0.3"), "line 4, column 'vel': found no value"),
        (edited("2.0,1.0,0.3", "2.0,inf,0.3"), "line 4, column 'vel': found inf"),
        (edited("2.0,1.0,0.3", "2.0,1e999,0.3"), "line 4, column 'vel': found inf"),
        (edited("4.0,4.0,1,", "4.0,4.0,2,"), "line 5, column 'done': found 2, expected 0, 1, true or false"),
        (edited("4.0,4.0,1,", "4.0,4.0,yes,"), "line 5, column 'done': found 'yes', expected 0, 1, true or false"),
        (edited("02,a,", "02,,"), "line 4, column 'run': found no value, expected a text"),
        (edited("0.4,4.0,4.0,1,", "0.4,4.0,1,"), "line 5: found 8 cells, expected 9 as in the header"),
        (edited("4.0,4.0,1,", "4.0,4.0,1,1,"), "line 5: found 10 cells, expected 9"),
        (edited("time,run", "vel,run"), "column 'vel': found 2 columns of this name"),
        (edited("08:02", '"08:02'), "line 8: unexpected end of data"),
        (csv_text(TABLE).splitlines()[0], "found no rows below the header"),
        ("\n".join(csv_text(TABLE).splitlines()[:2]), "found 0 transitions"),
    ],
)
def test_wrong_cells_of_csv(tmp_path: Path, text: str, expected: str) -> None:
    """By the line that an editor shows, and by the name of the column."""
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=re.escape(f"{path}: {expected}")):
        load_table(path, **ALL)


def test_the_variety_of_csv(tmp_path: Path) -> None:
    """Excel's byte-order mark and line ends, quotes, blanks, a line break in a text, empty lines: all mean the same."""
    expected = load_table(write_csv(tmp_path, TABLE), **ALL).fingerprint
    text = (
        csv_text(TABLE)
        .replace("08:03,a,", "08:03, a ,")
        .replace("08:02", '"at\neight"')
        .replace("pos,", '"pos",')
        .replace(",vel,", ", vel ,")
    )
    text = text.replace("4.0,4.0,1,", '"4.0", 4.0,TRUE,')
    path = tmp_path / "other.CSV"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    assert load_table(path, **ALL).fingerprint == expected
    path.write_text(text.replace("3.0,1.0,0.4", "3.0,x,0.4"))
    # Line 4 and 5 are one row, and the row after it ends in line 6.
    with pytest.raises(DatasetError, match="line 6, column 'vel'"):
        load_table(path, **ALL)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"\xef\xbb\xbfpos,vel,u,r\n1,2,0,0\n3,4,0,0\n5,6,0,0\n")
    assert load_table(path, **ROLES).observations.tolist() == [[1, 2], [3, 4]]


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(b"pos,vel,u,r\n\xff\xfe,1,1,1\n")
    (tmp_path / "log.xlsx").write_bytes(b"PK")
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "zeros.csv").write_bytes(b"pos,vel,u,r\n" + bytes(100))
    (tmp_path / "folder.csv").mkdir()
    expected = {
        "log.csv": "not text in utf-8.*--encoding cp1252",
        "log.xlsx": "found the ending '.xlsx', expected one of .csv, .tsv, .txt, .parquet",
        "none.csv": "no such file",
        "folder.csv": "no such file",
        "zeros.csv": "line 2: found 1 cells",
    }
    for name, message in expected.items():
        with pytest.raises(DatasetError, match=f"{name}: {message}"):
            load_table(tmp_path / name, **ROLES)
    with pytest.raises(UnknownNameError, match="unknown column"):
        load_table(tmp_path / "empty.csv", **ROLES)


class TestParquet:
    """What only a binary format can do wrong."""

    @pytest.mark.parametrize(
        ("column", "values", "expected"),
        [
            ("vel", [1.0, None, 1.0, 1.0, 2.0, 2.0, 2.0], "row 2, column 'vel': found no value"),
            ("done", [0, 0, 0, None, 0, 0, 0], "row 4, column 'done': found no value"),
            ("cut", [False, None, False, False, False, False, True], "row 2, column 'cut': found no value"),
            ("run", ["a", "a", "a", "a", "b", None, "b"], "row 6, column 'run': found no value"),
            ("vel", ["fast"] * 7, "row 1, column 'vel': found 'fast', and no number in any row, expected a number"),
            ("vel", [{"x": 1.0}] * 7, "column 'vel': found the type struct<x: double>, expected texts or numbers"),
            ("u", [0.1, 0.2, float("nan"), 0.4, -0.1, -0.2, -0.3], "row 3, column 'u': found no value"),
            ("u", [0.1, 0.2, float("inf"), 0.4, -0.1, -0.2, -0.3], "row 3, column 'u': found inf"),
            ("done", [0, 0, 0, 2, 0, 0, 0], "row 4, column 'done': found 2, expected 0, 1, true or false"),
        ],
    )
    def test_wrong_values(self, tmp_path: Path, column: str, values: list[Any], expected: str) -> None:
        path = write_parquet(tmp_path, {**TABLE, column: values})
        with pytest.raises(DatasetError, match=f"log.parquet: {expected}"):
            load_table(path, **ALL)

    def test_truncated_anywhere(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path, TABLE)
        body = path.read_bytes()
        for place in np.unique(np.r_[0, 3, 4, 8, np.linspace(0, len(body) - 1, 30).astype(int), len(body) - 1]):
            path.write_bytes(body[:place])
            with pytest.raises(DatasetError, match=r"log\.parquet: cannot be read"):
                load_table(path, **ALL)

    def test_damaged_anywhere(self, tmp_path: Path) -> None:
        """Parquet has no checksum by default, so a bit may go unnoticed; an error of another kind may not escape."""
        path = write_parquet(tmp_path, TABLE)
        body, random = path.read_bytes(), np.random.default_rng(0)
        refused = 0
        for place in random.integers(0, len(body), 60):
            damaged = bytearray(body)
            damaged[place] ^= 1 << int(random.integers(8))
            path.write_bytes(damaged)
            try:
                load_table(path, **ALL)
            except MopoError:
                refused += 1
        assert refused > 5

    @pytest.mark.slow
    def test_every_byte_of_the_footer(self, tmp_path: Path) -> None:
        """Some once made pyarrow end the process, so a child reads them; some made columns of several lengths."""
        path = write_parquet(tmp_path, TABLE)
        body = path.read_bytes()
        start = len(body) - 8 - int.from_bytes(body[-8:-4], "little")

        def read_them() -> None:
            for place, bit in itertools.product(range(start, len(body) - 8), (1, 2, 64)):
                damaged = bytearray(body)
                damaged[place] ^= bit
                path.write_bytes(damaged)
                with contextlib.suppress(MopoError):
                    load_table(path, **ALL)

        assert in_child(read_them) == 0

    def test_a_bomb(self, tmp_path: Path) -> None:
        """Ten million equal rows pack into some kilobytes."""
        arrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        path = tmp_path / "log.parquet"
        zeros = arrow.array(np.zeros(10**7, dtype=np.float32))
        parquet.write_table(arrow.table({name: zeros for name in ("pos", "vel", "u", "r")}), path)
        assert path.stat().st_size < 300_000
        with pytest.raises(DatasetError, match=r"log.parquet: declares 10,000,000 rows .* exhaust memory"):
            load_table(path, **ROLES)

    def test_without_pyarrow(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """CSV needs nothing; for Parquet the message holds the line to type."""
        import sys

        monkeypatch.setitem(sys.modules, "pyarrow", None)
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
        (tmp_path / "log.parquet").write_bytes(b"PAR1")
        with pytest.raises(MissingExtraError, match=r'pip install "mopo-env\[tables\]"'):
            load_table(tmp_path / "log.parquet", **ROLES)
        assert len(load_table(write_csv(tmp_path, TABLE), **ROLES)) == 6
