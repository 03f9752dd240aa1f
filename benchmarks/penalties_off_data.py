"""Penalties along rollouts that leave the data: `python benchmarks/penalties_off_data.py TASK --policies FOLDER`.

Rollouts of the model start in states of the data and have no envelope, so nothing keeps them near the data. The judge
is the oracle: the distance of the model's step from the simulator's step, from the same state and action, reward
included. A step that the simulator cannot take has the largest error of all.

For every policy there are three tables: what each penalty does with the length of a rollout; its rank correlation with
the error; and which steps a cut by each penalty, or by the data's range, ends. FOLDER is that of a run or a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from common import header, table

from mopo_agents import load_policy
from mopo_env import PenalizedModel, make_penalized_model
from mopo_env.datasets.locate import resolve_task
from mopo_env.envs.envelope import Envelope, learn_envelope
from mopo_env.models.card.card import rank_correlation
from mopo_env.models.protocol import GaussianPrediction
from mopo_env.penalties import (
    NEAREST_NEIGHBOUR,
    PENALTIES,
    EnsemblePenalty,
    FittedPenalty,
    Penalty,
    make_penalty,
    no_penalty,
    target_std_of,
)
from mopo_env.penalties.nearest import NearestNeighbourPenalty
from mopo_env.penalties.oracle import OraclePenalty, make_oracle_penalty

SHOWN = (0, 4, 9, 24, 49, 99)
LENGTHS = (5, 25, 100)
MARGINS = (0.1, 0.25, 0.5, 1.0)
ZETAS = (1.0, 0.99)
FIRST = 5  # the most common horizon
FEWEST = 50  # a correlation of fewer rows is left out
NO_TRUTH = 1e30
ERROR, RAW_ERROR = "true error", "true error, raw"
UNITLESS = ("log-likelihood-variance", "leave-one-out-kl")

Act = Callable[[torch.Tensor], torch.Tensor]
Values = Mapping[str, np.ndarray]


def main(
    task: tyro.conf.Positional[str],
    policies: tuple[str, ...] = ("random",),
    ensemble: str | None = None,
    rollouts: int = 500,
    steps: int = 100,
    data_rows: int = 20_000,
    seed: int = 0,
) -> None:
    """Print three tables for each policy.

    Args:
        task: A task whose data are on this machine, and whose robot can be stepped from observations.
        policies: Folders of policies; "random" is uniform random actions.
        ensemble: The folder of the ensemble; default: the task's.
        rollouts: Number of rollouts of each policy.
        steps: Length of a rollout.
        data_rows: Rows of the data, evenly spaced, that give the quantiles of penalties and errors on the data.
        seed: Seed of starts, actions and next states.
    """
    model = make_penalized_model(task, ensemble=ensemble, penalty="none", envelope_margin=None, envelope_quantile=None)
    options = {"max_error": NO_TRUTH, "reward": True, "units": "normalised"}
    penalties = every_penalty() | {NEAREST_NEIGHBOUR: NearestNeighbourPenalty(model.transitions)}
    judge = Judge(model, make_oracle_penalty(resolve_task(task), model.transitions, **options), penalties)
    data = judge.data(data_rows)
    print(header(f"Penalties off the data: {task}, {rollouts} rollouts of {steps} steps, seed {seed}"))
    for name in policies:
        rows = judge.rollouts(make_act(name, model, seed), rollouts, steps, seed)
        print(f"\n{task}, {name}: quantiles 50 / 90 / 99 % on the data and by step\n")
        print(table(["", "data", *(f"{step}" for step in SHOWN if step < steps)], list(by_step(data, rows))))
        print(f"\n{task}, {name}: rank correlation with the error of the step, and of means with the distance after\n")
        columns = ["data", "inside", "outside", "all", "all, raw error", *(f"after {length}" for length in LENGTHS)]
        print(table(["", *columns], list(correlations(data, rows))))
        print(f"\n{task}, {name}: caught / cut wrongly, of the steps worse than 99 % of the data / of the others\n")
        columns = [f"{part}, ζ = {zeta:g}" for part in (f"first {FIRST}", "all") for zeta in ZETAS]
        print(table(["cut by", *columns, "all, 1 % cut wrongly"], list(cuts(data, rows))))


def every_penalty() -> dict[str, Penalty]:
    """Return all penalties by name, those that have units also in normalised ones."""
    named = {name: penalty for name, penalty in PENALTIES.items() if penalty is not no_penalty}
    have_units = (name for name, penalty in named.items() if isinstance(penalty, EnsemblePenalty))
    return named | {
        f"{name}, normalised": make_penalty(name, units="normalised") for name in have_units if name not in UNITLESS
    }


def make_act(name: str, model: PenalizedModel, seed: int) -> Act:
    """Return a function from observations to the actions of a saved policy, or to random ones."""
    generator = torch.Generator().manual_seed(seed)
    if name == "random":
        low, high = (torch.tensor(edge) for edge in (model.action_space.low, model.action_space.high))
        return lambda observations: low + (high - low) * torch.rand(len(observations), len(low), generator=generator)
    torch.manual_seed(seed)  # policies of Stable-Baselines3 draw from the global generator
    policy: Any = load_policy(Path(name))
    return lambda observations: torch.tensor(policy.predict(observations.numpy(), deterministic=False)[0])


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The steps of all rollouts, one a row.

    Attributes:
        step: Number of the step in its rollout.
        rollout: Number of the rollout.
        outside: Whether the state before the step is outside the data's range by more than a tenth, in any column.
        values: True errors and penalties, by name.
        leaves: Whether the step ends outside the range of the data, by margin.
        distances: By number of steps: the rollouts that last so long, and how far their states are from those that the
            simulator reaches with the same start and actions.
    """

    step: np.ndarray
    rollout: np.ndarray
    outside: np.ndarray
    values: Values
    leaves: Mapping[float, np.ndarray]
    distances: Mapping[int, tuple[np.ndarray, np.ndarray]]


