"""The time of an epoch on GPUs, for one seed and for several in parallel: `python benchmarks/side_by_side.py`.

The sizes are those of `epoch.py`. Each seed is a separate process, so that one can use the GPU while another runs
Python. Without a GPU the script measures nothing and says so; ``--devices cpu cpu`` tests the script.
"""

from __future__ import annotations

import statistics
import time
from multiprocessing import get_context
from typing import Any

import torch
import tyro
from common import header, random_model, table

from mopo_agents.agents import make_agent
from mopo_env import FitConfig, fit_ensemble

HORIZON, EPOCHS = 5, 500


def main(
    devices: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (1, 2, 4),
    dataset: int = 101_000,
    rollouts: int = 50_000,
    updates: int = 1000,
    repeats: int = 3,
) -> None:
    """Print one table.

    Args:
        devices: Devices to use; default: every GPU that PyTorch finds.
        seeds: Numbers of parallel processes, which take turns in choosing a device.
        dataset: Rows of D_env.
        rollouts: b.
        updates: Updates of SAC in each epoch.
        repeats: Timed epochs, after a warm-up epoch.
    """
    devices = devices or tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    print(header("Seeds side by side"))
    if not devices:
        print("not measured: PyTorch sees no GPU here.")
        return
    names = (torch.cuda.get_device_name(name) if torch.device(name).type == "cuda" else name for name in devices)
    print(f"{', '.join(names)}; b = {rollouts:,}, h = {HORIZON}, {updates} updates\n")
    rows = []
    for count in seeds:
        context = get_context("spawn")
        together, answers = context.Barrier(count), context.Queue()
        sizes = (dataset, rollouts, updates, repeats)
        processes = [
            context.Process(target=_run, args=(devices[seed % len(devices)], seed, sizes, together, answers))
            for seed in range(count)
        ]
        for process in processes:
            process.start()
        found = [answers.get() for _ in processes]
        for process in processes:
            process.join()
        for answer in found:
            if isinstance(answer, Exception):
                raise answer
        parts = [statistics.median(part) for part in zip(*found, strict=True)]
        minutes = EPOCHS * parts[-1] / 60
        rows.append([f"{count}", *(f"{part:.2f}" for part in parts), f"{minutes:.1f}", f"{minutes / count:.1f}"])
    columns = ["seeds", "s an epoch of the fit", "s rollouts", "s updates", "s an epoch"]
    print(table([*columns, f"minutes for {EPOCHS} epochs", "… a seed"], rows))


def _run(device: str, seed: int, sizes: tuple[int, int, int, int], together: Any, answers: Any) -> None:
    try:
        answers.put(_measure(device, seed, sizes, together))
    except Exception as error:
        together.abort()  # otherwise the others would wait for ever
        answers.put(error)


def _measure(device: str, seed: int, sizes: tuple[int, int, int, int], together: Any) -> tuple[float, ...]:
    """Wait for all seeds, then return the median seconds of: an epoch of the fit, rollouts, updates, a whole epoch."""
    dataset, rollouts, updates, repeats = sizes
    penalized_model = random_model(dataset, device)
    options = {"horizon": HORIZON, "rollout_batch_size": rollouts, "gradient_steps": updates}
    agent: Any = make_agent("SAC", penalized_model, seed=seed, device=device, **options)
    parts: dict[str, list[float]] = {"collect_rollouts": [], "train": [], "learn": []}
    for name, times in parts.items():
        setattr(agent, name, _timed(getattr(agent, name), device, times))
    agent.learn(rollouts * HORIZON, log_interval=None)
    fits: list[float] = []
    fit = _timed(fit_ensemble, device, fits)
    together.wait()
    for epochs in (1, 2):
        fit(penalized_model.transitions, FitConfig(max_epochs=epochs, holdout_size=1000), device=device, progress=False)
    for _ in range(repeats):
        agent.learn(rollouts * HORIZON, log_interval=None)
    return (fits[1] - fits[0], *(statistics.median(times[1:]) for times in parts.values()))


def _timed(function: Any, device: str, times: list[float]) -> Any:
    def wrapper(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        answer = function(*args, **options)
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
        return answer

    return wrapper


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
