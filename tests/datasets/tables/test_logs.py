"""Logs as plants write them: no transition is made of rows that are not one step apart, and none is lost in silence."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mopo_env import Transitions, load_table, load_transitions, save_transitions
from mopo_env.errors import ConfigError, DatasetError, UnknownNameError

ROLES: dict[str, Any] = {"observations": ["x"], "actions": ["u"], "reward": "r"}


def text_of(columns: dict[str, Sequence[Any]], delimiter: str = ",") -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return stream.getvalue()


def log_of(times: Sequence[Any], **columns: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """Return a log whose state counts its rows."""
    rows = len(times)
    return {"t": times, "x": range(rows), "u": [0.5] * rows, "r": [1.0] * rows, **columns}


def load(folder: Path, columns: dict[str, Sequence[Any]], **options: Any) -> Transitions:
    (folder / "log.csv").write_text(text_of(columns))
    return load_table(folder / "log.csv", **{**ROLES, **options})


def steps(transitions: Transitions) -> list[tuple[int, int]]:
    """Return the rows that each transition connects."""
    ends = (transitions.observations[:, 0], transitions.next_observations[:, 0])
    return list(zip(*(column.astype(int).tolist() for column in ends), strict=True))


class TestTime:
    """`time`: what is no step of the system ends an episode."""

    def test_gaps_and_duplicates(self, tmp_path: Path) -> None:
        """By hand: 2 to 7 is a gap, 9 is there twice, and the state counts the rows."""
        loaded = load(tmp_path, log_of([0, 1, 2, 7, 8, 9, 9, 10, 11]), time="t")
        assert steps(loaded) == [(0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8)]
        assert loaded.truncations.nonzero()[0].tolist() == [1, 3, 5]
        assert loaded.metadata["log"] == {
            "rows": 9,
            "rows_missing": 0,
            "time_step": 1.0,
            "timestamps": False,
            "gaps": 1,
            "duplicate_times": 1,
            "out_of_order": 0,
        }

    @pytest.mark.parametrize(
        ("last", "tolerance", "is_gap"),
        [(14, 0.5, False), (15, 0.5, True), (6, 0.5, False), (5, 0.5, True), (20, 1.1, False), (12, 0.1, True)],
    )
    def test_tolerance(self, tmp_path: Path, last: float, tolerance: float, is_gap: bool) -> None:
        """A step counts as usual if it is nearer to it than half of it; a step that is too short is a gap too."""
        loaded = load(tmp_path, log_of([0, 10, 20, 30, 30 + last]), time="t", time_tolerance=tolerance)
        assert loaded.metadata["log"]["gaps"] == is_gap
        assert len(loaded) == 4 - is_gap

    def test_next_observations_keep_the_row_before_a_gap(self, tmp_path: Path) -> None:
        """Its next state was recorded; only the episode ends there."""
        log = log_of([0, 1, 2, 7, 8], y=[1, 2, 3, 4, 5])
        loaded = load(tmp_path, log, time="t", next_observations=["y"])
        assert steps(loaded) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
        assert loaded.truncations.nonzero()[0].tolist() == [2, 4]

    @pytest.mark.parametrize(
        "form", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S+02:00", "%Y%m%dT%H%M%S"]
    )
    def test_timestamps(self, tmp_path: Path, form: str) -> None:
        """Over midnight and the end of a month; the step is in seconds."""
        start = datetime(2026, 2, 28, 23, 58)
        times = [(start + timedelta(minutes=minute)).strftime(form) for minute in (0, 1, 2, 3, 10, 11)]
        loaded = load(tmp_path, log_of(times), time="t")
        assert steps(loaded) == [(0, 1), (1, 2), (2, 3), (4, 5)]
        assert (loaded.metadata["log"]["time_step"], loaded.metadata["log"]["timestamps"]) == (60.0, True)

    def test_rows_are_sorted_within_their_file_and_episode(self, tmp_path: Path) -> None:
        """Two machines that log into one file at the same times, one of them backwards."""
        log = log_of([2, 0, 1, 1, 0, 2], machine=["b", "a", "b", "a", "b", "a"])
        loaded = load(tmp_path, log, time="t", episode="machine")
        assert steps(loaded) == [(4, 2), (2, 0), (1, 3), (3, 5)]
        assert loaded.metadata["log"]["out_of_order"] > 0
        assert loaded.metadata["log"]["duplicate_times"] == 0

    def test_the_order_of_a_sorted_log_is_kept(self, tmp_path: Path) -> None:
        plain = load(tmp_path, log_of(range(6)))
        timed = load(tmp_path, log_of(range(6)), time="t")
        assert timed.fingerprint == plain.fingerprint
        shuffled = {
            name: [list(column)[row] for row in (3, 1, 5, 0, 4, 2)] for name, column in log_of(range(6)).items()
        }
        assert load(tmp_path, shuffled, time="t").fingerprint == plain.fingerprint

    def test_what_is_no_time(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"line 3, column 't': found 'noon', expected a number or an ISO 8601"):
            load(tmp_path, log_of([0, "noon", 2]), time="t")
        with pytest.raises(DatasetError, match=r"log\.csv: .* holds numbers and timestamps"):
            load(tmp_path, log_of([0, "2026-01-01", 2]), time="t")
        with pytest.raises(UnknownNameError, match="Did you mean 't'"):
            load(tmp_path, log_of([0, 1, 2]), time="T")
        with pytest.raises(ConfigError, match="time_tolerance: expected a finite number above 0"):
            load(tmp_path, log_of([0, 1, 2]), time="t", time_tolerance=0)

    def test_a_log_of_gaps_says_so(self, tmp_path: Path) -> None:
        """Otherwise the message would be that no transition was found, and not why."""
        with pytest.raises(DatasetError, match=r"found 0 transitions.*Found 6 duplicate times"):
            load(tmp_path, log_of([0] * 7), time="t")


class TestMissing:
    """`na` and `drop_missing`: no transition leads across a row that is left out."""

    def test_a_row_without_a_state_is_left_out(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, log_of(range(6), x=[0, 1, "-", 3, 4, 5]), na=["-"], drop_missing=True)
        assert steps(loaded) == [(0, 1), (3, 4), (4, 5)]
        assert loaded.truncations.nonzero()[0].tolist() == [0, 2]
        assert loaded.metadata["log"] == {"rows": 6, "rows_missing": 1}
        assert loaded.metadata["rows_dropped"] == 2

    def test_a_row_without_an_action_is_still_a_next_state(self, tmp_path: Path) -> None:
        """As is the last row of an episode in logs that end with a state."""
        loaded = load(tmp_path, log_of(range(6), u=[0, 0, "", 0, 0, ""]), drop_missing=True)
        assert steps(loaded) == [(0, 1), (1, 2), (3, 4), (4, 5)]
        assert loaded.truncations.nonzero()[0].tolist() == [1, 3]
        assert (loaded.metadata["log"]["rows_missing"], loaded.metadata["rows_dropped"]) == (2, 0)

    def test_next_observations(self, tmp_path: Path) -> None:
        """A next state that is missing costs its own row only, and the row before it ends its episode."""
        log = log_of(range(5), y=[1, 2, "", 4, 5])
        loaded = load(tmp_path, log, next_observations=["y"], drop_missing=True)
        assert steps(loaded) == [(0, 1), (1, 2), (3, 4), (4, 5)]
        assert loaded.truncations.nonzero()[0].tolist() == [1, 3]

    def test_a_missing_time_ends_an_episode(self, tmp_path: Path) -> None:
        """Even where the tolerance lets two steps pass for one."""
        loaded = load(tmp_path, log_of([0, 1, "", 3, 4]), time="t", time_tolerance=2.0, drop_missing=True)
        assert steps(loaded) == [(0, 1), (3, 4)]

    def test_a_missing_label_ends_an_episode(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, log_of(range(5), run=["a", "a", "", "a", "a"]), episode="run", drop_missing=True)
        assert steps(loaded) == [(0, 1), (3, 4)]

    def test_a_number_that_means_missing_has_many_spellings(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, log_of(range(6), x=[0, 1, "-999", 3, 4, "-999.00"]), na=["-999"], drop_missing=True)
        assert steps(loaded) == [(0, 1), (3, 4)]

    def test_parquet_means_the_same(self, tmp_path: Path) -> None:
        arrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        times = [datetime(2026, 1, 1, 0, minute) for minute in (0, 1, 2, 3, 9, 10, 10, 11)]
        rows = len(times)
        columns = {
            "t": times,
            "x": [float(row) for row in range(rows - 1)] + [None],
            "u": [0.5, None] + [0.5] * (rows - 2),
            "r": ["1"] * rows,
            "mode": ["on", "off", "on", "on", "off", "off", "on", None],
        }
        parquet.write_table(arrow.table(columns), tmp_path / "log.parquet")
        options: dict[str, Any] = {**ROLES, "observations": ["x", "mode"], "one_hot": ["mode"], "time": "t"}
        found = load_table(tmp_path / "log.parquet", **options, drop_missing=True)
        as_text = {name: ["" if value is None else value for value in column] for name, column in columns.items()}
        assert load(tmp_path, as_text, **options, drop_missing=True).fingerprint == found.fingerprint
        assert steps(found) == [(0, 1), (2, 3), (4, 5)]
        with pytest.raises(DatasetError, match="3 cells cannot be used"):
            load_table(tmp_path / "log.parquet", **options)


CELLS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),  # episode
        st.integers(0, 12),  # time
        st.sampled_from(["", "1", "2"]),  # part of the state
        st.sampled_from(["", "0.5"]),  # action
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(rows=CELLS)
def test_exactly_the_transitions_of_the_definition(rows: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the log: two neighbours in time, one usual step apart, with all they need, and no others."""
    labels, times, parts, actions = zip(*rows, strict=True)
    log = log_of(times, run=labels, part=parts, u=actions)
    ordered = sorted(range(len(rows)), key=lambda row: (labels.index(labels[row]), times[row]))
    pairs = [(a, b) for a, b in pairwise(ordered) if labels[a] == labels[b]]
    apart = [times[b] - times[a] for a, b in pairs if times[b] > times[a]]
    usual = float(np.median(apart)) if apart else 1.0
    expected = [
        (a, b) for a, b in pairs
        if abs(times[b] - times[a] - usual) < 0.5 * usual and parts[a] and actions[a] and parts[b]
    ]  # fmt: skip
    options: dict[str, Any] = {"observations": ["x", "part"], "time": "t", "episode": "run", "drop_missing": True}
    folder = tmp_path_factory.mktemp("log")
    if len(expected) < 2:
        with pytest.raises(DatasetError, match=r"found \d (transitions?;|rows)|found no rows"):
            load(folder, log, **options)
        return
    loaded = load(folder, log, **options)
    assert steps(loaded) == expected
    # All rows are accounted for, and an episode goes on exactly where a transition begins with the end of another.
    numbers = loaded.metadata["log"]
    assert numbers["rows"] == len(loaded) + numbers["rows_missing"] + loaded.metadata["rows_dropped"]
    goes_on = [first[1] == second[0] for first, second in pairwise(expected)]
    assert (~loaded.truncations[:-1]).tolist() == goes_on


