"""Shared by the benchmarks: timing, peak speed and memory, HalfCheetah's sizes, and tables."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import itertools
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np
import torch

from mopo_agents._utils.machine import processor
from mopo_env import GaussianEnsemble, PenalizedModel, Transitions

OBSERVATION_DIM, ACTION_DIM, MEMBERS = 17, 6, 7
COLUMNS = ("observations", "actions", "rewards", "next_observations", "terminations", "truncations")

THREADS = int(os.environ["OMP_NUM_THREADS"])
torch.set_num_threads(THREADS)


def once(function: Callable[[], object]) -> float:
    """Return the seconds of one call; with one thread, its computing time, without the time of other programs."""
    clock = time.thread_time if THREADS == 1 else time.perf_counter
    start = clock()
    function()
    return clock() - start


def seconds(function: Callable[[], object], *, repeats: int = 7) -> list[float]:
    """Time a function several times, after one call that is not timed."""
    function()
    return [once(function) for _ in range(repeats)]


def median_and_spread(times: Sequence[float]) -> tuple[float, float]:
    """Return the median, and the distance between the quartiles as a share of it."""
    low, middle, high = statistics.quantiles(times, n=4)
    return middle, (high - low) / middle


def peak_flops() -> float:
    """Return the speed of a large matrix product, in floating-point operations per second."""
    size = 1024
    left, right = torch.randn(size, size), torch.randn(size, size)
    middle, _ = median_and_spread(seconds(lambda: left @ right, repeats=15))
    return 2 * size**3 / middle


def peak_line(peaks: Sequence[float]) -> str:
    """Describe the measured peak speeds by their median."""
    return f"peak of one matrix product: {statistics.median(peaks) / 1e9:.0f} GFLOP/s"


def network_flops(*widths: int, num_networks: int = 1) -> int:
    """Return the floating-point operations for one row through dense networks with layers of these widths."""
    return 2 * num_networks * sum(fan_in * fan_out for fan_in, fan_out in itertools.pairwise(widths))


# One row through the default ensemble.
MODEL_FLOPS = network_flops(
    OBSERVATION_DIM + ACTION_DIM, 200, 200, 200, 200, 2 * (OBSERVATION_DIM + 1), num_networks=MEMBERS
)


def random_transitions(
    num_rows: int, *, steps: int = 1000, observation_dim: int = OBSERVATION_DIM, action_dim: int = ACTION_DIM
) -> Transitions:
    """Return random episodes of equal length; their values do not affect any timing."""
    random = np.random.default_rng(0)
    observations = random.normal(size=(num_rows, observation_dim))
    return Transitions(
        observations=observations,
        actions=random.uniform(-1, 1, (num_rows, action_dim)),
        rewards=random.normal(size=num_rows),
        next_observations=np.roll(observations, -1, axis=0),
        terminations=np.zeros(num_rows, dtype=bool),
        truncations=np.arange(num_rows) % steps == steps - 1,
    )


def random_model(num_rows: int, device: str = "cpu") -> PenalizedModel:
    """Return an ensemble with random weights, which do not affect any timing, on random transitions."""
    ensemble = GaussianEnsemble(OBSERVATION_DIM, ACTION_DIM).requires_grad_(False)
    return PenalizedModel(ensemble.to(device), random_transitions(num_rows))


def select_rows(transitions: Transitions, rows: slice | np.ndarray) -> Transitions:
    """Return some rows of a dataset."""
    spaces = {"observation_space": transitions.observation_space, "action_space": transitions.action_space}
    return Transitions(**{name: getattr(transitions, name)[rows] for name in COLUMNS}, **spaces)


def elite_errors(ensemble: GaussianEnsemble, transitions: Transitions) -> tuple[torch.Tensor, torch.Tensor]:
    """Return error and standard deviation of each elite's prediction, shape ``(elites, rows, outputs)``, raw units."""
    observations, actions = torch.tensor(transitions.observations), torch.tensor(transitions.encoded_actions())
    prediction = ensemble.predict(observations, actions)
    truth = torch.tensor(np.column_stack([transitions.next_observations, transitions.rewards]))
    return (prediction.mean - truth)[ensemble.elites], prediction.std[ensemble.elites]


def holdout_error(ensemble: GaussianEnsemble) -> float:
    """Return the mean hold-out error of the elites."""
    return float(np.sort(ensemble.metadata["holdout_mse"])[: len(ensemble.elites)].mean())


def peak_memory() -> float:
    """Return the maximum memory of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def header(title: str) -> str:
    """Describe machine, versions and threads."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "gymnasium", "stable-baselines3"))
    machine = f"{processor()}, {THREADS} thread{'s' * (THREADS > 1)}, Python {platform.python_version()}"
    return f"{title}\n{machine}, {libraries}\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns."""
    widths = [max(len(row[index]) for row in [columns, *rows]) for index in range(len(columns))]
    lines = [columns, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
