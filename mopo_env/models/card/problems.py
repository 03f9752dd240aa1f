"""What looks wrong in a fitted model, in words."""

from collections.abc import Iterator

import numpy as np

from mopo_env.models.card.scores import ModelCard


def find_problems(card: ModelCard) -> tuple[str, ...]:
    """Return what looks wrong; every sentence names a number and what to do."""
    return tuple(text for check in (_columns, _penalty, _training, _rollouts) for text in check(card))


def _columns(card: ModelCard) -> Iterator[str]:
    *_, reward = card.columns
    for column in card.columns:
        if column.rmse > 0.99 * column.unchanged and column.unchanged > 0:
            guess = "its mean" if column is reward else "no change"
            yield (
                f"{column.name!r} is predicted no better than by {guess} (error {column.rmse:.3g}, "
                f"{column.unchanged:.3g}). If it is noise, leave it; else look for what it depends on."
            )
        if column.z2 > 4.0 or column.z2 < 0.25:
            said = "small" if column.z2 > 4.0 else "large"
            yield (
                f"the predicted standard deviation of {column.name!r} is {max(column.z2, 1 / column.z2) ** 0.5:.1f} "
                f"times too {said}. Fit with scaled targets, for more epochs, or look for outliers."
            )


def _penalty(card: ModelCard) -> Iterator[str]:
    main = max(card.columns, key=lambda column: column.penalty_share)
    if main.penalty_share > 0.99 and len(card.columns) > 2:
        yield (
            f"{main.name!r} has {main.penalty_share:.2%} of the predicted variance, so the penalty sees nothing else. "
            "Use a penalty in normalised units."
        )
    low, middle, high = card.penalty_quantiles
    if high - low < 0.02 * abs(middle):
        yield (
            f"the penalty is nearly the same everywhere ({low:.3g} to {high:.3g}). Use another penalty, or normalised "
            "units."
        )
    # Where the noise is the same everywhere and well predicted, no penalty can rank the errors.
    calibrated = all(0.5 < column.z2 < 2.0 for column in card.columns)
    if card.rank_correlation < 0.2 and not (calibrated and high < 1.25 * low):
        yield (
            f"the penalty does not tell where the model is wrong: its rank correlation with the true error is "
            f"{card.rank_correlation:+.2f}. Use another penalty."
        )


def _training(card: ModelCard) -> Iterator[str]:
    epochs, total = card.best_epochs
    if epochs and total > 10 and np.median(epochs) <= 0.1 * total:
        yield f"the members were kept after {np.median(epochs):.0f} of {total} epochs and are hardly trained."


def _rollouts(card: ModelCard) -> Iterator[str]:
    for score in card.rollouts:
        if score.steps <= 5 and score.outside > 0.05:
            yield f"{score.outside:.0%} of the rollouts leave the data's range within {score.steps} steps."
            break
