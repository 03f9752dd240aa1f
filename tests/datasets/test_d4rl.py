"""D4RL's files: every version's layout, the true cause and state of every end, and nothing that a file must not do."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers.damage import HOSTILE_REWARDS, cut_anywhere, errors_with_little_memory, replace_rewards

from mopo_env import load_d4rl, load_transitions, save_transitions
from mopo_env.datasets.d4rl import D4RL_FILES, check_sha256, d4rl_task
from mopo_env.errors import ConfigError, DatasetError
from mopo_env.tasks import TASKS

Fields = dict[str, Any]
# Steps of each episode and how it ended; the file stops in the middle of the last one.
EPISODES = ((4, "terminals"), (3, "timeouts"), (1, "terminals"), (2, None))
ROWS = 10


def fields(*, episodes: tuple[tuple[int, str | None], ...] = EPISODES) -> Fields:
    """Episode e, step t: s = (100·e + t, t), s′ = s + (1, 1), a = t / 1000, r = 10·e + t."""
    steps = np.concatenate([np.arange(length) for length, _ in episodes])
    number = np.repeat(np.arange(len(episodes)), [length for length, _ in episodes])
    last = np.cumsum([length for length, _ in episodes]) - 1
    observations = np.stack([100 * number + steps, steps], axis=1).astype(np.float32)
    flags = {name: np.zeros(len(steps), dtype=bool) for name in ("terminals", "timeouts")}
    for row, (_, end) in zip(last, episodes, strict=True):
        if end is not None:
            flags[end][row] = True
    return {
        "observations": observations,
        "actions": (steps[:, None] / 1000).astype(np.float32),
        "rewards": (10 * number + steps).astype(np.float32),
        "next_observations": observations + 1,
        **flags,
    }


def write(path: Path, content: Fields, **options: Any) -> Path:
    """Write as D4RL does: gzip, groups made by slashes in the names."""
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            packed = {"compression": "gzip"} if np.ndim(values) else {}
            file.create_dataset(name, data=values, **{**packed, **(options if np.ndim(values) else {})})
    return path


def layout(version: str) -> Fields:
    """The fields of a version, with all that the reader must ignore."""
    content = fields()
    if version == "v0":
        del content["next_observations"], content["timeouts"]
        return content
    content |= {"infos/qpos": np.zeros((ROWS, 3)), "infos/qvel": np.full((ROWS, 3), np.nan)}
    if version == "v2":
        content |= {
            "infos/action_log_probs": np.zeros(ROWS),
            "metadata/algorithm": np.bytes_("SAC"),
            "metadata/note": "ε",
            "metadata/iteration": 3,
            "metadata/policy/fc0/weight": np.zeros((2, 2)),
            "metadata/policy/nonlinearity": np.bytes_("relu"),
        }
    return content


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hopper_medium.hdf5"


class TestWithNextObservations:
    """v1 and v2 hold the true next state of every row."""

    @pytest.mark.parametrize("version", ["v1", "v2"])
    def test_every_row_is_kept(self, path: Path, version: str) -> None:
        """At rows 3 and 7 the robot fell: s′ is where it fell to, and not the next episode's start."""
        content = layout(version)
        loaded = load_d4rl(write(path, content))
        for name in ("observations", "actions", "rewards", "next_observations"):
            np.testing.assert_array_equal(getattr(loaded, name), content[name])
        assert loaded.next_observations[3].tolist() == [4, 4]
        assert loaded.terminations.nonzero()[0].tolist() == [3, 7]
        assert loaded.truncations.nonzero()[0].tolist() == [6, 9]
        assert loaded.metadata["rows_dropped"] == 0

    def test_a_fall_at_the_time_limit_is_a_fall(self, path: Path) -> None:
        """Flagged both ways, the state is terminal all the same, and the row has one cause."""
        content = layout("v2")
        content["timeouts"][3] = True
        loaded = load_d4rl(write(path, content))
        assert (loaded.terminations[3], loaded.truncations[3]) == (True, False)

    def test_metadata_keeps_the_strings(self, path: Path) -> None:
        loaded = load_d4rl(write(path, layout("v2")))
        assert loaded.metadata == {
            "name": "hopper_medium",
            "source": "D4RL HDF5",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "task": "hopper-medium",
            "d4rl": {"algorithm": "SAC"},
            "rows_dropped": 0,
        }

    def test_without_timeouts(self, path: Path) -> None:
        """The next states are there, so only the flags have to be counted."""
        content = fields(episodes=((7, None), (3, None)))
        del content["timeouts"]
        loaded = load_d4rl(write(path, content), max_episode_steps=7)
        assert len(loaded) == ROWS
        assert loaded.truncations.nonzero()[0].tolist() == [6, 9]


