"""The model report card: how wrong a fitted model is, column by column, and whether it knows.

It needs no simulator. The judges are the hold-out, which the fit never saw, and recorded episodes, which the model
follows with the recorded actions.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mopo_env._utils.options import DEFAULT_PENALTY
from mopo_env.errors import ConfigError
from mopo_env.models.card.problems import find_problems
from mopo_env.models.card.scores import ColumnScore, ModelCard, RolloutScore, WorstRow
from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.models.protocol import pick_members
from mopo_env.models.provenance import check_provenance
from mopo_env.penalties import EnsemblePenalty, Penalty, get_penalty
from mopo_env.transitions import Transitions

_STARTS = 500
_OUTSIDE = 0.1
"""A state is outside the data if a column leaves its range by more than this share of the range."""


def model_card(
    ensemble: GaussianEnsemble,
    transitions: Transitions,
    *,
    penalty: str | dict[str, Any] | Penalty = DEFAULT_PENALTY,
    lengths: Sequence[int] = (1, 2, 5, 10, 20, 50, 100),
    seed: int = 0,
) -> ModelCard:
    """Judge an ensemble by the data that it was fitted to.

    Args:
        ensemble: As `fit_ensemble` returns it.
        transitions: The dataset of the fit.
        penalty: Whose values are compared with the true error.
        lengths: Steps after which rollouts are compared with the recording.
        seed: Of the starts of the rollouts and of their draws.

    Raises:
        SpaceMismatchError: If the ensemble was fitted to other data.
        ConfigError: If the ensemble does not say which rows its fit never saw.
    """
    check_provenance(ensemble.metadata, transitions, "ensemble")
    rows = np.array(ensemble.metadata.get("holdout_rows", []), dtype=np.int64)
    if len(rows) == 0:
        raise ConfigError("the ensemble does not say which rows its fit never saw. Fit it again with `mopo fit`.")
    function, generator = get_penalty(penalty), torch.Generator(ensemble.device).manual_seed(seed)
    inputs = (transitions.observations, transitions.encoded_actions())
    prediction = ensemble.predict(*(torch.tensor(array[rows], device=ensemble.device) for array in inputs))
    outcomes = np.column_stack([transitions.next_observations, transitions.rewards])[rows]
    truth = torch.tensor(outcomes, device=ensemble.device)
    error, std = prediction.mean[ensemble.elites] - truth, prediction.std[ensemble.elites]
    spread = ensemble.target_std
    penalties, distance = function(prediction), (error.mean(dim=0) / spread).norm(dim=1)
    history = np.array(ensemble.metadata.get("holdout_score_history", []))
    card = ModelCard(
        rows=len(rows),
        columns=tuple(_columns(error, std, spread, transitions, rows, _units(function, spread))),
        rollouts=tuple(_rollouts(ensemble, transitions, function, lengths, generator)),
        worst=tuple(_worst(error / std, transitions, rows)),
        rank_correlation=rank_correlation(penalties.cpu().numpy(), distance.cpu().numpy()),
        penalty_quantiles=tuple(np.quantile(penalties.cpu().numpy(), (0.05, 0.5, 0.95)).tolist()),
        best_epochs=(tuple((history.argmin(axis=0) + 1).tolist()), len(history)) if len(history) else ((), 0),
    )
    return replace(card, problems=find_problems(card))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's rank correlation, with mean ranks for equal values; 0 if one of the two is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (counts.cumsum() - 0.5 * counts)[place]
    return ranks


def _units(penalty: Penalty, spread: torch.Tensor) -> torch.Tensor:
    """Return what the penalty divides standard deviations by."""
    normalised = isinstance(penalty, EnsemblePenalty) and penalty.units == "normalised"
    return spread if normalised else torch.ones_like(spread)


def _columns(
    error: torch.Tensor,
    std: torch.Tensor,
    spread: torch.Tensor,
    transitions: Transitions,
    rows: np.ndarray,
    units: torch.Tensor,
) -> Iterator[ColumnScore]:
    change = transitions.next_observations[rows].astype(np.float64) - transitions.observations[rows]
    rewards = transitions.rewards[rows].astype(np.float64)
    unchanged = np.append(np.sqrt((change**2).mean(axis=0)), np.sqrt(((rewards - rewards.mean()) ** 2).mean()))
    z = error / std
    likelihood = (0.5 * z.square() + (std / spread).log()).mean(dim=(0, 1)) + 0.5 * math.log(2 * math.pi)
    share = (std / units).square().mean(dim=(0, 1))
    numbers = {
        "rmse": error.square().mean(dim=(0, 1)).sqrt(),
        "unchanged": torch.from_numpy(unchanged),
        "spread": spread,
        "nll": likelihood,
        "z2": z.square().mean(dim=(0, 1)),
        "within_68": (z.abs() < 1.0).float().mean(dim=(0, 1)),
        "within_95": (z.abs() < 1.96).float().mean(dim=(0, 1)),
        "penalty_share": share / share.sum(),
    }
    for index, name in enumerate([*transitions.observation_names, "reward"]):
        yield ColumnScore(name=name, **{key: float(value[index]) for key, value in numbers.items()})


def _rollouts(
    ensemble: GaussianEnsemble,
    transitions: Transitions,
    penalty: Penalty,
    lengths: Sequence[int],
    generator: torch.Generator,
) -> Iterator[RolloutScore]:
    """Follow recorded episodes from random states in them, with their actions, and compare."""
    rows = np.arange(len(transitions))
    left = transitions.episode_ends[np.searchsorted(transitions.episode_ends, rows)] - rows + 1
    starts = np.random.default_rng(generator.initial_seed()).choice(rows, size=_STARTS)
    low, high = (getattr(transitions.observations, end)(axis=0) for end in ("min", "max"))
    margin = _OUTSIDE * (high - low)
    scale = np.where(high > low, transitions.observations.std(axis=0, dtype=np.float64), 1.0)
    states = torch.tensor(transitions.observations[starts], device=ensemble.device)
    members = pick_members(ensemble.elites, len(starts), generator)
    all_actions = transitions.encoded_actions()
    gone = np.zeros(len(starts), dtype=bool)
    for step in range(1, max(lengths) + 1):
        going = left[starts] >= step
        starts, states, members, gone = starts[going], states[going], members[going], gone[going]
        if len(starts) == 0:
            return
        at = starts + step - 1
        actions = torch.tensor(all_actions[at], device=ensemble.device)
        prediction = ensemble.predict(states, actions)
        states, _ = prediction.sample_from(members, generator)
        found = states.cpu().numpy()
        gone |= ~np.isfinite(found).all(axis=1) | ((found < low - margin) | (found > high + margin)).any(axis=1)
        if step in lengths:
            error = np.linalg.norm((found - transitions.next_observations[at]) / scale, axis=1)
            yield RolloutScore(
                steps=step,
                error=float(np.median(error)),
                penalty=float(np.median(penalty(prediction).cpu().numpy())),
                outside=float(gone.mean()),
                rollouts=len(starts),
            )


def _worst(z: torch.Tensor, transitions: Transitions, rows: np.ndarray) -> Iterator[WorstRow]:
    errors, names = z.abs().mean(dim=0).cpu().numpy(), [*transitions.observation_names, "reward"]
    for index in errors.max(axis=1).argsort()[::-1][:10]:
        column = int(errors[index].argmax())
        yield WorstRow(
            where=transitions.locate(int(rows[index])), column=names[column], error=float(errors[index, column])
        )
