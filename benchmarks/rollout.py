"""How fast the learned world runs: `python benchmarks/rollout.py`.

The sizes are HalfCheetah's: 7 members of 4 layers of 200. The weights are random, which changes no timing.
"""

from __future__ import annotations

import statistics

import gymnasium as gym
import numpy as np
import torch
from common import (
    ACTION_DIM,
    OBSERVATION_DIM,
    header,
    median_and_spread,
    peak_flops,
    random_transitions,
    seconds,
    table,
)

from mopo_agents.vec_env import PenalizedModelVecEnv
from mopo_env import GaussianEnsemble, PenalizedModel, PenalizedModelEnv, PenalizedModelVectorEnv, load_dataset
from mopo_env.envs.make import load_shared_ensemble

HORIZON = 5


def main() -> None:
    """Print one table."""
    random = np.random.default_rng(0)
    transitions = random_transitions(10_000)
    ensemble = GaussianEnsemble(OBSERVATION_DIM, ACTION_DIM).requires_grad_(False)
    penalized_model = PenalizedModel(ensemble, transitions)
    weights = sum(p.numel() for name, p in ensemble.named_parameters() if name.endswith("weight"))
    flops_per_row = 2 * weights
    peaks, rows = [peak_flops()], []

    def add(name: str, batch: int, transitions_per_call: int, function: object, repeats: int) -> None:
        middle, spread = median_and_spread(seconds(function, repeats=repeats))  # type: ignore[arg-type]
        rate = transitions_per_call / middle
        peaks.append(peak_flops())
        share = rate * flops_per_row / statistics.mean(peaks[-2:])  # of before and after: the machine is not steady
        rows.append([name, f"{batch:,}", f"{rate:,.0f}", f"{share:.0%}", f"{spread:.0%}"])

    generator = torch.Generator().manual_seed(0)
    rounded = PenalizedModel(ensemble.at_precision("bfloat16"), transitions)
    for batch in (1_000, 5_000, 20_000, 50_000):
        states = penalized_model.reset(batch, generator)
        actions = torch.rand(batch, ACTION_DIM) * 2 - 1
        for name, world in (("PenalizedModel.step", penalized_model), ("… in bfloat16", rounded)):
            add(name, batch, batch, lambda w=world, s=states, a=actions: w.step(s, a, generator), 7)
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
    peak = statistics.median(peaks) / 1e9
    print(f"{flops_per_row / 1e6:.2f} MFLOP a transition; peak of one matrix product: {peak:.0f} GFLOP/s\n")
    print(table(["what", "batch", "transitions/s (median)", "share of peak", "quartile spread"], rows))
    _effect_of_rounding("halfcheetah-mixed")


def _effect_of_rounding(task: str, num_rows: int = 20_000) -> None:
    """Print the error of a bundled ensemble at both precisions, and how far they are from each other."""
    data, ensemble = load_dataset(task), load_shared_ensemble(task)
    states, actions = (torch.tensor(array[:num_rows]) for array in (data.observations, data.encoded_actions()))
    truth = torch.tensor(np.concatenate([data.next_observations, data.rewards[:, None]], axis=1)[:num_rows])
    exact, rounded = (ensemble.at_precision(kind).predict(states, actions) for kind in ("float32", "bfloat16"))
    errors = [f"{(found.mean - truth)[ensemble.elites].square().mean():.4f}" for found in (exact, rounded)]
    apart = ((exact.mean - rounded.mean) / exact.std)[ensemble.elites].abs()
    print(f"\nEffect of bfloat16 on the bundled {task}, {num_rows:,} rows: squared error {' and '.join(errors)};")
    far = f"{apart.quantile(0.99):.2f}"
    print(f"means apart by {apart.median():.3f} predicted standard deviations (median), 1 % by more than {far}.")


if __name__ == "__main__":
    main()
