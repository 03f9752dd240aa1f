"""The table of D4RL's published files: well-formed, complete for the paper's tasks, and used to tell files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from mopo_env.datasets.d4rl import D4RL_FILES, check_sha256, d4rl_task
from mopo_env.errors import ConfigError, DatasetError
from mopo_env.tasks import TASKS


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
