"""How fast an ensemble is fitted: `python benchmarks/fit.py`, and to what error: `python benchmarks/fit.py --quality`.

Speed: an epoch on rows of HalfCheetah's sizes, as the difference of fits of two lengths. Quality: the bundled data, the
default schedule and the constant rate of the paper's code, errors and calibration on rows that neither saw.
"""

from __future__ import annotations

import statistics
import sys

import numpy as np
import torch
import tyro
from common import (
    ACTION_DIM,
    OBSERVATION_DIM,
    header,
    median_and_spread,
    network_flops,
    peak_flops,
    random_transitions,
    seconds,
    table,
)

from mopo_env import FitConfig, GaussianEnsemble, Transitions, fit_ensemble, load_dataset

MEMBERS = 7
FORWARD = network_flops(
    OBSERVATION_DIM + ACTION_DIM, 200, 200, 200, 200, 2 * (OBSERVATION_DIM + 1), num_networks=MEMBERS
)
# Backward: each layer's weights and its inputs, but not the inputs of the first.
A_ROW = 3 * FORWARD - network_flops(OBSERVATION_DIM + ACTION_DIM, 200, num_networks=MEMBERS)
PAPER = {"schedule": "constant", "learning_rate": 1e-3, "batch_size": 256}


def main(
    quality: bool = False,
    task: str = "halfcheetah-mixed",
    paper_epochs: tuple[int, ...] = (40, 140),
    epochs: tuple[int, ...] = (30, 36, 45),
    seed: int = 0,
) -> None:
    """Print one table.

    Args:
        quality: Whether to fit the bundled data to the end, which takes long.
        task: Whose data.
        paper_epochs: Epochs of the fits at a constant rate.
        epochs: Epochs of the fits with the default schedule.
        seed: Of every fit.
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
                (one,) = seconds(lambda: fit(1), repeats=1, warm_up=False)
                (two,) = seconds(lambda: fit(2), repeats=1, warm_up=False)
                times.append(two - one)
                peaks.append(peak_flops())
            middle, spread = median_and_spread(times)
            share = (num_rows - 1000) * A_ROW / middle / statistics.median(peaks[-5:])
            rate = (num_rows - 1000) / middle
            rows.append(
                [f"{batch_size}", f"{num_rows:,}", f"{middle:.2f}", f"{rate:,.0f}", f"{share:.0%}", f"{spread:.0%}"]
            )
    print(header("Fitting an ensemble"))
    print(f"{A_ROW / 1e6:.2f} MFLOP a row; peak of one matrix product: {statistics.median(peaks) / 1e9:.0f} GFLOP/s\n")
    columns = ["batch", "rows", "s an epoch (median)", "rows/s", "share of peak", "quartile spread"]
    print(table(columns, rows))


def _quality(task: str, paper_epochs: tuple[int, ...], epochs: tuple[int, ...], seed: int) -> None:
    data = load_dataset(task)
    # Whole episodes stay unseen, one in ten.
    episode = np.concatenate([[0], np.cumsum(data.terminations | data.truncations)[:-1]])
    unseen = episode % 10 == 9
    known, unknown = _rows(data, ~unseen), _rows(data, unseen)
    rows = []
    for name, options, lengths in (("constant", PAPER, paper_epochs), ("cosine", {}, epochs)):
        for length in lengths:
            config = FitConfig(max_epochs=length, patience=length, seed=seed, **options)  # type: ignore[arg-type]
            made: list[GaussianEnsemble] = []
            (time,) = seconds(
                lambda c=config, m=made: m.append(fit_ensemble(known, c, progress=False)), repeats=1, warm_up=False
            )
            holdout = np.sort(made[0].metadata["holdout_mse"])[: config.num_elites].mean()
            rows.append([name, f"{length}", f"{time / 60:.1f}", f"{holdout:.4g}", *_scores(made[0], unknown)])
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    print(header(f"Time to quality of a fit, {len(known):,} rows of {task}"))
    columns = ["rate", "epochs", "minutes", "hold-out", "unseen episodes", "z²", "within 1 std", "within 2 std", "NLL"]
    print(table(columns, rows))
    print("\nz is the error in predicted standard deviations; calibrated Gaussians have z² 1, and 68.3 and 95.4 %.")


def _rows(data: Transitions, chosen: np.ndarray) -> Transitions:
    names = ("observations", "actions", "rewards", "next_observations", "terminations", "truncations")
    spaces = {"observation_space": data.observation_space, "action_space": data.action_space}
    return Transitions(**{name: getattr(data, name)[chosen] for name in names}, **spaces)


def _scores(ensemble: GaussianEnsemble, data: Transitions) -> list[str]:
    """Return error and calibration of the elites, each on its own."""
    prediction = ensemble.predict(torch.tensor(data.observations), torch.tensor(data.encoded_actions()))
    truth = torch.tensor(np.concatenate([data.next_observations, data.rewards[:, None]], axis=1))
    error, std = (prediction.mean - truth)[ensemble.elites], prediction.std[ensemble.elites]
    z = error / std
    likelihood = (0.5 * z.square() + std.log()).mean() + 0.5 * np.log(2 * np.pi)
    within = [f"{(z.abs() < k).float().mean():.1%}" for k in (1, 2)]
    return [f"{error.square().mean():.4g}", f"{z.square().mean():.2f}", *within, f"{likelihood:+.3f}"]


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
