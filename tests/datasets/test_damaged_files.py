"""Damaged and hostile files: where each kind is tested, and what no other file tests.

The rule for every reader: equal data or one of our own errors, which names file and field, says what was found and
what was expected, and comes before memory is taken or anything is run.

cut off anywhere
    test_store::test_truncated_anywhere, test_hdf5::test_truncated_anywhere,
    test_d4rl::test_truncated_anywhere, test_tables::test_truncated_anywhere
a flipped bit
    test_store::test_any_flipped_bit_of_the_tensors, test_damaged_files::test_damaged_hdf5,
    test_tables::test_damaged_anywhere
bad headers
    test_store::test_bad_tensor_headers, test_metadata::test_no_metadata_at_all,
    test_d4rl::test_files_that_are_none, test_tables::test_files_that_are_none
pickles in place of data
    test_damaged_files::test_pickles_are_not_unpickled
wants more memory than it can fill
    test_store::test_a_file_of_terabytes, test_hdf5::test_bombs_are_refused_before_memory_is_taken,
    test_d4rl::test_bombs_are_refused_before_memory_is_taken, test_tables::test_a_bomb
leads out of the file or the folder
    test_store::test_tensor_file_stays_in_the_folder, test_hdf5::test_hostile_arrays_are_refused,
    test_d4rl::test_hostile_files_are_refused
a device in place of a file
    test_store::test_links_to_what_is_no_file, test_damaged_files::test_devices_are_no_files,
    test_d4rl::test_no_file
an id that leaves the folder
    test_locate::test_any_other_name, test_reader::test_malformed_ids
an environment that runs code, spaces missing
    test_metadata::test_missing_spaces_and_hostile_env
an environment that runs code, spaces present
    test_metadata::test_hostile_env_with_spaces_is_a_name_and_nothing_more
another format or version
    test_store::test_newer_format_version, test_metadata::test_other_formats_are_named_and_the_way_out_works,
    test_d4rl::test_wrong_content_is_refused
NaN or infinity, also only in the last observation
    test_transitions::test_not_finite, test_hdf5::test_damage, test_d4rl::test_wrong_content_is_refused,
    test_tables::test_wrong_cells_of_csv
float64 beyond float32
    test_transitions::test_float64_that_overflows_float32, test_hdf5::test_damage
rewards, actions or observations one short
    test_files::test_tensors_that_do_not_fit_together, test_hdf5::test_damage,
    test_d4rl::test_wrong_content_is_refused, test_tables::test_wrong_cells_of_csv
a wrong width
    test_transitions::test_shape_or_type, test_hdf5::test_damage, test_d4rl::test_wrong_content_is_refused
integers where numbers are
    test_transitions::test_arrays_are_float32_and_bool, test_hdf5::test_integers_are_numbers,
    test_d4rl::test_columns_and_wide_floats, test_tables::test_the_variety_of_csv
terminated and truncated, or neither
    test_transitions::test_flags, test_hdf5::test_flags_of_the_last_step,
    test_d4rl::test_a_fall_at_the_time_limit_is_a_fall, test_tables::test_both_flags_mean_terminated
ended in mid-episode
    test_hdf5::test_damage, test_tables::test_flags_that_contradict_the_episode
too few or too many episodes, wrong number of steps
    test_metadata::test_damage
an empty episode
    test_transitions::test_from_episodes_refusals, test_hdf5::test_damage
one transition
    test_transitions::test_too_few_rows, test_damaged_files::test_a_single_step, test_d4rl::test_nothing_left,
    test_tables::test_files_that_are_none
actions outside their space
    test_transitions::test_actions_outside_the_given_space, test_hdf5::test_damage,
    test_tables::test_metadata_and_space
constant columns
    test_fit::test_constant_columns_are_left_unscaled
fewer transitions than members
    test_fit::test_small_datasets_fit
episodes that are there twice
    test_problems::test_the_check_fires_alone_and_says_where
−0.0 and denormals
    test_files::test_any_data
"""

from __future__ import annotations

import ast
import hashlib
import json
import pathlib
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers.minari_files import ID, write_minari, write_three_episodes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mopo_env import load_d4rl, load_dataset, load_minari, load_table, load_transitions, save_transitions
from mopo_env.errors import DatasetError, MopoError, StoreError
from mopo_env.toys import LinearGaussianSystem

TESTS = Path(__file__).resolve().parents[1]