class Judge(NamedTuple):
    """A model, the simulator, and the penalties to be judged."""

    model: PenalizedModel
    oracle: OraclePenalty
    penalties: Mapping[str, Penalty]

    def data(self, num_rows: int) -> Values:
        """Return true errors and penalties of rows of the data, evenly spaced."""
        transitions = self.model.transitions
        rows = np.linspace(0, len(transitions) - 1, min(num_rows, len(transitions))).astype(np.int64)
        values = self._values(torch.tensor(transitions.observations[rows]), torch.tensor(transitions.actions[rows]))
        fitted = {name: penalty for name, penalty in self.penalties.items() if isinstance(penalty, FittedPenalty)}
        return {**values, **{name: penalty.of_data(len(rows)) for name, penalty in fitted.items()}}

    @torch.no_grad()
    def rollouts(self, act: Act, num_rollouts: int, num_steps: int, seed: int) -> Rows:
        """Follow the model until the task's rule, a non-finite prediction or the last step ends a rollout."""
        generator = torch.Generator().manual_seed(seed)
        starts = observations = self.model.reset(num_rollouts, generator)
        going, parts = torch.arange(num_rollouts), []
        for step in range(num_steps):
            actions = act(observations)
            taken = self.model.step(observations, actions, generator)
            outcome = (taken.next_observations, taken.model_rewards, taken.exits > 0)
            parts.append((torch.full_like(going, step), going, observations, actions, *outcome))
            observations, going = taken.next_observations[~taken.terminations], going[~taken.terminations]
        steps, who, before, actions, after, rewards, broken = (torch.cat(column) for column in zip(*parts, strict=True))
        ranges = {margin: self._range(margin) for margin in MARGINS}
        low, high = (edge[:-1] for edge in (ranges[MARGINS[0]].low, ranges[MARGINS[0]].high))
        no_penalties = torch.zeros(len(rewards))
        leaves = {margin: broken | (edge.exits(after, rewards, no_penalties) > 0) for margin, edge in ranges.items()}
        return Rows(
            step=steps.numpy(),
            rollout=who.numpy(),
            outside=((before < low) | (before > high)).any(dim=1).numpy(),
            values=self._values(before, actions),
            leaves={margin: flags.numpy() for margin, flags in leaves.items()},
            distances=self._distances(starts, *(part.numpy() for part in (steps, who, actions, after))),
        )

    @torch.no_grad()
    def _values(self, observations: torch.Tensor, actions: torch.Tensor) -> Values:
        found: dict[str, list[np.ndarray]] = {name: [] for name in (ERROR, RAW_ERROR, *self.penalties)}
        for part in zip(observations.split(1000), actions.split(1000), strict=True):
            prediction = self.model.model.predict(*part)
            truth = self.oracle.truth.predict(*part)
            known = SimpleNamespace(device=truth.mean.device, predict=lambda *_, truth=truth: truth)
            oracle = replace(self.oracle, truth=known)
            for name, penalty in {ERROR: oracle, RAW_ERROR: replace(oracle, units="raw"), **self.penalties}.items():
                found[name].append(penalty(prediction).nan_to_num(nan=np.inf, posinf=np.inf).numpy())
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _range(self, margin: float) -> Envelope:
        """Return the envelope that looks only at the data's range."""
        unused = {"penalty_coef": 0.0, "quantile": None, "exit_reward": None, "on_exit": "terminate"}
        data, device = self.model.transitions, self.model.device
        return learn_envelope(data, np.zeros(1, dtype=np.float32), margin=margin, device=device, **unused)

    def _distances(
        self, starts: torch.Tensor, steps: np.ndarray, who: np.ndarray, actions: np.ndarray, after: np.ndarray
    ) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Follow the simulator with the same actions; distances are in normalised units."""
        prediction: GaussianPrediction = self.model.model.predict(starts[:1], torch.tensor(actions[:1]))
        scale = target_std_of(prediction).numpy()[:-1]
        true, found = starts.double().numpy(), {}
        for step in range(min(int(steps.max()) + 1, max(LENGTHS))):
            rows = steps == step
            true[who[rows]] = self.oracle.truth.step(true[who[rows]], actions[rows]).next_observations
            distance = np.linalg.norm((after[rows] - true[who[rows]]) / scale, axis=1)
            found[step + 1] = who[rows], np.nan_to_num(distance, nan=NO_TRUTH)
        return found


def by_step(data: Values, rows: Rows) -> Iterator[list[str]]:
    """Yield the rows of the first table."""
    at = [rows.step == step for step in SHOWN if (rows.step == step).any()]
    yield ["rollouts", "", *(f"{here.sum():,}" for here in at)]
    yield ["outside by more than 10 %", "", *(f"{rows.outside[here].mean():.1%}" for here in at)]
    no_truth = [values >= NO_TRUTH for values in (data[ERROR], *(rows.values[ERROR][here] for here in at))]
    yield ["no truth", *(f"{flags.mean():.1%}" for flags in no_truth)]
    for name, values in rows.values.items():
        yield [name, quantiles(data[name]), *(quantiles(values[here]) for here in at)]


def correlations(data: Values, rows: Rows) -> Iterator[list[str]]:
    """Yield the rows of the second table."""
    error, everywhere = rows.values[ERROR], np.ones_like(rows.outside)
    for name, values in rows.values.items():
        cells = [correlation(data[name], data[ERROR])]
        cells += [correlation(values[part], error[part]) for part in (~rows.outside, rows.outside, everywhere)]
        cells.append(correlation(values, rows.values[RAW_ERROR]))
        for length in LENGTHS:
            who, distance = rows.distances.get(length, (np.zeros(0, dtype=np.int64), np.zeros(0)))
            early = rows.step < length
            sums = np.bincount(rows.rollout[early], weights=values[early].astype(np.float64))
            cells.append(correlation(sums[who], distance))
        yield [name, *cells]


def cuts(data: Values, rows: Rows) -> Iterator[list[str]]:
    """Yield the rows of the third table."""
    bad = rows.values[ERROR] > np.quantile(data[ERROR], 0.99)
    parts = (rows.step < FIRST, np.ones_like(bad))
    yield ["(share of such steps)", *(f"{bad[part].mean():.1%}" for part in parts for _ in ZETAS), ""]
    for name, values in rows.values.items():
        ended = [values > np.quantile(data[name], zeta) for zeta in ZETAS]
        caught, _ = cut_shares(values > np.quantile(values[~bad], 0.99), bad)
        yield [name, *(pair(cut_shares(cut[part], bad[part])) for part in parts for cut in ended), f"{caught:.1%}"]
    for margin, cut in rows.leaves.items():
        found = [pair(cut_shares(cut[part], bad[part])) for part in parts]
        yield [f"range, margin {margin:g}", *(cell for cell in found for _ in ZETAS), ""]


def cut_shares(cut: np.ndarray, bad: np.ndarray) -> tuple[float, float]:
    """Return which share of the bad rows a cut ends, and which share of the others; a share of no rows is NaN."""
    caught, wrongly = (float(cut[part].mean()) if part.any() else float("nan") for part in (bad, ~bad))
    return caught, wrongly


def correlation(first: np.ndarray, second: np.ndarray) -> str:
    """Return the rank correlation as a cell."""
    return "–" if len(first) < FEWEST else f"{rank_correlation(first, second):+.2f}".replace("-", "−")


def pair(shares: tuple[float, float]) -> str:
    """Return two shares as a cell."""
    return " / ".join("–" if np.isnan(value) else f"{value:.1%}" for value in shares)


def quantiles(values: np.ndarray) -> str:
    """Return three quantiles as a cell."""
    found = np.quantile(values, (0.5, 0.9, 0.99), method="nearest")
    return " / ".join(f"{value:,.0f}" if 100 <= value < 1e6 else f"{value:.2g}" for value in found)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