class TestWithoutNextObservations:
    """The last row of every episode has no next state in the file; what follows it is another episode."""

    def test_last_rows_are_dropped(self, path: Path) -> None:
        """By hand: rows 3, 6, 7 and 9 end their episodes; of the episode of one row nothing is left."""
        content = layout("v1")
        del content["next_observations"]
        loaded = load_d4rl(write(path, content))
        kept = [0, 1, 2, 4, 5, 8]
        np.testing.assert_array_equal(loaded.observations, content["observations"][kept])
        np.testing.assert_array_equal(loaded.next_observations, content["observations"][kept] + 1)
        np.testing.assert_array_equal(loaded.rewards, content["rewards"][kept])
        assert not loaded.terminations.any()
        assert loaded.truncations.nonzero()[0].tolist() == [2, 4, 5]
        assert loaded.metadata["rows_dropped"] == 4

    def test_v0_ends_after_a_thousand_rows(self, path: Path) -> None:
        """Nothing in the file says so: 1000, 1000 and 5 rows look like one long episode."""
        content = fields(episodes=((1000, None), (1000, None), (5, None)))
        del content["next_observations"], content["timeouts"]
        loaded = load_d4rl(write(path, content))
        assert len(loaded) == 2005 - 3
        np.testing.assert_array_equal(loaded.next_observations, loaded.observations + 1)
        assert loaded.truncations.nonzero()[0].tolist() == [998, 1997, 2001]

    def test_v0_counts_from_each_termination(self, path: Path) -> None:
        """Two steps, a fall, five steps, the limit of five, five steps, a fall just then, three steps."""
        content = fields(episodes=((2, "terminals"), (5, None), (5, "terminals"), (3, None)))
        del content["next_observations"], content["timeouts"]
        loaded = load_d4rl(write(path, content), max_episode_steps=5)
        np.testing.assert_array_equal(loaded.next_observations, loaded.observations + 1)
        assert loaded.observations[:, 0].tolist() == [0, 100, 101, 102, 103, 200, 201, 202, 203, 300, 301]
        assert loaded.metadata["rows_dropped"] == 4

    def test_nothing_left(self, path: Path) -> None:
        """Episodes of one row hold no transition at all, and the message says where they went."""
        content = fields(episodes=((1, "terminals"), (1, "terminals")))
        del content["next_observations"]
        with pytest.raises(DatasetError, match=r"hopper_medium.hdf5: found 0 transitions.*2 such rows were dropped"):
            load_d4rl(write(path, content))

    @pytest.mark.parametrize("steps", [0, 1.5])
    def test_time_limit_is_checked(self, path: Path, steps: Any) -> None:
        with pytest.raises(ConfigError, match="max_episode_steps"):
            load_d4rl(write(path, layout("v0")), max_episode_steps=steps)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.float32, np.float64])
def test_flags_of_any_type(path: Path, dtype: type) -> None:
    content = layout("v2")
    expected = load_d4rl(write(path, content)).fingerprint
    content |= {name: content[name].astype(dtype) for name in ("terminals", "timeouts")}
    assert load_d4rl(write(path, content)).fingerprint == expected


def test_columns_and_wide_floats(path: Path) -> None:
    """Rewards and flags of shape (rows, 1), and float64 throughout, are in some files."""
    content = layout("v2")
    expected = load_d4rl(write(path, content)).fingerprint
    content |= {name: content[name].astype(np.float64) for name in ("observations", "actions", "next_observations")}
    content |= {name: content[name][:, None] for name in ("rewards", "terminals", "timeouts")}
    assert load_d4rl(write(path, content)).fingerprint == expected


