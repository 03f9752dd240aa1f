"""The time until the first step: `python benchmarks/startup.py`. Each row is a fresh process."""

from __future__ import annotations

import subprocess
import sys
import time

from common import header, median_and_spread, table

PROGRAMS = {
    "import gymnasium": "import gymnasium",
    "import gymnasium, mopo_env": "import gymnasium, mopo_env",
    "import gymnasium, torch": "import gymnasium, torch",
    "gymnasium.make of the bundled id": "import gymnasium, mopo_env; gymnasium.make('MOPO-halfcheetah-mixed')",
    "… and reset and one step": (
        "import gymnasium, mopo_env; env = gymnasium.make('MOPO-halfcheetah-mixed'); env.reset(seed=0); "
        "env.step(env.action_space.sample())"
    ),
}


def main() -> None:
    """Print one table."""
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(7):
        for name, program in PROGRAMS.items():  # in turn, so that other load affects all of them
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603
            times[name].append(time.perf_counter() - start)
    rows = []
    for name, values in times.items():
        middle, spread = median_and_spread(values)
        rows.append([name, f"{middle:.2f}", f"{spread:.0%}"])
    print(header("Start-up"))
    print(table(["fresh process", "seconds (median of 7)", "quartile spread"], rows))


if __name__ == "__main__":
    main()
