"""Damaged and hostile files, shared by the tests of the readers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from mopo_env._utils.json_files import json_text, parse_json
from mopo_env._utils.store import read_artifact, write_artifact
from mopo_env.errors import StoreError

_WITH_LITTLE_MEMORY = """
import os, resource, sys, h5py, mopo_env.datasets.d4rl, mopo_env.datasets.minari.hdf5, mopo_env._utils.store
from mopo_env.errors import MopoError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
for argument in sys.argv[1:]:
    try:
        {statement}
    except MopoError as error:
        print(error)
"""


def errors_with_little_memory(statement: str, *arguments: object) -> list[str]:
    """Run a statement for each `argument` in a process with 256 MB to spare, and return our errors, a line each.

    It is what a user's job has, and any error of another kind, or the end of the process, fails the test.
    """
    code = _WITH_LITTLE_MEMORY.format(statement=statement)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        pytest.fail(done.stderr)
    return done.stdout.splitlines()


def cut_anywhere(path: Path) -> Iterator[int]:
    """Cut a file off at its start, its end and 40 places between, one after the other; yield how much is left."""
    body = path.read_bytes()
    for place in np.unique(np.r_[0, 1, 7, 8, 100, np.linspace(8, len(body) - 1, 40).astype(int), len(body) - 1]):
        path.write_bytes(body[:place])
        yield int(place)


def rewrite_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change one of our JSON files as an author would, with its digest."""
    content = parse_json(path.read_bytes())
    change(content)
    path.write_bytes(json_text(content))


def _link(link: Callable[[h5py.Group], Any]) -> Callable[[h5py.Group], None]:
    return lambda group: group.__setitem__("rewards", link(group))


def _declare(**options: Any) -> Callable[[h5py.Group], None]:
    return lambda group: group.create_dataset("rewards", **{"dtype": "f4", "shape": (5,), **options})


def _virtual(group: h5py.Group) -> None:
    source = h5py.VirtualLayout((5,), "f4")
    source[:] = h5py.VirtualSource("other.h5", "secret", (5,))
    group.create_virtual_dataset("rewards", source)


def _half_written(group: h5py.Group) -> None:
    group.create_dataset("rewards", (5,), "f4", chunks=(2,))[:2] = 1


def _packed_twice(group: h5py.Group) -> None:
    """Two compressors multiply what a byte can unpack to."""
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_chunk((5,))
    options.set_filter(h5py.h5z.FILTER_LZF)
    options.set_deflate(9)
    h5py.h5d.create(group.id, b"rewards", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((5,)), options)


_HUGE = 10**12
# How to make five rewards in a group that has none, and what the refusal says. Each would load, or end in an error of
# h5py's own, if it were simply read.
HOSTILE_REWARDS: dict[str, tuple[Callable[[h5py.Group], Any], str]] = {
    "soft link": (_link(lambda group: h5py.SoftLink(f"{group.name}/actions")), "SoftLink to '/"),
    "soft link loop": (_link(lambda group: h5py.SoftLink(f"{group.name}/rewards")), "SoftLink to '/"),
    "dangling link": (_link(lambda _: h5py.SoftLink("/nowhere")), "SoftLink to '/nowhere'"),
    "external link": (_link(lambda _: h5py.ExternalLink("other.h5", "secret")), "ExternalLink to 'other.h5:secret'"),
    "group": (lambda group: group.create_group("rewards"), "found a group"),
    "root again": (_link(lambda group: group["/"]), "found a group"),
    "named type": (_link(lambda _: np.dtype("f4")), "found a datatype"),
    "external storage": (_declare(external=[("secret.txt", 0, 20)]), "in another file, 'secret.txt'"),
    "virtual": (_virtual, "found a virtual array"),
    "no data": (_declare(shape=None, data=h5py.Empty("f4")), "found no data"),
    "never written": (_declare(), "stores only 0 bytes"),
    "4 TB of chunks": (_declare(shape=(_HUGE,), chunks=(1024,)), "stores only 0 bytes"),
    "4 TB packed": (_declare(shape=(_HUGE,), chunks=(1024,), compression="gzip"), "stores only 0 bytes"),
    "half written": (_half_written, "20 bytes, but the file stores only 8"),
    "packed twice": (_packed_twice, "found the HDF5 filters"),
    "unknown filter": (_declare(chunks=(5,), scaleoffset=2), "found the HDF5 filters"),
    "variable length": (_declare(dtype=h5py.vlen_dtype(np.float32)), "found the type object"),
    "references": (_declare(dtype=h5py.ref_dtype), "found the type object"),
    "records": (_declare(dtype=[("a", "f4")]), "found the type"),
}


def replace_rewards(group: h5py.Group, make: Callable[[h5py.Group], Any]) -> None:
    """Put hostile rewards in the place of honest ones, with the files beside it that some of them lead to."""
    folder = Path(group.file.filename).parent
    with h5py.File(folder / "other.h5", "w") as file:
        file["secret"] = np.zeros(5, dtype=np.float32)
    (folder / "secret.txt").write_bytes(bytes(20))
    del group["rewards"]
    make(group)


Tensors, Metadata = dict[str, np.ndarray], dict[str, Any]
Rewrite = Callable[[Tensors, Metadata], Any]


def rewritten(folder: Path, name: str, change: Rewrite) -> Path:
    """Change an artifact of ours so that its files are intact, checksums and all, but say something else."""
    tensors, metadata = read_artifact(folder, name)
    tensors = {key: array.copy() for key, array in tensors.items()}
    change(tensors, metadata)
    write_artifact(folder, name, tensors, metadata)
    return folder


def set_tensor(name: str, value: Any) -> Rewrite:
    return lambda tensors, metadata: tensors.__setitem__(name, np.asarray(value))


def change_tensor(name: str, function: Callable[[np.ndarray], Any]) -> Rewrite:
    return lambda tensors, metadata: tensors.__setitem__(name, np.asarray(function(tensors[name])))


def first_entry(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array.flat[0] = value
        return array

    return change


def set_size(name: str, value: Any) -> Rewrite:
    return lambda tensors, metadata: metadata["architecture"].__setitem__(name, value)


def devices_of_new_tensors(read: Callable[[], Any]) -> set[str]:
    """Return where `torch.empty` made tensors while a file was refused; only "meta" takes no memory."""
    found: set[str] = set()
    real = torch.empty

    def spy(*args: Any, **kwargs: Any) -> torch.Tensor:
        tensor = real(*args, **kwargs)
        found.add(tensor.device.type)
        return tensor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "empty", spy)
        with pytest.raises(StoreError):
            read()
    return found
