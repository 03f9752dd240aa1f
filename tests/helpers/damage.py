"""What tests of damaged and hostile files share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

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