@pytest.mark.parametrize(
    "options",
    [{"compression": None}, {"compression": "lzf"}, {"shuffle": True, "fletcher32": True}, {"chunks": True}],
    ids=str,
)
def test_however_it_is_packed(path: Path, options: Fields) -> None:
    expected = load_d4rl(write(path, layout("v2"))).fingerprint
    assert load_d4rl(write(path, layout("v2"), **options)).fingerprint == expected


def test_a_million_equal_values_are_plausible(path: Path) -> None:
    """Flags that are all zero pack a thousandfold; the limit must let honest files pass."""
    rows = 200_000
    content = {name: np.zeros((rows, 1), dtype=np.float32) for name in ("observations", "actions")}
    content |= {"rewards": np.zeros(rows, dtype=np.float32), "terminals": np.zeros(rows, dtype=bool)}
    assert len(load_d4rl(write(path, content))) == rows - 200


def test_round_trip_through_our_format(path: Path, tmp_path: Path) -> None:
    loaded = load_d4rl(write(path, layout("v2")))
    save_transitions(loaded, tmp_path / "data")
    again = load_transitions(tmp_path / "data")
    assert again.fingerprint == loaded.fingerprint
    assert again.metadata["d4rl"] == {"algorithm": "SAC"}


def set_field(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[Fields], None]:
    def apply(content: Fields) -> None:
        content[name] = change(content[name])

    return apply


def put(index: Any, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def apply(values: np.ndarray) -> np.ndarray:
        values = values.astype(np.float32)
        values[index] = value
        return values

    return apply


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda content: content.pop("terminals"), r"terminals: missing; .* found 'actions', 'infos'"),
        (lambda content: content.pop("observations"), "observations: missing"),
        (set_field("rewards", lambda x: x[:-1]), "rewards: found 9 rows, but observations has 10"),
        (set_field("timeouts", lambda x: x[:-2]), "timeouts: found 8 rows, but observations has 10"),
        (set_field("next_observations", lambda x: x[1:]), "next_observations: found 9 rows"),
        (set_field("next_observations", lambda x: x[:, :1]), r"next_observations: found shape \(10, 1\), but"),
        (
            set_field("observations", lambda x: x[:, 0]),
            r"observations: found the shape \(10,\), expected \(r",
        ),
        (
            set_field("actions", lambda x: x[:, None]),
            r"actions: found the shape \(10, 1, 1\), expected \(rows, w",
        ),
        (
            set_field("rewards", lambda x: np.stack([x, x], 1)),
            r"rewards: found the shape \(10, 2\), expected \(rows",
        ),
        (
            set_field("rewards", lambda x: x.astype(complex)),
            "rewards: found the type complex128, expected floating-point numbers",
        ),
        (set_field("observations", lambda x: x.astype("S5")), r"observations: found the type \|S5"),
        (set_field("actions", lambda x: x > 0), "actions: found the type bool, expected"),
        (set_field("terminals", lambda x: x.astype("S5")), "terminals: found the type .*, expected booleans or"),
        (set_field("terminals", put(4, 2.0)), "terminals, row 4: found 2, expected booleans"),
        (set_field("timeouts", put(5, 0.5)), "timeouts, row 5: found 0.5, expected booleans"),
        (set_field("terminals", put(4, np.nan)), "terminals, row 4: found nan"),
        (set_field("observations", put((7, 1), np.nan)), "observations, row 7: found nan, and 1 such value in all"),
        (set_field("next_observations", put((9, 0), np.inf)), "next_observations, row 9: found inf"),
        (set_field("rewards", put(2, -np.inf)), "rewards, row 2: found -inf"),
        (set_field("actions", put((3, 0), 1.5)), r"actions: found .* outside|actions: found values .* no action_space"),
        (lambda content: content.update({n: v[:0] for n, v in fields().items()}), "found no rows"),
    ],
)
def test_wrong_content_is_refused(path: Path, change: Callable[[Fields], None], expected: str) -> None:
    """The message names the file, the field, what was found and what was expected."""
    content = layout("v2")
    change(content)
    with pytest.raises(DatasetError, match=f"hopper_medium.hdf5: {expected}"):
        load_d4rl(write(path, content))


