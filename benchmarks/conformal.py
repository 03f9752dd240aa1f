"""How often conformal bounds hold: `python benchmarks/conformal.py TASK…`. No bound is fitted to what it is judged by.

1. Recorded rows that the bundled ensemble's fit never saw, split 20 times into halves: λ from one, judged by the other.
2. Whole episodes that a fit never saw (--refit): a small ensemble is fitted to 60 % of the episodes. Of the others,
   half calibrate and half judge, 20 times: one-step bounds on their rows, and bands of open-loop predictions.
3. Off the data: rollouts of random actions, beside recorded rows. The simulator is the judge. Rows are grouped by
   their distance to the nearest recorded row, as a multiple of what 99 % of the data have to other episodes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
import tyro
from common import header, select_rows, table

from mopo_env import FitConfig, Transitions, fit_ensemble, make_penalized_model
from mopo_env._utils.options import CONFORMAL_COVERAGE
from mopo_env.datasets.locate import resolve_task
from mopo_env.penalties import get_penalty, target_std_of
from mopo_env.penalties.conformal import (
    conformal_band,
    one_step_errors,
    open_loop_errors,
    split_coverage,
)
from mopo_env.penalties.nearest import DistanceToData
from mopo_env.penalties.oracle import make_oracle_penalty
from mopo_env.real.robots import get_robot

PENALTIES = ("ensemble-std", "ensemble-disagreement", "learned-variance")
SPLITS, STEPS = 20, (1, 5, 20)


def on_holdout(task: str) -> Iterator[list[str]]:
    """Yield a row for each penalty: λ from all hold-out rows, and the coverage of splits of them."""
    for name in PENALTIES:
        model = make_penalized_model(task, penalty=name, penalty_coef="conformal")
        rows = np.array(model.model.metadata["holdout_rows"])
        errors, penalties = one_step_errors(model.model, model.transitions, rows, model.penalty)
        found = split_coverage(errors / penalties, np.arange(len(rows)))
        yield [task, name, f"{model.penalty_coef:.3g}", *_cells(found)]


def on_new_episodes(task: str, epochs: int) -> Iterator[list[str]]:
    """Yield coverage on episodes that a fit never saw: of rows, of each step alone, and of whole bands."""
    data = make_penalized_model(task).transitions
    episodes = np.searchsorted(data.episode_ends, np.arange(len(data)))
    order = np.random.default_rng(0).permutation(len(data.episode_ends))
    seen = np.isin(episodes, order[: int(0.6 * len(order))])
    config = FitConfig(max_epochs=epochs, num_members=3, num_elites=2)
    ensemble = fit_ensemble(select_rows(data, np.flatnonzero(seen)), config, progress=False)
    held = np.flatnonzero(~seen)[::5]
    penalty = get_penalty(PENALTIES[0])
    errors, penalties = one_step_errors(ensemble, data, held, penalty)
    yield [task, "rows of new episodes", "1", *_cells(split_coverage(errors / penalties, episodes[held]))]
    longest = max(STEPS)
    starts = _starts(data, order[int(0.6 * len(order)) :], longest)
    paths = open_loop_errors(ensemble, data, starts, longest)
    for steps in STEPS:
        # Twenty episodes are too few for a confidence: these bounds hold on average over calibrations.
        found = split_coverage(paths[:, steps - 1], np.arange(len(starts)), confidence=None)
        yield [task, f"prediction after {steps} steps", f"{len(starts)} episodes", *_cells(found)]
    found = [_band_coverage(paths, seed) for seed in range(SPLITS)]
    yield [task, f"whole band of {longest} steps", f"{len(starts)} episodes", *_cells(np.array(found))]


def by_distance(task: str, rollouts: int = 300, steps: int = 30) -> Iterator[list[str]]:
    """Yield coverage by the distance to the data, as a multiple of the largest but for 1 % on the data."""
    open_end = {"envelope_margin": None, "envelope_quantile": None}
    model = make_penalized_model(task, penalty=PENALTIES[0], penalty_coef="conformal", **open_end)
    data, generator = model.transitions, torch.Generator().manual_seed(0)
    truth = make_oracle_penalty(resolve_task(task), data).truth
    low, high = torch.tensor(data.action_space.low), torch.tensor(data.action_space.high)
    states, rows = model.reset(rollouts, generator), []
    for _ in range(steps):
        actions = low + (high - low) * torch.rand(len(states), len(low), generator=generator)
        rows.append((states, actions))
        taken = model.step(states, actions, generator)
        states = taken.next_observations[~taken.terminations]
    recorded = torch.randint(len(data), (2000,), generator=generator)
    rows.append((torch.tensor(data.observations)[recorded], torch.tensor(data.actions)[recorded]))
    states, actions = (torch.cat(column) for column in zip(*rows, strict=True))
    prediction, true = model.model.predict(states, actions), truth.predict(states, actions).mean[0]
    error = (prediction.mean[prediction.elites] - true).double().norm(dim=-1).amax(dim=0)
    # A robot whose observation clips velocities cannot be put back into a state where it did.
    limit = get_robot(truth.env_id).velocity_limit or np.inf
    known = (error.isfinite() & (states.abs() < limit).all(dim=1)).numpy()
    held = (error <= model.penalty_coef * model.penalty(prediction)).numpy()
    distance = DistanceToData(data)
    usual = np.quantile(distance.of_data(), 0.99)
    far = distance(states, actions).numpy() / usual
    edges = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0, np.inf)
    for near, end in itertools.pairwise(edges):
        part = (far >= near) & (far < end) & known
        if part.sum() >= 50:
            ratio = np.median(error.numpy()[part] / (target_std_of(prediction).norm().item()))
            yield [task, f"{near:g} … {end:g}", f"{part.sum():,}", f"{held[part].mean():.1%}", f"{ratio:.2f}"]


def _cells(found: np.ndarray) -> list[str]:
    return [f"{found.mean():.1%}", f"{found.min():.1%}", f"{(found >= CONFORMAL_COVERAGE - 1e-9).sum()} of {SPLITS}"]


def _starts(data: Transitions, episodes: np.ndarray, steps: int) -> np.ndarray:
    """Return one random row of each episode that has so many steps after it."""
    random, ends = np.random.default_rng(1), data.episode_ends
    firsts = np.append(0, ends[:-1] + 1)
    long = [episode for episode in episodes if ends[episode] - firsts[episode] + 1 >= steps]
    return np.array([random.integers(firsts[episode], ends[episode] - steps + 2) for episode in long])


def _band_coverage(paths: np.ndarray, seed: int) -> float:
    """Return the share of whole episodes in a band: a fifth of the episodes shape it, two fifths set its width."""
    order = np.random.default_rng(seed).permutation(paths)
    shape, width, judge = np.array_split(order, [len(paths) // 5, 3 * len(paths) // 5])
    band = conformal_band(width, np.median(shape, axis=0))
    return float((judge <= band).all(axis=1).mean())


def main(tasks: tyro.conf.Positional[tuple[str, ...]], *, refit: int = 0) -> None:
    """Print the tables.

    Args:
        tasks: Bundled tasks.
        refit: Epochs of the fit for the second table, which is printed alone then. 0: the other two tables.
    """
    print(header(f"Conformal bounds with coverage {CONFORMAL_COVERAGE:.0%}"))
    columns = ["mean coverage", "lowest split", "splits at 90 % or more"]
    if refit:
        for task in tasks:
            print(table(["task", "what", "of", *columns], list(on_new_episodes(task, refit))), flush=True)
        return
    print(table(["task", "penalty", "λ", *columns], [row for task in tasks for row in on_holdout(task)]), flush=True)
    columns_far = ["task", "distance", "rows", "coverage", "median error / spread of targets"]
    print("\n" + table(columns_far, [row for task in tasks for row in by_distance(task)]))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
