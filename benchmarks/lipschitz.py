"""The effect of a Lipschitz bound: `python benchmarks/lipschitz.py`.

It fits ensembles to the bundled data for equal epochs, without a bound and with several. The last tenth of the data is
not fitted. It comes from a better policy, so its error is that of a model outside its data. Errors are mean squared
errors of the elites' means in units of the targets' variance, so that 1 is the error of a constant.
"""

from __future__ import annotations

import statistics
import sys

import torch
import tyro
from common import elite_errors, header, holdout_error, once, select_rows, table

from mopo_env import FitConfig, GaussianEnsemble, Transitions, fit_ensemble, load_dataset
from mopo_env.models.fit_config import PRESETS
from mopo_env.models.lipschitz import regularise, spectral_norms
from mopo_env.models.losses import gaussian_loss

COLUMNS = ["targets", "bound", "product found", "hold-out, raw", "hold-out", "later data", "log-likelihood"]


def main(
    epochs: int = 12, bounds: tuple[float, ...] = (1.0, 10.0, 100.0, 300.0, 1000.0, 3000.0), seed: int = 0
) -> None:
    """Print one table.

    Args:
        epochs: Epochs of every fit.
        bounds: Bounds of the product of the layers' largest singular values.
        seed: Seed of every fit.
    """
    transitions = load_dataset("halfcheetah-mixed")
    known = len(transitions) * 9 // 10
    first, later = select_rows(transitions, slice(0, known)), select_rows(transitions, slice(known, None))
    rows = []
    for scaled, bound in ((False, None), (True, None), *((True, bound) for bound in bounds)):
        config = FitConfig(
            **PRESETS["paper"] | {"scale_targets": scaled},
            lipschitz=bound,
            max_epochs=epochs,
            patience=epochs,
            seed=seed,
        )
        ensemble = fit_ensemble(first, config, progress=False)
        products = spectral_norms(ensemble).double().prod(dim=0)
        (holdout, _), (later_error, likelihood) = (_errors(ensemble, data) for data in (_holdout(first, config), later))
        rows.append(
            [
                "scaled" if scaled else "raw",
                "none" if bound is None else f"{bound:g}",
                f"{products.min():,.4g} … {products.max():,.4g}",
                f"{holdout_error(ensemble):.3f}",
                f"{holdout:.4f}",
                f"{later_error:.4f}",
                f"{likelihood:+.2f}",
            ]
        )
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    print(header(f"Lipschitz bounds, {epochs} epochs, {len(first):,} rows of halfcheetah-mixed"))
    print(table(COLUMNS, rows))
    print("\nThe log-likelihood is of the later data: mean over rows and outputs, targets of unit variance.")
    print(f"An update with the normalisation takes {_cost_of_an_update():.2f} times as long as one without.")


def _holdout(transitions: Transitions, config: FitConfig) -> Transitions:
    """Return the hold-out of a fit, which draws the weights first, then the hold-out."""
    generator = torch.Generator().manual_seed(config.seed)
    GaussianEnsemble(
        transitions.observation_dim, transitions.action_dim, num_members=config.num_members, generator=generator
    )
    return select_rows(
        transitions, torch.randperm(len(transitions), generator=generator)[: config.holdout_size].numpy()
    )


def _errors(ensemble: GaussianEnsemble, transitions: Transitions) -> tuple[float, float]:
    """Return mean squared error and log-likelihood of the elites, in units of the targets' standard deviations."""
    error, std = (found / ensemble.target_std for found in elite_errors(ensemble, transitions))
    return float(error.square().mean()), float(torch.distributions.Normal(0.0, std).log_prob(error).mean())


def _cost_of_an_update(repeats: int = 25) -> float:
    """Return the ratio of times, measured in turn so that other load on the machine affects both."""
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(7, 256, width, generator=generator) for width in (23, 18))
    ensembles = GaussianEnsemble(17, 6), GaussianEnsemble(17, 6)
    regularise(ensembles[1], 100.0, generator)
    optimizers = [torch.optim.Adam(ensemble.parameters(), fused=True) for ensemble in ensembles]

    def update(index: int) -> None:
        optimizers[index].zero_grad()
        gaussian_loss(*ensembles[index](inputs), targets).backward()
        optimizers[index].step()

    times = [(once(lambda: update(0)), once(lambda: update(1))) for _ in range(repeats)]
    without, with_bound = (statistics.median(column) for column in zip(*times, strict=True))
    return with_bound / without


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