def test_rows_that_get_dropped_are_checked_too(path: Path) -> None:
    """Its observation is the next state of the row before it; and rows are counted as in the file."""
    content = layout("v1")
    del content["next_observations"]
    content["observations"][6, 0] = np.nan
    with pytest.raises(DatasetError, match="observations, row 6: found nan"):
        load_d4rl(write(path, content))


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.hdf5").write_text("observations")
    (tmp_path / "empty.hdf5").write_bytes(b"")
    for name, expected in {"text": "cannot be read", "empty": "cannot be read", "none": "no such file"}.items():
        with pytest.raises(DatasetError, match=rf"{name}.hdf5: {expected}"):
            load_d4rl(tmp_path / f"{name}.hdf5")
    with pytest.raises(DatasetError, match="no such file"):
        load_d4rl(tmp_path)


def test_truncated_anywhere(path: Path) -> None:
    """A download that broke off must not be taken for a smaller dataset."""
    for _ in cut_anywhere(write(path, layout("v2"))):
        with pytest.raises(DatasetError, match=r"hopper_medium\.hdf5: "):
            load_d4rl(path)


def test_damaged_chunk(path: Path) -> None:
    """gzip notices; the error of h5py must not escape as such."""
    body = bytearray(write(path, layout("v2")).read_bytes())
    with h5py.File(path) as file:
        chunk = file["observations"].id.get_chunk_info(0)
    body[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(body)
    with pytest.raises(DatasetError, match="cannot be read as HDF5"):
        load_d4rl(path)


@pytest.mark.parametrize("name", HOSTILE_REWARDS)
def test_hostile_files_are_refused(path: Path, name: str) -> None:
    make, expected = HOSTILE_REWARDS[name]
    with h5py.File(write(path, layout("v1")), "a") as file:
        replace_rewards(file, make)
    with pytest.raises(DatasetError) as caught:
        load_d4rl(path)
    assert str(caught.value).startswith(f"{path}: rewards: ")
    assert expected in str(caught.value)


def test_a_forged_size_is_refused(path: Path) -> None:
    """A file can say of itself that it stores 4 TB; it is believed up to its own size."""
    content = {name: values for name, values in layout("v1").items() if not name.startswith("infos")}
    content["rewards"] = np.zeros(12345, dtype=np.float32)
    body = write(path, content, compression=None).read_bytes()
    for old, new in ((12345, 10**12), (4 * 12345, 4 * 10**12)):
        assert old.to_bytes(8, "little") in body
        body = body.replace(old.to_bytes(8, "little"), new.to_bytes(8, "little"))
    path.write_bytes(body)
    with pytest.raises(DatasetError, match="hopper_medium"):
        load_d4rl(path)


def test_optional_fields_are_looked_at_as_well(path: Path) -> None:
    content = layout("v1")
    del content["next_observations"]
    write(path, content)
    with h5py.File(path, "a") as file:
        file["next_observations"] = h5py.SoftLink("/observations")
    with pytest.raises(DatasetError, match="next_observations: found a SoftLink"):
        load_d4rl(path)


def test_hostile_metadata_are_ignored(path: Path) -> None:
    """They are a courtesy: whatever is no short string in this file is left out."""
    (path.parent / "secret.txt").write_bytes(bytes(40))
    with h5py.File(write(path, layout("v1")), "a") as file:
        group = file.create_group("metadata")
        group["root"] = file["/"]
        group["self"] = h5py.SoftLink("/metadata/self")
        group["other"] = h5py.ExternalLink("other.h5", "secret")
        group.create_dataset("stolen", (), "S40", external=[("secret.txt", 0, 40)])
        group.create_dataset("never written", (), "S40")
        group.create_dataset("huge", (), "S2000000000")
        group["long"] = np.bytes_("x" * 20_000)
        group["list"] = [np.bytes_("a"), np.bytes_("b")]
        group["kept"] = np.bytes_("yes")
    assert load_d4rl(path).metadata["d4rl"] == {"kept": "yes"}


def test_a_heap_without_end_is_not_read(path: Path) -> None:
    """HDF5 looks for a string in a heap whose objects have no length, for ever, and no signal stops it."""
    with h5py.File(write(path, layout("v1")), "a") as file:
        file["metadata/note"] = "abc"
    body = bytearray(path.read_bytes())
    of_object = body.index(b"GCOL") + 16
    body[of_object : of_object + 2], body[of_object + 8 : of_object + 16] = b"\x02\x00", bytes(8)
    path.write_bytes(body)
    program = f"from mopo_env import load_d4rl; print(load_d4rl({str(path)!r}).metadata['d4rl'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "{}\n"


def test_metadata_that_are_a_link(path: Path) -> None:
    write(path, layout("v1"))
    with h5py.File(path, "a") as file:
        file["metadata"] = h5py.ExternalLink("other.h5", "/")
    assert load_d4rl(path).metadata["d4rl"] == {}


def write_bomb(path: Path, kind: str) -> None:
    """Files of some kilobytes that want 4 GB, while some of it is really stored."""
    rows = 10**9
    with h5py.File(path, "w") as file:
        for name in ("observations", "actions", "rewards", "terminals"):
            shape = (rows, 1) if name in ("observations", "actions") else (rows,)
            if kind == "shape":
                dataset = file.create_dataset(name, shape, "f4", chunks=(1024, 1)[: len(shape)], compression="gzip")
                dataset[:10] = 0
            else:
                # The array is small; it is its one chunk that unpacks to 4 GB.
                few = (10, *shape[1:])
                dataset = file.create_dataset(
                    name, few, "f4", chunks=shape, maxshape=(None, *shape[1:]), compression="gzip"
                )
                dataset.id.write_direct_chunk((0,) * len(shape), b"\x78\x9c" + bytes(100))


@pytest.mark.parametrize("kind", ["shape", "chunk"])
def test_bombs_are_refused_before_memory_is_taken(path: Path, kind: str) -> None:
    """Under a limit of the address space, as a user's job would have it."""
    write_bomb(path, kind)
    assert path.stat().st_size < 200_000
    (error,) = errors_with_little_memory("mopo_env.load_d4rl(argument)", path)
    assert "made to exhaust memory" in error


# ---------------------------------------------------------------- the files that D4RL published


def test_checksums_are_checksums() -> None:
    """A line that was copied twice, or cut, would refuse or accept the wrong file."""
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in D4RL_FILES.values())
    assert len(set(D4RL_FILES.values())) == len(D4RL_FILES) == 3 * (5 + 6 + 6)


