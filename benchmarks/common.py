"""What the benchmarks share: repeated timing, the machine's peak, and one way to print a table."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

THREADS = int(os.environ["OMP_NUM_THREADS"])
torch.set_num_threads(THREADS)


def seconds(function: Callable[[], object], *, repeats: int = 7) -> list[float]:
    """Time a function after one call that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times


def median_and_spread(times: list[float]) -> tuple[float, float]:
    """Return the median, and the distance of the quartiles as a share of it."""
    low, middle, high = statistics.quantiles(times, n=4)
    return middle, (high - low) / middle


def peak_flops() -> float:
    """Return the rate of a large matrix product, in floating-point operations a second."""
    size = 1024
    left, right = torch.randn(size, size), torch.randn(size, size)
    middle, _ = median_and_spread(seconds(lambda: left @ right, repeats=15))
    return 2 * size**3 / middle


def rank_correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return Spearman's correlation, which asks for the order alone."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (first, second)])
    return float(torch.corrcoef(ranks)[0, 1])


def header(title: str) -> str:
    """Describe machine, versions and threads."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "gymnasium", "stable-baselines3"))
    machine = f"{_processor()}, {THREADS} thread{'s' * (THREADS > 1)}, Python {platform.python_version()}"
    return f"{title}\n{machine}, {libraries}\n"


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table with aligned columns."""
    widths = [max(len(row[index]) for row in [columns, *rows]) for index in range(len(columns))]
    lines = [columns, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
