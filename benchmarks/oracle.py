"""Speed and accuracy of the oracle, and the error of the model by it: `python benchmarks/oracle.py`.

The first table has the speed of `TrueDynamics`. The next has the error of the model in rollouts of five steps, with
random or with recorded actions. The last compares T with recorded transitions; the difference comes from the part of
the state that an observation does not contain. All tables but the first cover every task whose data and ensemble are on
this machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import torch
from common import header, median_and_spread, seconds, table

from mopo_env import OraclePenalty, Transitions, TrueDynamics, load_dataset, make_penalized_model
from mopo_env.datasets.folders import find_folder
from mopo_env.models.protocol import GaussianPrediction
from mopo_env.penalties import PENALTIES
from mopo_env.real.real_env import make_env_by_id
from mopo_env.real.robots import ROBOTS
from mopo_env.tasks import TASKS, Task

ENV_IDS = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "mopo/AntAngle-v0")
NUM_STARTS, NUM_STEPS = 5_000, 5
NUM_RECORDED = 20_000


def main() -> None:
    """Print three tables."""
    print(header("The oracle"))
    columns = ["environment", "batch", "threads", "states/s (median)", "quartile spread", "100,000 states"]
    print(table(columns, [row for env_id in ENV_IDS for row in _speeds(env_id)]))
    studies = [study for task in _tasks("ensemble.json") for study in _studies(task)]
    print(f"\nTrue errors of the elites, and the penalty, by step of rollouts from {NUM_STARTS:,} states of the data\n")
    errors = ["errors' mean", "max", "mean's error"]
    columns = ["task", "actions", "step", "rows", *errors, "learned-variance", "too small", "no truth"]
    print(table(columns, [row for study in studies for row in study.errors()]))
    print(f"\nT(s, a) against the recorded s′, {NUM_RECORDED:,} transitions; norms over the next observation\n")
    columns = ["task", "velocity", "share", "‖s′ − s‖, median", "‖T(s, a) − s′‖: median", "99 %", "largest"]
    print(table(columns, [row for task in _tasks("dataset.json") for row in _recorded(task)]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """Rollouts of a task's model: its predictions and the truth in each step."""

    task: str
    actions: str
    oracle: OraclePenalty
    predictions: list[GaussianPrediction]
    truths: list[GaussianPrediction]

    def errors(self) -> Iterator[list[str]]:
        """Yield a row for each step."""
        for step, (prediction, truth) in enumerate(zip(self.predictions, self.truths, strict=True)):
            errors = [self._error(prediction, truth, combine) for combine in ("mean", "max", "consensus")]
            penalty = PENALTIES["learned-variance"](prediction)
            too_small = (penalty < errors[0]).double().mean()
            lost = truth.mean[0].isnan().any(dim=1).double().mean()
            means = [f"{values.mean():.2f}" for values in (*errors, penalty)]
            cells = [*means, f"{too_small:.0%}", f"{lost:.2%}"]
            yield [self.task, self.actions, str(step + 1), f"{len(prediction.observations):,}", *cells]

    def _error(self, prediction: GaussianPrediction, truth: GaussianPrediction, combine: str) -> torch.Tensor:
        known = SimpleNamespace(device=truth.mean.device, predict=lambda observations, actions: truth)
        return dataclasses.replace(self.oracle, truth=known, combine=combine)(prediction)


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
    for _ in range(20):  # away from the start, where the robots have no contact with the ground
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


def _studies(task: Task) -> Iterator[Study]:
    options = {"envelope_margin": None, "envelope_quantile": None}  # no rollout ends because it is wrong
    penalized_model = make_penalized_model(task.name, penalty="oracle", **options)
    oracle, transitions = penalized_model.penalty, penalized_model.transitions
    for who in ("random", "recorded"):
        generator = torch.Generator().manual_seed(0)
        starts = _starts(transitions, generator)
        observations = torch.tensor(transitions.observations)[starts]
        predictions = []
        for step in range(NUM_STEPS):
            if who == "random":
                actions = torch.rand(len(observations), transitions.action_dim, generator=generator) * 2 - 1
            else:
                actions = torch.tensor(transitions.actions)[starts + step]
            predictions.append(penalized_model.model.predict(observations, actions))
            taken = penalized_model.step(observations, actions, generator)
            alive = ~taken.terminations
            observations, starts = taken.next_observations[alive], starts[alive]
        truths = [oracle.truth.predict(prediction.observations, prediction.actions) for prediction in predictions]
        yield Study(task=task.name, actions=who, oracle=oracle, predictions=predictions, truths=truths)


def _starts(transitions: Transitions, generator: torch.Generator) -> torch.Tensor:
    """Draw rows whose episode continues for the steps of a rollout."""
    ends = transitions.terminations | transitions.truncations
    episode = np.cumsum(ends) - ends
    last = np.minimum(np.arange(len(episode)) + NUM_STEPS - 1, len(episode) - 1)
    rows = np.flatnonzero((episode == episode[last]) & (last - np.arange(len(episode)) == NUM_STEPS - 1))
    return torch.from_numpy(rows)[torch.randperm(len(rows), generator=generator)[:NUM_STARTS]]


def _recorded(task: Task) -> Iterator[list[str]]:
    transitions, dynamics = load_dataset(task.name), TrueDynamics(task.real_env_id)
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
