"""What an epoch of training costs, whole and in parts: `python benchmarks/epoch.py`.

HalfCheetah's sizes, h = 5, 1000 updates of SAC on batches of 256. The arithmetic limit counts the products of the
networks' layers, nothing else, at the rate of one large matrix product measured between the epochs.
"""

from __future__ import annotations

import statistics

import tyro
from common import (
    ACTION_DIM,
    OBSERVATION_DIM,
    header,
    median_and_spread,
    network_flops,
    peak_flops,
    peak_memory,
    random_transitions,
    seconds,
    table,
)
from stable_baselines3 import SAC
from stable_baselines3.sac.policies import SACPolicy

from mopo_agents.agents import make_agent
from mopo_env import GaussianEnsemble, Simulator

HORIZON, UPDATES, BATCH_SIZE, RETAIN, DATASET = 5, 1000, 256, 5, 101_000
NOT_LEAN = type("PlainSAC", (SAC,), {"policy_aliases": {"MlpPolicy": type("PlainPolicy", (SACPolicy,), {})}})

MODEL = network_flops(OBSERVATION_DIM + ACTION_DIM, 200, 200, 200, 200, 2 * (OBSERVATION_DIM + 1), num_networks=7)
ACTOR = network_flops(OBSERVATION_DIM, 256, 256, 2 * ACTION_DIM)
CRITICS = network_flops(OBSERVATION_DIM + ACTION_DIM, 256, 256, 1, num_networks=2)
# Forward: the actor on two sets of observations, the critics on three of pairs. Backward: each layer's weights and
# inputs, but no inputs of the first layer; for the actor's loss only the inputs of the critics' layers.
FIRST_ACTOR, FIRST_CRITICS = network_flops(OBSERVATION_DIM, 256), 2 * network_flops(OBSERVATION_DIM + ACTION_DIM, 256)
UPDATE = BATCH_SIZE * (2 * ACTOR + 3 * CRITICS + (2 * CRITICS - FIRST_CRITICS) + CRITICS + (2 * ACTOR - FIRST_ACTOR))


def main(rollouts: tuple[int, ...] = (5_000, 20_000, 50_000), repeats: int = 3) -> None:
    """Print two tables: SAC's updates and the buffer, then whole epochs.

    Args:
        rollouts: b, in ascending order, so that the peak memory is that of each.
        repeats: Epochs timed for each b, after one that is not.
    """
    transitions = random_transitions(DATASET)
    simulator = Simulator(GaussianEnsemble(OBSERVATION_DIM, ACTION_DIM).requires_grad_(False), transitions)
    peaks = [peak_flops()]
    parts, epochs = [], []
    plain, lean = (
        make_agent(kind, simulator, horizon=HORIZON, rollout_batch_size=2000, gradient_steps=1)
        for kind in (NOT_LEAN, "SAC")
    )
    times: dict[str, list[float]] = {"updates, networks of Stable-Baselines3": [], "updates": []}
    for agent in (plain, lean):
        agent.learn(2000 * HORIZON, log_interval=None)
    for _ in range(7):  # interleaved, so that a busy moment hits both
        for name, agent in zip(times, (plain, lean), strict=True):
            times[name] += seconds(lambda a=agent: a.train(100, batch_size=BATCH_SIZE), repeats=1, warm_up=False)
        peaks.append(peak_flops())
    for name, found in times.items():
        middle, spread = median_and_spread(found)
        share = 100 * UPDATE / middle / statistics.median(peaks)
        parts.append([name, f"{middle * 10:.2f}", f"{share:.0%}", f"{spread:.0%}"])
    buffer = lean.replay_buffer
    middle, spread = median_and_spread(seconds(lambda: [buffer.sample(BATCH_SIZE) for _ in range(100)]))
    parts.append(["drawing a batch (part of an update)", f"{middle * 10:.2f}", "", f"{spread:.0%}"])

    for count in rollouts:
        agent = make_agent(
            "SAC", simulator, horizon=HORIZON, rollout_batch_size=count, gradient_steps=UPDATES, retain_epochs=RETAIN
        )
        steps, found, own = count * HORIZON, [], []
        agent.learn(steps, log_interval=None)
        for _ in range(repeats):
            found += seconds(lambda a=agent, n=steps: a.learn(n, log_interval=None), repeats=1, warm_up=False)
            own.append(peak_flops())
        limit = (steps * (MODEL + ACTOR) + UPDATES * UPDATE) / statistics.median(own)
        middle = statistics.median(found)
        cells = [f"{count:,}", f"{middle:.1f}", f"{limit:.1f}", f"{middle / limit:.2f}", f"{steps / middle:,.0f}"]
        epochs.append([*cells, f"{peak_memory():.2f}"])
        peaks += own
    print(header("Epochs"))
    print(
        f"{(MODEL + ACTOR) / 1e6:.2f} MFLOP a transition, {UPDATE / 1e6:.0f} MFLOP an update; "
        f"peak of one matrix product: {statistics.median(peaks) / 1e9:.0f} GFLOP/s\n"
    )
    print(table(["part", "ms (median)", "share of peak", "quartile spread"], parts))
    columns = ["b", "s an epoch (median)", "arithmetic limit, s", "ratio", "transitions/s", "peak memory so far, GiB"]
    print("\n" + table(columns, epochs))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
