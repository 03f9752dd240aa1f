"""The time of a training epoch and of its parts: `python benchmarks/epoch.py`.

HalfCheetah's sizes, h = 5, 1000 updates of SAC on batches of 256. The arithmetic limit counts only the matrix products
of the networks' layers, at the speed of one large matrix product measured between the epochs.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
import tyro
from common import (
    ACTION_DIM,
    MODEL_FLOPS,
    OBSERVATION_DIM,
    header,
    median_and_spread,
    network_flops,
    once,
    peak_flops,
    peak_line,
    peak_memory,
    random_model,
    table,
)

from mopo_agents.agents import make_agent
from mopo_env import PenalizedModel

HORIZON, UPDATES, BATCH_SIZE, RETAIN = 5, 1000, 256, 5

ACTOR = network_flops(OBSERVATION_DIM, 256, 256, 2 * ACTION_DIM)
CRITICS = network_flops(OBSERVATION_DIM + ACTION_DIM, 256, 256, 1, num_networks=2)
# Forward: the actor on two sets of observations, the critics on three sets of pairs. Backward: the weights and inputs
# of each layer, without the inputs of the first; for the actor's loss, only the inputs of the critics' layers.
FIRST_ACTOR, FIRST_CRITICS = network_flops(OBSERVATION_DIM, 256), 2 * network_flops(OBSERVATION_DIM + ACTION_DIM, 256)
UPDATE = BATCH_SIZE * (2 * ACTOR + 3 * CRITICS + (2 * CRITICS - FIRST_CRITICS) + CRITICS + (2 * ACTOR - FIRST_ACTOR))


def main(rollouts: tuple[int, ...] = (5_000, 20_000, 50_000), dataset: int = 101_000, repeats: int = 3) -> None:
    """Print two tables: the parts of an epoch, then whole epochs.

    Args:
        rollouts: Values of b, in ascending order, because the table shows the peak memory so far.
        dataset: Rows of D_env.
        repeats: Timed epochs for each b, after a warm-up epoch.
    """
    penalized_model = random_model(dataset)
    peaks = [peak_flops()]
    parts = _parts(penalized_model, peaks)
    epochs = []
    for count in rollouts:
        options = {"horizon": HORIZON, "rollout_batch_size": count, "gradient_steps": UPDATES, "retain_epochs": RETAIN}
        agent = make_agent("SAC", penalized_model, **options)
        steps, found, own = count * HORIZON, [], []
        agent.learn(steps, log_interval=None)
        for _ in range(repeats):
            found.append(once(lambda a=agent, n=steps: a.learn(n, log_interval=None)))
            own.append(peak_flops())
        limit = (steps * (MODEL_FLOPS + ACTOR) + UPDATES * UPDATE) / statistics.median(own)
        middle = statistics.median(found)
        cells = [f"{count:,}", f"{middle:.1f}", f"{limit:.1f}", f"{middle / limit:.2f}", f"{steps / middle:,.0f}"]
        epochs.append([*cells, f"{peak_memory():.2f}"])
        peaks += own
    print(header(f"Epochs, {dataset:,} real rows"))
    print(
        f"{(MODEL_FLOPS + ACTOR) / 1e6:.2f} MFLOP a transition, {UPDATE / 1e6:.0f} MFLOP an update; "
        f"{peak_line(peaks)}\n"
    )
    print(table(["part", "ms (median)", "share of peak", "quartile spread"], parts))
    columns = ["b", "s an epoch (median)", "arithmetic limit, s", "ratio", "transitions/s", "peak memory so far, GiB"]
    print("\n" + table(columns, epochs))


def _parts(penalized_model: PenalizedModel, peaks: list[float]) -> list[list[str]]:
    """Time the parts in turn, so that other load on the machine affects all of them."""
    count = 20_000
    options = {"horizon": HORIZON, "rollout_batch_size": count, "gradient_steps": 1}
    plain, agent = (make_agent("SAC", penalized_model, fast=fast, **options) for fast in (False, True))
    for each in (plain, agent):
        each.learn(count * HORIZON, log_interval=None)
    buffer = agent.replay_buffer
    rollouts = agent.get_env().rollouts
    actions = torch.rand(count, ACTION_DIM) * 2 - 1
    last = rollouts.advance(actions)
    rows = (last.observations, actions, last.final_observations, last.rewards, last.dones, last.truncations)
    # The function, its calls in one measurement, and its floating-point operations.
    jobs: dict[str, tuple[Callable[[], object], int, int]] = {
        "100 updates of Stable-Baselines3": (lambda: plain.train(100, BATCH_SIZE), 1, 100 * UPDATE),
        "100 updates": (lambda: agent.train(100, BATCH_SIZE), 1, 100 * UPDATE),
        "a step of 20,000 rollouts": (lambda: rollouts.advance(actions), 1, count * MODEL_FLOPS),
        "adding 20,000 rows to the buffer": (lambda: buffer.add_rows(*rows), 10, 0),
        "drawing 100 batches": (lambda: [buffer.sample(BATCH_SIZE) for _ in range(100)], 1, 0),
    }
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(9):
        for name, (job, repeats, _) in jobs.items():
            times[name].append(once(lambda j=job, n=repeats: [j() for _ in range(n)]) / repeats)
        peaks.append(peak_flops())
    found = []
    for name, (_, _, flops) in jobs.items():
        middle, spread = median_and_spread(times[name])
        share = f"{flops / middle / statistics.median(peaks):.0%}" if flops else ""
        found.append([name, f"{middle * 1e3:.1f}", share, f"{spread:.0%}"])
    return found


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
