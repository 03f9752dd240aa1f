"""What a Lipschitz bound costs or gains: `python benchmarks/lipschitz.py`.

Fits ensembles to the bundled data at equal epochs, with no bound and with several. The last tenth of the recording, by
a policy that was better than before, is not fitted: the error on it is that of a model used beyond its data. Errors are
mean squared errors of the elites' mean in units of the targets' variance, so that 1 is the error of a constant.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import numpy as np
import torch
import tyro
from common import header, table

from mopo_env import FitConfig, GaussianEnsemble, Transitions, fit_ensemble, load_dataset
from mopo_env.models.fit import gaussian_loss
from mopo_env.models.lipschitz import regularise, spectral_norms

# As the paper's code fits, and as the bundled ensembles are fitted.
CONSTANT: dict[str, Any] = {"schedule": "constant", "learning_rate": 1e-3, "batch_size": 256}
COLUMNS = ["targets", "bound", "product found", "hold-out, raw", "hold-out", "later data", "log-likelihood"]


def main(
    epochs: int = 12, bounds: tuple[float, ...] = (1.0, 10.0, 100.0, 300.0, 1000.0, 3000.0), seed: int = 0
) -> None:
    """Print one table.

    Args:
        epochs: Of every fit.
        bounds: Of the product of the layers' largest singular values.
        seed: Of every fit.
    """
    transitions = load_dataset("halfcheetah-mixed")
    known = len(transitions) * 9 // 10
    first, later = _rows(transitions, slice(0, known)), _rows(transitions, slice(known, None))
    rows = []
    for scaled, bound in ((False, None), (True, None), *((True, bound) for bound in bounds)):
        config = FitConfig(
            **CONSTANT, scale_targets=scaled, lipschitz=bound, max_epochs=epochs, patience=epochs, seed=seed
        )
        ensemble = fit_ensemble(first, config, progress=False)
        products = spectral_norms(ensemble).double().prod(dim=0)
        raw = float(np.sort(ensemble.metadata["holdout_mse"])[: config.num_elites].mean())
        holdout = _holdout(first, config)
        rows.append(
            [
                "scaled" if scaled else "raw",
                "none" if bound is None else f"{bound:g}",
                f"{products.min():,.4g} … {products.max():,.4g}",
                f"{raw:.3f}",
                *(f"{number:.4f}" for number in (_errors(ensemble, holdout)[0], _errors(ensemble, later)[0])),
                f"{_errors(ensemble, later)[1]:+.2f}",
            ]
        )
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    print(header(f"Lipschitz bounds, {epochs} epochs, {len(first):,} rows of halfcheetah-mixed"))
    print(table(COLUMNS, rows))
    print("\nThe log-likelihood is of the later data: mean over rows and outputs, targets of unit variance.")
    print(f"An update with the normalisation takes {_cost_of_an_update():.2f} times as long as one without.")


def _rows(transitions: Transitions, which: slice | np.ndarray) -> Transitions:
    names = ("observations", "actions", "rewards", "next_observations", "terminations", "truncations")
    return Transitions(**{name: getattr(transitions, name)[which] for name in names})


def _holdout(transitions: Transitions, config: FitConfig) -> Transitions:
    """Return the rows that a fit keeps from training: it draws the weights first, then these."""
    generator = torch.Generator().manual_seed(config.seed)
    GaussianEnsemble(
        transitions.observation_dim, transitions.action_dim, num_members=config.num_members, generator=generator
    )
    return _rows(transitions, torch.randperm(len(transitions), generator=generator)[: config.holdout_size].numpy())


def _errors(ensemble: GaussianEnsemble, transitions: Transitions) -> tuple[float, float]:
    """Return squared error and log-likelihood, means over the elites, rows and outputs."""
    said = ensemble.predict(torch.tensor(transitions.observations), torch.tensor(transitions.actions))
    outcome = torch.tensor(np.column_stack([transitions.next_observations, transitions.rewards]))
    scale = ensemble.target_std
    error = (said.mean - outcome)[said.elites] / scale
    std = said.std[said.elites] / scale
    return float(error.square().mean()), float(torch.distributions.Normal(0.0, std).log_prob(error).mean())


def _cost_of_an_update(repeats: int = 25) -> float:
    """Time updates with and without the normalisation in turn, so that what else the machine does meets both."""
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(7, 256, width, generator=generator) for width in (23, 18))
    free, bound = GaussianEnsemble(17, 6), GaussianEnsemble(17, 6)
    regularise(bound, 100.0, generator)
    seconds: tuple[list[float], list[float]] = ([], [])
    optimizers = [torch.optim.Adam(ensemble.parameters(), fused=True) for ensemble in (free, bound)]
    for _ in range(repeats):
        for ensemble, optimizer, times in zip((free, bound), optimizers, seconds, strict=True):
            started = time.process_time()
            optimizer.zero_grad()
            gaussian_loss(*ensemble(inputs), targets).backward()
            optimizer.step()
            times.append(time.process_time() - started)
    return statistics.median(seconds[1]) / statistics.median(seconds[0])


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
