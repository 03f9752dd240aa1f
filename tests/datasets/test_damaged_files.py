"""What every reader must refuse: equal data or an error of ours, before memory is taken or anything is run.

What one format alone can do wrong is tested with its reader.
"""

from __future__ import annotations

import hashlib
import pathlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from helpers.damage import rewrite_json
from helpers.minari_files import ID, write_three_episodes

from mopo_env import load_d4rl, load_dataset, load_minari, load_table, load_transitions, save_transitions
from mopo_env.errors import DatasetError, MopoError, StoreError
from mopo_env.toys import LinearGaussianSystem


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
    tensors.write_bytes(body)
    sizes = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    rewrite_json(own / "dataset.json", lambda manifest: manifest["tensors"].update(sizes))
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
