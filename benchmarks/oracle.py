"""What the oracle costs, what it says of the learned penalties, and how true it is: `python benchmarks/oracle.py`.

The first table is the speed of `TrueDynamics`. The second rolls ensembles out for five steps, with random actions or
with those that the dataset has from the start state on, and compares the penalties with the true error. The third asks
T for the recorded transitions of a dataset: what is missing there is what an observation does not tell of a state. The
second and third take every task whose data, and ensemble, are on this machine; the bundled one always is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import torch
from common import header, median_and_spread, rank_correlation, seconds, table

from mopo_env import Transitions, TrueDynamics, find_dataset, make_simulator
from mopo_env.datasets.locate import find_folder
from mopo_env.penalties import ensemble_disagreement, learned_variance
from mopo_env.real_env import make_env_by_id
from mopo_env.robots import ROBOTS
from mopo_env.tasks import TASKS, Task

ENV_IDS = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "mopo/AntAngle-v0")
NUM_STARTS, NUM_STEPS = 5_000, 5
NUM_RECORDED = 20_000


def main() -> None:
    """Print three tables."""
    print(header("The oracle"))
    columns = ["environment", "batch", "threads", "states/s (median)", "quartile spread", "100,000 states"]
    print(table(columns, [row for env_id in ENV_IDS for row in _speeds(env_id)]))
    print(f"\nModel rollouts from {NUM_STARTS:,} states of the data; ρ: rank correlation with the true error\n")
    columns = ["task", "actions", "step", "error: mean of elites", "max", "consensus", "at max_error"]
    columns += ["learned-variance", "ρ", "ensemble-disagreement", "ρ"]
    print(table(columns, [row for task in _tasks("ensemble.json") for row in _rollouts(task)]))
    print(f"\nT(s, a) against the recorded s′, {NUM_RECORDED:,} transitions; norms over the next observation\n")
    columns = ["task", "velocity", "share", "‖s′ − s‖, median", "‖T(s, a) − s′‖: median", "99 %", "largest"]
    print(table(columns, [row for task in _tasks("dataset.json") for row in _recorded(task)]))


def _tasks(file: str) -> Iterator[Task]:
    """Yield the tasks of known robots whose folder holds a file."""
    for task in TASKS.values():
        folder = find_folder(task.name)
        if task.real_env_id in ROBOTS and folder is not None and (folder / file).exists():
            yield task


def _speeds(env_id: str) -> list[list[str]]:
    random = np.random.default_rng(0)
    env = make_env_by_id(env_id)
    observations = np.stack([env.reset(seed=seed)[0] for seed in range(1_000)]).repeat(10, axis=0)
    actions = random.uniform(-1, 1, (len(observations), *env.action_space.shape)).astype(np.float32)
    dynamics = TrueDynamics(env_id)
    for _ in range(20):  # away from the start, where every robot still stands in the air
        moved = dynamics.step(observations, random.permutation(actions)).next_observations
        observations = np.where(np.isfinite(moved), moved, observations)

    rows = []
    for batch, num_threads, repeats in ((1, 1, 500), (100, 1, 21), (10_000, 1, 5), (10_000, 2, 5)):
        dynamics = TrueDynamics(env_id, num_threads=num_threads)
        part = slice(0, batch)
        times = seconds(lambda d=dynamics, p=part: d.step(observations[p], actions[p]), repeats=repeats)
        rows.append([env_id, f"{batch:,}", str(num_threads), *_rate(times, batch)])
    times = seconds(lambda: _one_by_one(env, observations[:500], actions[:500]), repeats=5)
    rows.append([f"{env_id}, Gymnasium's set_state and step", "1", "1", *_rate(times, 500)])
    env.close()
    return rows


def _one_by_one(env: gym.Env, observations: np.ndarray, actions: np.ndarray) -> None:
    robot = env.unwrapped
    hidden = robot.model.nq + robot.model.nv - observations.shape[1]
    for observation, action in zip(observations, actions, strict=True):
        state = np.concatenate([np.zeros(hidden), observation])
        robot.set_state(state[: robot.model.nq], state[robot.model.nq :])
        robot.step(action)


def _rate(times: list[float], batch: int) -> list[str]:
    middle, spread = median_and_spread(times)
    return [f"{batch / middle:,.0f}", f"{spread:.0%}", f"{100_000 * middle / batch:.0f} s"]


def _rollouts(task: Task) -> Iterator[list[str]]:
    simulator = make_simulator(task.name, penalty="oracle")
    oracle = simulator.penalty
    others = [dataclasses.replace(oracle, combine=combine) for combine in ("max", "consensus")]
    transitions = simulator.transitions
    for who in ("random", "recorded"):
        generator = torch.Generator().manual_seed(0)
        starts = _starts(transitions, generator)
        observations = torch.from_numpy(transitions.observations)[starts]
        for step in range(NUM_STEPS):
            if who == "random":
                actions = torch.rand(len(observations), transitions.action_dim, generator=generator) * 2 - 1
            else:
                actions = torch.from_numpy(transitions.actions)[starts + step]
            prediction = simulator.model.predict(observations, actions)
            error = oracle(prediction)
            cells = [f"{values.mean():.2f}" for values in (error, *(other(prediction) for other in others))]
            cells.append(f"{(error >= oracle.max_error).double().mean():.2%}")
            for penalty in (learned_variance, ensemble_disagreement):
                doubt = penalty(prediction)
                cells += [f"{doubt.mean():.2f}", f"{rank_correlation(doubt, error):+.2f}"]
            yield [task.name, who, str(step + 1), *cells]
            taken = simulator.step(observations, actions, generator)
            alive = ~taken.terminations
            observations, starts = taken.next_observations[alive], starts[alive]


def _starts(transitions: Transitions, generator: torch.Generator) -> torch.Tensor:
    """Draw rows whose episode goes on for as many steps as a rollout has."""
    ends = transitions.terminations | transitions.truncations
    episode = np.cumsum(ends) - ends
    last = np.minimum(np.arange(len(episode)) + NUM_STEPS - 1, len(episode) - 1)
    rows = np.flatnonzero((episode == episode[last]) & (last - np.arange(len(episode)) == NUM_STEPS - 1))
    return torch.from_numpy(rows)[torch.randperm(len(rows), generator=generator)[:NUM_STARTS]]


def _recorded(task: Task) -> Iterator[list[str]]:
    transitions, dynamics = find_dataset(task.name), TrueDynamics(task.real_env_id)
    rows = np.random.default_rng(0).permutation(len(transitions))[:NUM_RECORDED]
    before, after = transitions.observations[rows], transitions.next_observations[rows]
    errors = np.linalg.norm(dynamics.step(before, transitions.actions[rows]).next_observations - after, axis=1)
    change = np.linalg.norm(after - before, axis=1)
    limit = ROBOTS[task.real_env_id].velocity_limit
    velocities = before[:, -(before.shape[1] + 1) // 2 :]
    clipped = np.zeros(len(rows), bool) if limit is None else (np.abs(velocities) >= limit).any(axis=1)
    for name, group in (("as it is", ~clipped), ("clipped", clipped)):
        if group.any():
            quantiles = np.quantile(errors[group], [0.5, 0.99, 1.0])
            share, usual = f"{group.mean():.1%}", f"{np.median(change[group]):.2f}"
            yield [task.name, name, share, usual, *(f"{value:.1e}" for value in quantiles)]


if __name__ == "__main__":
    main()