class TestOneHot:
    """`one_hot`: categories become columns, under names that tell."""

    def test_columns_and_names(self, tmp_path: Path) -> None:
        log = log_of(range(5), mode=["on", " off", "on", "auto", "on"])
        loaded = load(tmp_path, log, observations=["mode", "x"], one_hot=["mode"])
        assert loaded.observation_names == ["mode=auto", "mode=off", "mode=on", "x"]
        assert loaded.observations.tolist() == [[0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 2], [1, 0, 0, 3]]
        assert loaded.next_observations[-1].tolist() == [0, 0, 1, 4]
        save_transitions(loaded, tmp_path / "data")
        assert load_transitions(tmp_path / "data").observation_names == loaded.observation_names

    @pytest.mark.parametrize("one_hot", [["mode"], ["after"], ["mode", "after"]])
    def test_the_next_state_shares_the_categories(self, tmp_path: Path, one_hot: list[str]) -> None:
        """A category that only ever comes last would otherwise make the two states differ in width."""
        log = log_of(range(3), mode=["on", "on", "off"], after=["on", "off", "broken"])
        options = {"observations": ["mode"], "next_observations": ["after"], "one_hot": one_hot}
        loaded = load(tmp_path, log, **options)
        assert loaded.observation_names == ["mode=broken", "mode=off", "mode=on"]
        assert loaded.next_observations.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]

    def test_files_share_the_categories(self, tmp_path: Path) -> None:
        for name, mode in {"a.csv": "on", "b.csv": "off"}.items():
            (tmp_path / name).write_text(text_of(log_of(range(3), mode=[mode] * 3)))
        paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
        loaded = load_table(paths, **{**ROLES, "observations": ["mode"]}, one_hot=["mode"])
        assert loaded.observations.tolist() == [[0, 1]] * 2 + [[1, 0]] * 2

    def test_what_is_no_category(self, tmp_path: Path) -> None:
        log = log_of(range(200), mode=range(200))
        with pytest.raises(DatasetError, match=r"column 'mode': found 200 different texts.*at most 100"):
            load(tmp_path, log, observations=["mode"], one_hot=["mode"])
        with pytest.raises(ConfigError, match=r"one_hot: found 'u', .*--discrete-actions"):
            load(tmp_path, log, one_hot=["u"])
        with pytest.raises(ConfigError, match=r"one_hot: expected a list of texts, found 'mode'"):
            load(tmp_path, log, one_hot="mode")


