"""The cost of saving a training run after each epoch: `python benchmarks/saving.py`.

HalfCheetah's sizes, h = 5, 1000 updates of SAC. Each epoch is followed by a save of the whole state, as in
`mopo train --save-every 0`. Times are wall-clock, because a save waits for the disk. Two lines follow: the size of the
state on disk, and the time of a restore.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import tyro
from common import header, random_model, table

from mopo_agents.agents import make_agent
from mopo_agents.runs.run_state import RunState

HORIZON, UPDATES, RETAIN = 5, 1000, 5


def main(rollouts: tuple[int, ...] = (20_000, 50_000), dataset: int = 101_000, epochs: int = 7) -> None:
    """Print a table of epochs and saves.

    Args:
        rollouts: Values of b.
        dataset: Rows of D_env.
        epochs: Epochs for each b; the first of them is not counted.
    """
    penalized_model, lines, notes = random_model(dataset), [], []
    for count in rollouts:
        options = {"horizon": HORIZON, "rollout_batch_size": count, "gradient_steps": UPDATES, "retain_epochs": RETAIN}
        agent, other = (make_agent("SAC", penalized_model, **options) for _ in range(2))
        trained, saved = [], []
        with tempfile.TemporaryDirectory(dir=".") as folder:
            state = RunState(Path(folder))
            for epoch in range(epochs):
                started = time.perf_counter()
                agent.learn(count * HORIZON, log_interval=None, reset_num_timesteps=epoch == 0)
                trained.append(time.perf_counter() - started)
                started = time.perf_counter()
                state.save(agent, {})
                saved.append(time.perf_counter() - started)
            size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
            started = time.perf_counter()
            RunState(Path(folder)).restore(other)
            notes.append(
                f"b = {count:,}: {size / 1e6:.0f} MB on disk, restored in {time.perf_counter() - started:.2f} s"
            )
        epoch_seconds, save_seconds = statistics.median(trained[1:]), statistics.median(saved[1:])
        share = f"{100 * save_seconds / (epoch_seconds + save_seconds):.1f} %"
        most = f"{max(saved[1:]):.2f}"
        lines.append([f"{count:,}", f"{epoch_seconds:.1f}", f"{save_seconds:.2f}", most, share])
    print(header(f"Saves, {dataset:,} real rows"))
    print(table(["b", "s an epoch (median)", "s a save (median)", "s a save (most)", "share of the time"], lines))
    print("\n" + "\n".join(notes))


if __name__ == "__main__":
    tyro.cli(main)