def test_every_task_of_d4rl_has_a_file_in_every_version() -> None:
    """v0 names the recipe "mixed", and one robot "walker"; v1 and v2 end in their version."""
    for version in ("", "-v1", "-v2"):
        files = [name for name in D4RL_FILES if re.fullmatch(rf"[a-z0-9_]+{version}\.hdf5", name)]
        tasks = {d4rl_task(name) for name in files} - {None}
        assert tasks == {task.name for task in TASKS.values() if task.reference_min is not None}


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("hopper_medium-v2.hdf5", "hopper-medium"),
        ("halfcheetah_medium_replay-v1.hdf5", "halfcheetah-mixed"),
        ("walker_mixed.hdf5", "walker2d-mixed"),
        ("walker2d_medium_expert.hdf5", "walker2d-med-expert"),
        ("hopper_expert-v2.hdf5", None),
        ("hopper_full_replay-v2.hdf5", None),
        ("ant_medium-v2.hdf5", None),
        ("hopper_medium-v2.csv", None),
        ("hopper.hdf5", None),
    ],
)
def test_task_of_a_file(name: str, task: str | None) -> None:
    assert d4rl_task(name) == task
    assert task is None or task in TASKS


def test_checksum_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    digest = hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert check_sha256(path) == digest
    assert check_sha256(path, digest.upper()) == digest
    with pytest.raises(DatasetError, match=rf"file: found the SHA-256 {digest}, expected 0{{64}}"):
        check_sha256(path, "0" * 64)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", Path("/dev/null")):
        with pytest.raises(DatasetError, match="no such file"):
            check_sha256(path)


@pytest.mark.parametrize("expected", ["", "0" * 63, "g" * 64, "0" * 65])
def test_what_is_no_checksum(tmp_path: Path, expected: str) -> None:
    """A digit that was lost must not read as a damaged file."""
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        check_sha256(tmp_path, expected)
