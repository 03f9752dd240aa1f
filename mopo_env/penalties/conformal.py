"""Split-conformal bounds of a model's error (Vovk et al., 2005; Lei et al., 2018): coverage without a distribution.

Of n + 1 exchangeable scores, the last is at most the ⌈(n + 1)(1 − α)⌉-th smallest of the others with probability 1 − α
or more. So recorded transitions that a fit never saw turn a penalty u into a bound λ·u of the model's error.

That probability is over the draw of the calibration rows too: the bound of one calibration covers more or less. A
somewhat higher rank covers 1 − α with a stated confidence over that draw, if scores are independent (Vovk, 2012).

The bound holds for rows like those of the calibration: drawn from the data's own distribution. It holds on average over
such rows, not for each state. It says nothing of the states and actions of another policy, and nothing of rows off the
data.
"""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from mopo_env._utils.options import CONFORMAL_CONFIDENCE, CONFORMAL_COVERAGE, check_number
from mopo_env.errors import ConfigError
from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.models.protocol import GaussianPrediction
from mopo_env.penalties import EnsemblePenalty, FittedPenalty, Penalty, target_std_of
from mopo_env.transitions import Transitions

_ROWS_AT_ONCE = 1000


def conformal_quantile(
    scores: np.ndarray, coverage: float = CONFORMAL_COVERAGE, *, confidence: float | None = None
) -> Any:
    """Return a bound of further scores, one for each column of ``(score, …)``; infinite if there are too few scores.

    Args:
        scores: Of the calibration.
        coverage: 1 − α: the share of further scores that are not above the bound.
        confidence: How probable it is that this calibration's bound has that coverage. None: the coverage is an average
            over calibrations, and the ⌈(n + 1)(1 − α)⌉-th smallest score is returned.

    Raises:
        ConfigError: If coverage or confidence is not between 0 and 1.
    """
    number, coverage = len(scores), check_number("coverage", coverage, above=0.0, maximum=1.0)
    rank = math.ceil((number + 1) * coverage - 1e-9)  # 10 · 0.9 is 9, whatever floats say
    if confidence is not None:
        # The k-th smallest score covers 1 − α if fewer than k of n scores are below that quantile: a binomial count.
        below = _binomial_distribution(number, coverage)
        rank = 1 + int(np.searchsorted(below, check_number("confidence", confidence, above=0.0, maximum=1.0)))
    if rank > number:
        return np.full(np.shape(scores)[1:], np.inf)[()]
    return np.sort(np.asarray(scores, dtype=np.float64), axis=0)[max(rank, 1) - 1]


def _binomial_distribution(number: int, probability: float) -> Any:
    """Return P(count ≤ k) of k = 0, …, n, shape ``(count,)``."""
    counts = np.arange(number + 1)
    if probability == 1.0:
        return counts == number
    factorials = np.append(0.0, np.cumsum(np.log(counts[1:])))
    ways = factorials[-1] - factorials - factorials[::-1]
    logs = ways + counts * math.log(probability) + (number - counts) * math.log1p(-probability)
    return np.cumsum(np.exp(logs))


