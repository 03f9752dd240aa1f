"""The speed of model rollouts: `python benchmarks/rollout.py`, with HalfCheetah's sizes."""

from __future__ import annotations

import statistics

import gymnasium as gym
import numpy as np
import torch
from common import (
    ACTION_DIM,
    MODEL_FLOPS,
    elite_errors,
    header,
    median_and_spread,
    peak_flops,
    peak_line,
    random_model,
    seconds,
    select_rows,
    table,
)

from mopo_agents.vec_env import PenalizedModelVecEnv
from mopo_env import PenalizedModel, PenalizedModelEnv, PenalizedModelVectorEnv, load_dataset
from mopo_env.datasets.shared import load_shared_ensemble

HORIZON = 5


def main() -> None:
    """Print one table."""
    random = np.random.default_rng(0)
    penalized_model = random_model(10_000)
    peaks, rows = [peak_flops()], []

    def add(name: str, batch: int, transitions_per_call: int, function: object, repeats: int) -> None:
        middle, spread = median_and_spread(seconds(function, repeats=repeats))  # type: ignore[arg-type]
        rate = transitions_per_call / middle
        peaks.append(peak_flops())
        share = rate * MODEL_FLOPS / statistics.mean(peaks[-2:])  # before and after, because the speed varies
        rows.append([name, f"{batch:,}", f"{rate:,.0f}", f"{share:.0%}", f"{spread:.0%}"])

    generator = torch.Generator().manual_seed(0)
    rounded = PenalizedModel(penalized_model.model.at_precision("bfloat16"), penalized_model.transitions)
    for batch in (1_000, 5_000, 20_000, 50_000):
        states = penalized_model.reset(batch, generator)
        actions = torch.rand(batch, ACTION_DIM) * 2 - 1
        for name, model in (("PenalizedModel.step", penalized_model), ("… in bfloat16", rounded)):
            add(name, batch, batch, lambda m=model, s=states, a=actions: m.step(s, a, generator), 7)
    for batch in (1_000, 20_000):
        vector_env = PenalizedModelVectorEnv(penalized_model, num_envs=batch, horizon=HORIZON)
        vector_env.reset(seed=0)
        array = random.uniform(-1, 1, (batch, ACTION_DIM)).astype(np.float32)
        add("PenalizedModelVectorEnv.step", batch, batch, lambda e=vector_env, a=array: e.step(a), 11)
        vec_env = PenalizedModelVecEnv(penalized_model, num_envs=batch, horizon=HORIZON)
        vec_env.reset()
        add("PenalizedModelVecEnv.step (SB3)", batch, batch, lambda e=vec_env, a=array: e.step(a), 11)

    env = PenalizedModelEnv(penalized_model, horizon=1000)
    checked = gym.wrappers.OrderEnforcing(gym.wrappers.PassiveEnvChecker(env))
    action = np.zeros(ACTION_DIM, dtype=np.float32)
    for name, single in (("PenalizedModelEnv.step", env), ("… as gymnasium.make wraps it", checked)):
        single.reset(seed=0)

        def hundred_steps(single: gym.Env = single) -> None:
            for _ in range(100):
                single.step(action)

        add(name, 1, 100, hundred_steps, 21)

    print(header("Rollouts"))
    print(f"{MODEL_FLOPS / 1e6:.2f} MFLOP a transition; {peak_line(peaks)}\n")
    print(table(["what", "batch", "transitions/s (median)", "share of peak", "quartile spread"], rows))
    _effect_of_rounding("halfcheetah-mixed")


def _effect_of_rounding(task: str, num_rows: int = 20_000) -> None:
    """Print the error of a bundled ensemble at both precisions, and the distance between the two predictions."""
    data, ensemble = select_rows(load_dataset(task), slice(0, num_rows)), load_shared_ensemble(task)
    (exact, std), (rounded, _) = (elite_errors(ensemble.at_precision(kind), data) for kind in ("float32", "bfloat16"))
    errors = f"{exact.square().mean():.4f} and {rounded.square().mean():.4f}"
    apart = ((exact - rounded) / std).abs()
    print(f"\nEffect of bfloat16 on the bundled {task}, {num_rows:,} rows: squared error {errors};")
    far = f"{apart.quantile(0.99):.2f}"
    print(f"the means differ by {apart.median():.3f} predicted standard deviations (median), 1 % by more than {far}.")


if __name__ == "__main__":
    main()
