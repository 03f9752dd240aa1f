"""What a run was computed on, and with how many threads."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


def machine(device: torch.device) -> str:
    """Describe a device of this machine and its threads: ``"AMD EPYC 7B13, 2 cores, 1 thread"``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    count = torch.get_num_threads()
    return f"{processor()}, {os.cpu_count()} cores, {count} thread{'s' * (count > 1)}"


def processor() -> str:
    """Return the name of this machine's processor, or of its kind."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Compute with this number of threads, and restore the previous number at the end.

    On shared cores, two threads are ten times slower than one. Another number may also change the order of sums.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