def split_coverage(
    scores: np.ndarray, groups: np.ndarray, *, splits: int = 20, confidence: float | None = CONFORMAL_CONFIDENCE
) -> Float[np.ndarray, " split"]:
    """Return how often a bound from one half of the groups, such as rows or episodes, holds in the other half.

    Args:
        scores: One of each row.
        groups: The group of each row.
        splits: How often the groups are split at random.
        confidence: As in `conformal_quantile`.
    """
    found, names = [], np.unique(groups)
    for seed in range(splits):
        calibration = np.isin(groups, np.random.default_rng(seed).permutation(names)[: len(names) // 2])
        bound = conformal_quantile(scores[calibration], confidence=confidence)
        found.append((scores[~calibration] <= bound).mean())
    return np.array(found)


def conformal_coef(
    model: Any, transitions: Transitions, penalty: Penalty, *, coverage: float = CONFORMAL_COVERAGE
) -> float:
    """Return λ such that the one-step error is at most λ·u(s, a), with the given coverage and 95 % confidence.

    The error and its norm are those of `one_step_errors`. The score of a row is error / u. The rows are the hold-out of
    the model's fit. It chose the elites and their epochs, so it is a little easier for the model than new data.

    λ turns u into an error. That r̂ − λ·u bounds anything of the return takes more: the value function may not change
    by more than 1/γ for an error of 1 (paper, equation 7, with c·γ = 1).

    Raises:
        ConfigError: If the model does not say which rows of these data its fit never saw, if they are too few, if u is
            0 where the error is not, or if the penalty is fitted to these rows.
    """
    if isinstance(penalty, FittedPenalty):
        raise ConfigError(
            "penalty_coef: 'conformal' needs a penalty that has not seen the hold-out, and this one was fitted to all "
            "recorded rows. Give λ as a number, or choose another penalty."
        )
    metadata = getattr(model, "metadata", {})
    rows = np.array(metadata.get("holdout_rows", []), dtype=np.int64)
    if len(rows) == 0 or metadata.get("dataset_fingerprint") != transitions.fingerprint:
        raise ConfigError(
            "penalty_coef: 'conformal' needs a model that says which rows of this dataset its fit never saw. Fit it "
            "with `mopo fit` on this dataset, or give λ as a number."
        )
    errors, penalties = one_step_errors(model, transitions, rows, penalty)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(errors > 0, errors / penalties, 0.0)
    found = float(conformal_quantile(scores, coverage, confidence=CONFORMAL_CONFIDENCE))
    if not math.isfinite(found):
        raise ConfigError(
            f"penalty_coef: 'conformal' found no bound with coverage {coverage:g} on {len(rows)} rows: they are too "
            "few, or u is 0 on too many. Fit with a larger --holdout-size, choose another penalty, or give λ as a "
            "number."
        )
    return found


@torch.no_grad()
def one_step_errors(
    model: Any, transitions: Transitions, rows: np.ndarray, penalty: Penalty
) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, " row"]]:
    """Return the errors of recorded steps, and u(s, a).

    The error is maxᵢ ‖μᵢ(s, a) − (s′, r)‖₂ over the elites: whichever of them makes the step, its mean is not farther
    from what was recorded. The noise that it draws is not in it. Outputs and units are the penalty's: the reward counts
    if it counts there, and normalised units are divided by `target_std`. Penalties without options are taken as raw.

    Raises:
        ConfigError: If the model does not predict Gaussians, or does not know the scale that the units need.
    """
    options = penalty if isinstance(penalty, EnsemblePenalty) else EnsemblePenalty(formula=lambda mean, std: mean)
    actions, truths = (
        transitions.encoded_actions(),
        np.column_stack([transitions.next_observations, transitions.rewards]),
    )
    errors, penalties = [], []
    for part in np.array_split(rows, math.ceil(len(rows) / _ROWS_AT_ONCE)):
        inputs = (torch.tensor(array[part], device=model.device) for array in (transitions.observations, actions))
        prediction = model.predict(*inputs)
        if not isinstance(prediction, GaussianPrediction):
            found = type(prediction).__name__
            raise ConfigError(f"penalty_coef: 'conformal' needs a GaussianPrediction, the model gave a {found}.")
        error = prediction.mean[prediction.elites] - torch.tensor(truths[part], device=model.device)
        if options.units == "normalised":
            error = error / target_std_of(prediction)
        error = error if options.reward else error[..., :-1]
        errors.append(error.double().norm(dim=-1).amax(dim=0).cpu().numpy())
        penalties.append(penalty(prediction).double().cpu().numpy())
    return np.concatenate(errors), np.concatenate(penalties)


@torch.no_grad()
def open_loop_errors(
    ensemble: GaussianEnsemble, transitions: Transitions, starts: np.ndarray, steps: int
) -> Float[np.ndarray, "start step"]:
    """Return how far predictions are from the recording 1, …, `steps` steps after each start, with recorded actions.

    Each elite follows its own means. The error is that of the farthest elite, in standard deviations of the data's
    observations. One start of an episode makes exchangeable scores of episodes. Steps of one episode are not
    exchangeable, so do not pool them.

    Raises:
        ConfigError: If an episode ends before its last step.
    """
    ends = transitions.episode_ends[np.searchsorted(transitions.episode_ends, starts)]
    if (ends - starts + 1 < steps).any():
        raise ConfigError(f"starts: expected {steps} recorded steps after each, found an episode that ends earlier.")
    scale = np.where((std := transitions.observations.std(axis=0, dtype=np.float64)) > 0, std, 1.0)
    actions, number = transitions.encoded_actions(), len(ensemble.elites)
    states = torch.tensor(transitions.observations[starts], device=ensemble.device).repeat(number, 1)
    members = ensemble.elites.repeat_interleave(len(starts))
    errors = np.empty((len(starts), steps))
    for step in range(steps):
        taken = torch.tensor(actions[starts + step], device=ensemble.device).repeat(number, 1)
        states, _ = ensemble.predict(states, taken).sample_from(members, None)
        distance = states.cpu().numpy().reshape(number, len(starts), -1) - transitions.next_observations[starts + step]
        errors[:, step] = np.linalg.norm(np.nan_to_num(distance / scale, nan=np.inf), axis=2).max(axis=0)
    return errors


def conformal_band(
    errors: Float[np.ndarray, "episode step"],
    scale: Float[np.ndarray, " step"],
    coverage: float = CONFORMAL_COVERAGE,
) -> Float[np.ndarray, " step"]:
    """Return bounds that all steps of a new episode keep at once, with the given coverage.

    The score of an episode is the largest error / scale of its steps. For bounds that each step keeps alone, call
    `conformal_quantile` on the errors.

    Args:
        errors: Of one start of each calibration episode, as `open_loop_errors` returns them.
        scale: The width of the band up to a factor, from other episodes, such as their median error of each step.
        coverage: The probability that the whole episode is in the band.
    """
    return np.asarray(conformal_quantile((errors / scale).max(axis=1), coverage) * scale)