def test_every_test_in_the_table_exists() -> None:
    """A table that nothing checks would soon name tests that were renamed or removed."""
    named = set(re.findall(r"(test_\w+)::(test_\w+)", str(__doc__)))
    assert len(named) > 40
    found = {
        (file, node.name)
        for file in {file for file, _ in named}
        for path in TESTS.rglob(f"{file}.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert named - found == set()


class Payload:
    """What unpickles to a call that leaves a trace."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return pathlib.Path.touch, (self.marker,)


@pytest.mark.parametrize("kind", ["pickle", "torch", "npz"])
def test_pickles_are_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Whatever name a pickle goes by, and with PyTorch told by the environment to load it."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker, path = tmp_path / "marker", tmp_path / "payload"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Payload(marker)))
    elif kind == "torch":
        torch.save({"x": Payload(marker)}, path)
    else:
        with path.open("wb") as stream:
            np.savez(stream, observations=np.array([Payload(marker)], dtype=object))
    body = path.read_bytes()

    own = tmp_path / "own"
    save_transitions(LinearGaussianSystem().transitions(num_episodes=2, num_steps=5), own)
    (tensors,) = own.glob("*.safetensors")
    manifest = json.loads((own / "dataset.json").read_text())
    manifest["tensors"]["sha256"] = hashlib.sha256(body).hexdigest()
    tensors.write_bytes(body)
    (own / "dataset.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError):
        load_transitions(own)
    (own / "dataset.json").write_bytes(body)
    with pytest.raises(StoreError):
        load_dataset(own)

    data = write_three_episodes()
    (data / "main_data.hdf5").write_bytes(body)
    with pytest.raises(DatasetError):
        load_minari(ID)
    (data / "metadata.json").write_bytes(body)
    with pytest.raises(DatasetError):
        load_minari(ID)

    columns = {"observations": ["s"], "actions": ["a"], "reward": "r"}
    for suffix in (".hdf5", ".csv", ".parquet", ".pt", ".npz", ".pkl", ".zip"):
        renamed = path.with_suffix(suffix)
        renamed.write_bytes(body)
        with pytest.raises(MopoError):
            load_d4rl(renamed)
        with pytest.raises(MopoError):
            load_table(renamed, **columns)  # type: ignore[arg-type]
        with pytest.raises(MopoError):
            load_dataset(renamed)
    assert not marker.exists()
    # The trap is live: this is what the readers above did not do.
    pickle.loads(pickle.dumps(Payload(marker)))  # noqa: S301
    assert marker.exists()


def test_devices_are_no_files(tmp_path: Path) -> None:
    """Reading /dev/zero would end with the machine's memory, and an archive may well hold a link to it."""
    data = write_three_episodes()
    (tmp_path / "table.csv").symlink_to("/dev/null")
    with pytest.raises(DatasetError, match="no such file"):
        load_table(tmp_path / "table.csv", observations=["s"], actions=["a"], reward="r")
    for name in ("main_data.hdf5", "metadata.json"):
        (data / name).unlink()
        (data / name).symlink_to("/dev/null")
        with pytest.raises(DatasetError, match=r"no such file|not found in|found no file"):
            load_minari(ID)


def test_a_single_step() -> None:
    """A dataset that Minari is content with, and that nothing can be held out of."""
    write_minari(
        [{"observations": np.zeros((2, 1)), "actions": np.zeros((1, 1)), "rewards": np.zeros(1)}],
        observation_space=Box(-1, 1, (1,), np.float64),
        action_space=Box(-1, 1, (1,), np.float64),
    )
    with pytest.raises(DatasetError, match=f"{ID}.*found 1 transition"):
        load_minari(ID)


# A crash of the library would end this process, so another one reads the files.
DAMAGE = f"""
import random, sys
from pathlib import Path
import mopo_env
from mopo_env.errors import DatasetError
kind, path = sys.argv[1], Path(sys.argv[2])
body, generator, outcomes = path.read_bytes(), random.Random(0), [0, 0]
used = [place for place, byte in enumerate(body) if byte]  # most of so small a file is filling
for _ in range(200):
    damaged, start = bytearray(body), generator.choice(used)
    if generator.random() < 0.5:
        damaged[start] ^= 1 << generator.randrange(8)
    else:
        damaged[start : start + 16] = generator.randbytes(16)
    path.write_bytes(damaged[: len(body)])
    try:
        mopo_env.load_minari({ID!r}) if kind == "minari" else mopo_env.load_d4rl(path)
        outcomes[0] += 1
    except DatasetError as error:
        assert str(path) in str(error) or "step" in str(error), error
        outcomes[1] += 1
print(*outcomes)
"""


@pytest.mark.parametrize("kind", ["minari", "d4rl"])
def test_damaged_hdf5(tmp_path: Path, kind: str) -> None:
    """No other error escapes. What HDF5 keeps no checksum of may change unnoticed, hence `--sha256` for D4RL."""
    if kind == "minari":
        path = write_three_episodes() / "main_data.hdf5"
    else:
        path = tmp_path / "file.hdf5"
        with h5py.File(path, "w") as file:
            for name, width in {"observations": 3, "actions": 1}.items():
                file.create_dataset(name, data=np.zeros((20, width), np.float32), compression="gzip")
            for name in ("rewards", "terminals"):
                file.create_dataset(name, data=np.zeros(20, np.float32), compression="gzip")
    done = subprocess.run(
        [sys.executable, "-c", DAMAGE, kind, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded, refused = map(int, done.stdout.split())
    assert loaded + refused == 200
    assert refused > 20


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_spliced_files_of_our_own(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes deleted, doubled or overwritten in the manifest: the same data, or an error of ours."""
    transitions = LinearGaussianSystem().transitions(num_episodes=2, num_steps=5)
    path = save_transitions(transitions, tmp_path)
    body = path.read_bytes()
    start = data.draw(st.integers(0, len(body) - 1))
    end = data.draw(st.integers(start, min(len(body), start + 40)))
    piece = data.draw(st.one_of(st.just(b""), st.just(2 * body[start:end]), st.binary(max_size=20)))
    path.write_bytes(body[:start] + piece + body[end:])
    try:
        loaded = load_transitions(tmp_path)
    except (StoreError, DatasetError):
        return
    assert loaded.fingerprint == transitions.fingerprint