class TestFiles:
    """Formats, and several files at once."""

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("log.csv", {"delimiter": ";", "decimal": ","}),
            ("log.txt", {"delimiter": "|"}),
            ("log.tsv", {}),
            ("log.csv", {"delimiter": "tab"}),
            ("log.csv", {"encoding": "cp1252"}),
            ("log.csv", {"encoding": "utf-16"}),
            ("log.csv.gz", {}),
            ("log.CSV.bz2", {}),
            ("log.tsv.xz", {}),
        ],
    )
    def test_formats_mean_the_same(self, tmp_path: Path, name: str, options: dict[str, str]) -> None:
        log = log_of(range(5), **{"°C": [20.5, 21.5, 22.5, 23.5, 24.5]})
        roles = {**ROLES, "observations": ["x", "°C"]}
        expected = load(tmp_path, log, **roles)
        delimiter = options.get("delimiter", "tab" if "tsv" in name else ",")
        text = text_of(log, "\t" if delimiter == "tab" else delimiter)
        body = (text.replace(".", ",") if "decimal" in options else text).encode(options.get("encoding", "utf-8"))
        pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}.get(Path(name).suffix, bytes)
        (tmp_path / name).write_bytes(pack(body))
        loaded = load_table(tmp_path / name, **roles, **options)
        assert loaded.fingerprint == expected.fingerprint
        assert loaded.metadata["name"] == "log"

    def test_a_damaged_archive(self, tmp_path: Path) -> None:
        """Cut short, or no archive at all."""
        body = gzip.compress(text_of(log_of(range(100))).encode())
        for damaged in (body[: len(body) // 2], body[:5], b"time,x,u,r", b""):
            (tmp_path / "log.csv.gz").write_bytes(damaged)
            with pytest.raises((DatasetError, UnknownNameError), match=r"log\.csv\.gz"):
                load_table(tmp_path / "log.csv.gz", **ROLES)

    @pytest.mark.parametrize(("name", "pack"), [("log.csv.gz", gzip.compress), ("log.csv.xz", lzma.compress)])
    def test_a_bomb(self, tmp_path: Path, name: str, pack: Any) -> None:
        """Thirty megabytes of equal rows pack into some kilobytes."""
        (tmp_path / name).write_bytes(pack(b"t,x,u,r\n" + b"0,0,0,0\n" * 4_000_000))
        with pytest.raises(DatasetError, match=r"unpacks to more than 16,777,216 bytes"):
            load_table(tmp_path / name, **ROLES)

    @pytest.mark.parametrize("episode", [None, "run"])
    def test_each_file_ends_an_episode(self, tmp_path: Path, episode: str | None) -> None:
        """The clock goes on from one to the other, and both call their run the first; but a file may begin anywhere."""
        (tmp_path / "a.csv").write_text(text_of(log_of([0, 1, 2], x=[0, 1, 2], run=[1] * 3)))
        (tmp_path / "b.csv").write_text(text_of(dict(reversed(log_of([3, 4, 5], x=[3, 4, 5], run=[1] * 3).items()))))
        loaded = load_table([tmp_path / "a.csv", tmp_path / "b.csv"], **ROLES, time="t", episode=episode)
        assert steps(loaded) == [(0, 1), (1, 2), (3, 4), (4, 5)]
        assert loaded.metadata["files"] == ["a.csv", "b.csv"]

    def test_files_that_do_not_agree(self, tmp_path: Path) -> None:
        """And messages name the file."""
        (tmp_path / "a.csv").write_text(text_of(log_of([0, 1, 2])))
        (tmp_path / "b.csv").write_text(text_of(log_of([0, 1, 2])).replace("x", "X"))
        (tmp_path / "c.csv").write_text(text_of(log_of(["2026-01-01", "2026-01-02", "2026-01-03"])))
        (tmp_path / "d.csv").write_text(text_of(log_of([0, 1, 2], r=[1, "?", 1])))
        first = tmp_path / "a.csv"
        with pytest.raises(UnknownNameError, match=r"b\.csv 'x'\. Did you mean 'X'"):
            load_table([first, tmp_path / "b.csv"], **ROLES)
        with pytest.raises(DatasetError, match="times of some files are numbers, and those of others timestamps"):
            load_table([first, tmp_path / "c.csv"], **ROLES, time="t")
        with pytest.raises(DatasetError, match=r"d\.csv: line 3, column 'r': found '\?'"):
            load_table([first, tmp_path / "d.csv"], **ROLES)
        with pytest.raises(ConfigError, match="found no file"):
            load_table([], **ROLES)

    @pytest.mark.parametrize("mark", [";", "|", "tab"])
    def test_another_delimiter_is_recognised(self, tmp_path: Path, mark: str) -> None:
        """Otherwise the message would be that a column is unknown, and list the whole header as one name."""
        (tmp_path / "log.csv").write_text(text_of(log_of(range(3)), "\t" if mark == "tab" else mark))
        with pytest.raises(DatasetError, match=re.escape(f"delimiter='{mark}' (--delimiter ")):
            load_table(tmp_path / "log.csv", **ROLES)

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"delimiter": ";;"}, "delimiter: found ';;', expected one character"),
            ({"delimiter": ""}, "delimiter: found ''"),
            ({"decimal": ";"}, "decimal: found ';'"),
            ({"decimal": ",", "delimiter": ","}, "decimal: found ','"),
            ({"encoding": "nope"}, "encoding: found 'nope'"),
            ({"na": "-"}, "na: expected a list of texts, found '-'"),
        ],
    )
    def test_options_that_make_no_sense(self, tmp_path: Path, options: dict[str, Any], expected: str) -> None:
        with pytest.raises(ConfigError, match=expected):
            load(tmp_path, log_of(range(3)), **options)


