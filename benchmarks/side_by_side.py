"""What an epoch costs on GPUs, alone and with other seeds beside it: `python benchmarks/side_by_side.py`.

The sizes are those of `epoch.py`. Each seed is a process of its own; with several on a GPU, one computes while another
waits for Python. Without a GPU there is nothing to measure, and the script says so; ``--devices cpu cpu`` shows that it
works.
"""

from __future__ import annotations

import statistics
import time
from multiprocessing import get_context
from typing import Any

import torch
import tyro
from common import ACTION_DIM, OBSERVATION_DIM, header, random_transitions, table

from mopo_agents.agents import make_agent
from mopo_env import FitConfig, GaussianEnsemble, PenalizedModel, fit_ensemble

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
        devices: Where to compute; default: every GPU that PyTorch sees.
        seeds: Numbers of processes to run side by side, dealt out over the devices.
        dataset: Rows of D_env.
        rollouts: b.
        updates: Of SAC, in each epoch.
        repeats: Epochs timed, after one that is not.
    """
    devices = devices or tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    print(header("Seeds side by side"))
    if not devices:
        print("not measured: PyTorch sees no GPU here.")
        return
    print(f"{', '.join(_name(device) for device in devices)}; b = {rollouts:,}, h = {HORIZON}, {updates} updates\n")
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
        fit, rollout, update, epoch = parts
        rows.append(
            [
                f"{count}",
                *(f"{part:.2f}" for part in (fit, rollout, update, epoch)),
                f"{EPOCHS * epoch / 60:.1f}",
                f"{EPOCHS * epoch / 60 / count:.1f}",
            ]
        )
    columns = ["seeds", "s an epoch of the fit", "s rollouts", "s updates", "s an epoch"]
    print(table([*columns, f"minutes for {EPOCHS} epochs", "… a seed"], rows))


def _run(device: str, seed: int, sizes: tuple[int, int, int, int], together: Any, answers: Any) -> None:
    """Answer with what one seed took, or why it could not be run."""
    try:
        answers.put(_measure(device, seed, sizes, together))
    except Exception as error:
        together.abort()  # else the others would wait for ever
        answers.put(error)


def _measure(device: str, seed: int, sizes: tuple[int, int, int, int], together: Any) -> tuple[float, ...]:
    """Time one seed once all are ready; return medians in seconds of: an epoch's fit, rollouts, updates, epoch."""
    dataset, rollouts, updates, repeats = sizes
    transitions = random_transitions(dataset)
    model = GaussianEnsemble(OBSERVATION_DIM, ACTION_DIM).requires_grad_(False).to(device)
    penalized_model = PenalizedModel(model, transitions)
    agent: Any = make_agent(
        "SAC",
        penalized_model,
        horizon=HORIZON,
        rollout_batch_size=rollouts,
        gradient_steps=updates,
        seed=seed,
        device=device,
    )
    parts: dict[str, list[float]] = {"collect_rollouts": [], "train": [], "learn": []}
    for name, times in parts.items():
        setattr(agent, name, _timed(getattr(agent, name), device, times))
    agent.learn(rollouts * HORIZON, log_interval=None)
    fits: list[float] = []
    fit = _timed(fit_ensemble, device, fits)
    together.wait()
    for epochs in (1, 2):
        fit(transitions, FitConfig(max_epochs=epochs, holdout_size=1000), device=device, progress=False)
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


def _name(device: str) -> str:
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
