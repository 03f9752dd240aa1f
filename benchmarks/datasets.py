"""Time and memory for reading datasets: `python benchmarks/datasets.py`. Each row is a fresh process.

The datasets are random numbers with the sizes of D4RL's datasets: 2 million transitions of HalfCheetah in the project's
own format, and two Minari datasets of a million steps. Their episodes have 1000 steps, or 22 as with a random Hopper.
Minari writes the last one in a minute or more.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from common import header, random_transitions, table

from mopo_env import save_minari, save_transitions

MILLION = 1_000_000
# Runs a statement, and prints its seconds, its processor seconds and the process's maximum memory. getrusage would be
# wrong for the memory: the maximum of a child process starts at the memory of its parent.
MEASURE = (
    "import time, mopo_env\n"
    "start, used = time.perf_counter(), time.process_time(); {statement}\n"
    "print(time.perf_counter() - start, time.process_time() - used)\n"
    "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
)


def measure(statement: str, repeats: int) -> list[str]:
    """Return the cells: median seconds, median processor seconds, peak memory in megabytes, number of runs."""
    program = MEASURE.format(statement=statement)
    outputs = [subprocess.check_output([sys.executable, "-c", program], text=True) for _ in range(repeats)]  # noqa: S603
    seconds, busy, kilobytes = zip(*(map(float, output.split()) for output in outputs), strict=True)
    middle, middle_busy = statistics.median(seconds), statistics.median(busy)
    return [f"{middle:.2f}", f"{middle_busy:.2f}", f"{max(kilobytes) * 1024 / 1e6:,.0f}", str(repeats)]


def main() -> None:
    """Print one table."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MINARI_DATASETS_PATH"] = f"{folder}/minari"
        os.environ["MOPO_DATASETS_PATH"] = f"{folder}/mopo"
        os.environ["MOPO_CACHE_PATH"] = f"{folder}/cache"
        save_transitions(random_transitions(2 * MILLION), f"{folder}/own")
        save_minari(random_transitions(MILLION), "bench/long-v0")
        save_minari(random_transitions(MILLION, steps=22, observation_dim=11, action_dim=3), "bench/short-v0")
        own = f"mopo_env.load_transitions({folder + '/own'!r})"
        cases = [
            ("own format, 2,000,000 rows (17 + 6)", own, 3),
            ("… and its card", f"mopo_env.dataset_card({own}, 'halfcheetah-med-expert')", 3),
            ("Minari, 1,000 episodes of 1000 steps (17 + 6)", "mopo_env.load_minari('bench/long-v0')", 3),
            ("Minari, 45,455 episodes of 22 steps (11 + 3), first time", "mopo_env.load_minari('bench/short-v0')", 1),
            ("… from then on, from its flat copy", "mopo_env.load_minari('bench/short-v0')", 3),
        ]
        rows = [[name, *measure(statement, repeats)] for name, statement, repeats in cases]
        sizes = ", ".join(f"{name} {size(Path(folder) / name):,.0f} MB" for name in ("own", "minari", "cache"))
    print(header("Datasets"))
    print(f"On disk: {sizes}\n")
    print(table(["what is read", "seconds (median)", "of the processor", "peak memory, MB", "runs"], rows))


def size(folder: Path) -> float:
    """Return the megabytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