class TestBadCells:
    """A log is repaired once, not cell by cell."""

    def test_all_are_counted_and_ten_are_shown(self, tmp_path: Path) -> None:
        x: list[Any] = list(range(40))
        x[5:35] = ["?"] * 30
        with pytest.raises(DatasetError) as caught:
            load(tmp_path, log_of(range(40), x=x, r=["", *[1] * 39]))
        lines = str(caught.value).splitlines()
        place = f"{tmp_path / 'log.csv'}: line"
        assert lines[0] == "31 cells cannot be used:"
        assert lines[1] == f"  {place} 2, column 'r': found no value, expected a number"
        assert lines[2:11] == [f"  {place} {line}, column 'x': found '?', expected a number" for line in range(7, 16)]
        assert lines[11] == "  … and 21 more"
        assert lines[12:] == [
            "Texts that mean a missing value are named by na=['?'] (--na '?').",
            "To drop rows with missing values, pass drop_missing=True (--drop-missing).",
        ]

    def test_a_column_of_texts_is_one_line(self, tmp_path: Path) -> None:
        """Five thousand equal cells would hide the others, and their texts do not mean a missing value."""
        log = log_of(range(4), mode=["on", "off", "on", ""], x=[0, "-", 2, 3])
        with pytest.raises(DatasetError) as caught:
            load(tmp_path, log, observations=["x", "mode"])
        lines = str(caught.value).splitlines()
        assert [line.partition("log.csv: ")[2] for line in lines[1:3]] == [
            "line 2, column 'mode': found 'on', and no number in any row, expected a number",
            "line 3, column 'x': found '-', expected a number",
        ]
        assert lines[4:6] == [
            "Categories become columns of zeros and ones by one_hot=['mode'] (--one-hot mode).",
            "Texts that mean a missing value are named by na=['-'] (--na -).",
        ]

    def test_no_column_hides_the_texts_of_another(self, tmp_path: Path) -> None:
        """The texts that are kept for messages are limited, and two sensors may fail for as long as they like."""
        wrong = ["?", *["-"] * 2999]
        with pytest.raises(DatasetError) as caught:
            load(tmp_path, log_of(range(3001), x=[*wrong, 0], u=[*wrong, 0]))
        title, *shown = str(caught.value).splitlines()
        assert title == "6,000 cells cannot be used:"
        assert all(line.endswith("found '?', expected a number") for line in shown[:2])
        assert "na=['?', '-'] (--na '?' -)" in str(caught.value)

    def test_a_decimal_comma_is_recognised(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"If '0,5' has a decimal comma, pass decimal=',' \(--decimal ,\)"):
            load(tmp_path, log_of(range(3), u=["0,5"] * 3))

    def test_texts_cannot_change_the_terminal(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError) as caught:
            load(tmp_path, log_of(range(3), u=[0, "\x1b[31m", 0]))
        assert "\x1b" not in str(caught.value)
