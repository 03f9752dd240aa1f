"""Speed of fitting an ensemble: `python benchmarks/fit.py`. Quality: `python benchmarks/fit.py --quality`.

Speed: the time of an epoch on rows of HalfCheetah's sizes, as the difference between fits of two lengths. Quality: fits
to the bundled data with the default schedule and with the constant rate of the paper's code; the table has errors and
calibration on unseen rows.
"""

from __future__ import annotations

import statistics
import sys

import numpy as np
import tyro
from common import (
    ACTION_DIM,
    MEMBERS,
    MODEL_FLOPS,
    OBSERVATION_DIM,
    elite_errors,
    header,
    holdout_error,
    median_and_spread,
    network_flops,
    once,
    peak_flops,
    peak_line,
    random_transitions,
    select_rows,
    table,
)

from mopo_env import FitConfig, GaussianEnsemble, Transitions, fit_ensemble, load_dataset
from mopo_env.models.fit_config import PRESETS

# Forward, then backward: the weights and inputs of each layer, without the inputs of the first.
A_ROW = 3 * MODEL_FLOPS - network_flops(OBSERVATION_DIM + ACTION_DIM, 200, num_networks=MEMBERS)


def main(
    quality: bool = False,
    task: str = "halfcheetah-mixed",
    paper_epochs: tuple[int, ...] = (40, 140),
    epochs: tuple[int, ...] = (30, 36, 45),
    seed: int = 0,
) -> None:
    """Print one table.

    Args:
        quality: Whether to measure the quality, which takes much longer.
        task: Task of the data for the quality.
        paper_epochs: Epochs of the fits with a constant rate.
        epochs: Epochs of the fits with the default schedule.
        seed: Seed of every fit.
    """
    if quality:
        _quality(task, paper_epochs, epochs, seed)
    else:
        _speed()


def _speed() -> None:
    rows, peaks = [], []
    for batch_size in (256, 512):
        for num_rows in (10_000, 50_000, 100_000):
            data = random_transitions(num_rows)

            def fit(max_epochs: int, data: Transitions = data, batch_size: int = batch_size) -> None:
                config = FitConfig(max_epochs=max_epochs, batch_size=batch_size, holdout_size=1000)
                fit_ensemble(data, config, progress=False)

            times = []
            for _ in range(5 if num_rows < 100_000 else 3):
                one, two = once(lambda: fit(1)), once(lambda: fit(2))
                times.append(two - one)
                peaks.append(peak_flops())
            middle, spread = median_and_spread(times)
            share = (num_rows - 1000) * A_ROW / middle / statistics.median(peaks[-5:])
            rate = (num_rows - 1000) / middle
            rows.append(
                [f"{batch_size}", f"{num_rows:,}", f"{middle:.2f}", f"{rate:,.0f}", f"{share:.0%}", f"{spread:.0%}"]
            )
    print(header("Fitting an ensemble"))
    print(f"{A_ROW / 1e6:.2f} MFLOP a row; {peak_line(peaks)}\n")
    columns = ["batch", "rows", "s an epoch (median)", "rows/s", "share of peak", "quartile spread"]
    print(table(columns, rows))


def _quality(task: str, paper_epochs: tuple[int, ...], epochs: tuple[int, ...], seed: int) -> None:
    data = load_dataset(task)
    # Every tenth episode is unseen.
    episode = np.concatenate([[0], np.cumsum(data.terminations | data.truncations)[:-1]])
    unseen = episode % 10 == 9
    known, unknown = select_rows(data, ~unseen), select_rows(data, unseen)
    rows = []
    for name, options, lengths in (("constant", PRESETS["paper"], paper_epochs), ("cosine", {}, epochs)):
        for length in lengths:
            config = FitConfig(max_epochs=length, patience=length, seed=seed, **options)
            made: list[GaussianEnsemble] = []
            time = once(lambda c=config, m=made: m.append(fit_ensemble(known, c, progress=False)))
            holdout = f"{holdout_error(made[0]):.4g}"
            rows.append([name, f"{length}", f"{time / 60:.1f}", holdout, *_scores(made[0], unknown)])
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    print(header(f"Time to quality of a fit, {len(known):,} rows of {task}"))
    columns = ["rate", "epochs", "minutes", "hold-out", "unseen episodes", "z²", "within 1 std", "within 2 std", "NLL"]
    print(table(columns, rows))
    print("\nz is the error in predicted standard deviations; calibrated Gaussians have z² 1, and 68.3 and 95.4 %.")


def _scores(ensemble: GaussianEnsemble, data: Transitions) -> list[str]:
    """Return error and calibration, averaged over the elites."""
    error, std = elite_errors(ensemble, data)
    z = error / std
    likelihood = (0.5 * z.square() + std.log()).mean() + 0.5 * np.log(2 * np.pi)
    within = [f"{(z.abs() < k).float().mean():.1%}" for k in (1, 2)]
    return [f"{error.square().mean():.4g}", f"{z.square().mean():.2f}", *within, f"{likelihood:+.3f}"]


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
