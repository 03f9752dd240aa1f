"""Two checks, of the penalties and of the relabelled rewards: `python benchmarks/penalty.py`.

For the first table, small ensembles are fitted to a linear system with constant noise. The table has the rank
correlation of each penalty with the distance from the data. The second table compares two velocities: the one that
`mopo_env.rewards` pays, and the mean velocity over the step that HalfCheetah-v5 pays, from the bundled rewards.
"""

from __future__ import annotations

import numpy as np
import torch
from common import header, table

from mopo_env import FitConfig, fit_ensemble, load_dataset
from mopo_env.models.card.card import rank_correlation
from mopo_env.models.fit_config import PRESETS
from mopo_env.models.protocol import GaussianPrediction
from mopo_env.penalties import PENALTIES
from mopo_env.toys import LinearGaussianSystem

SEEDS = range(3)


def main() -> None:
    """Print two tables."""
    print(header("Penalties off the data, and the velocity in the reward"))
    print(table(["penalty", *(f"seed {seed}" for seed in SEEDS)], _off_the_data()))
    print("\nRank correlation of penalty and distance from the data, from the edge of the data to three times as far\n")
    print(table(["bundled HalfCheetah data, means over all steps", "m/s, or a share"], _velocities()))


def _off_the_data() -> list[list[str]]:
    cases = [_linear_case(seed) for seed in SEEDS]
    return [
        [
            name,
            *(
                f"{rank_correlation(distance.numpy(), penalty(prediction).numpy()):+.2f}"
                for distance, prediction in cases
            ),
        ]
        for name, penalty in PENALTIES.items()
        if name != "none"
    ]


def _linear_case(seed: int) -> tuple[torch.Tensor, GaussianPrediction]:
    """Return distances from the data, and the predictions of a fitted ensemble there."""
    transitions = LinearGaussianSystem().transitions(num_episodes=40, num_steps=50, seed=seed)
    config = FitConfig(
        hidden_sizes=(64, 64),
        weight_decay=(2.5e-5, 5e-5, 1e-4),
        max_epochs=60,
        seed=seed,
        **PRESETS["paper"],
    )
    ensemble = fit_ensemble(transitions, config, progress=False)
    generator = torch.Generator().manual_seed(seed)
    center = torch.tensor(transitions.observations.mean(axis=0))
    radius = float(np.linalg.norm(transitions.observations - center.numpy(), axis=1).max())
    direction = torch.nn.functional.normalize(torch.randn(2000, 2, generator=generator), dim=1)
    distance = radius * (1 + 2 * torch.rand(2000, generator=generator))
    actions = torch.rand(2000, 1, generator=generator) * 2 - 1
    return distance, ensemble.predict(center + direction * distance[:, None], actions)


def _velocities() -> list[list[str]]:
    transitions = load_dataset("halfcheetah-mixed")
    paid = transitions.next_observations[:, 8].astype(np.float64)
    # HalfCheetah-v5 pays v̄_x − 0.1·‖a‖², v̄_x the mean velocity over the step.
    mean = transitions.rewards + 0.1 * np.square(transitions.actions.astype(np.float64)).sum(axis=1)
    return [
        ["distance of the velocity after a step from the mean velocity over it", f"{np.abs(paid - mean).mean():.3f}"],
        ["their difference, as a share of the mean velocity", f"{(paid - mean).mean() / mean.mean():+.4f}"],
        ["their difference under the cap of 3 m/s", f"{(np.minimum(paid, 3) - np.minimum(mean, 3)).mean():+.4f}"],
    ]


if __name__ == "__main__":
    main()
