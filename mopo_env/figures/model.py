"""How far a model can be trusted: its card, its penalty over two dimensions, its rollouts, its penalty and error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mopo_env.datasets.card.text import printable
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError
from mopo_env.figures.canvas import COLOURS, legend_below, new_figure, plain
from mopo_env.models.card.card import rank_correlation
from mopo_env.models.card.scores import ModelCard
from mopo_env.models.protocol import GaussianPrediction, pick_members

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BEYOND = 0.5
"""A field reaches beyond the data by this share of their range."""


def draw_model_card(card: ModelCard) -> Figure:
    """Draw errors and calibration by column, and rollouts beside the recording."""
    height = max(3.5, 1.5 + 0.25 * len(card.columns))
    figure, (errors, calibration, rollouts) = new_figure(3, width=11, height=height)
    names = [plain(printable(column.name)) for column in card.columns]
    places = range(len(names))
    errors.barh(places, [column.rmse / column.spread for column in card.columns], height=0.6)
    guesses = [column.unchanged / column.spread for column in card.columns]
    errors.plot(guesses, places, "|", color="0.2", markersize=10, label="no change")
    errors.set(title="error", xlabel="standard deviations of the change")
    errors.set_yticks(places, names, fontsize=8)
    z2 = [column.z2 for column in card.columns]
    calibration.plot(z2, places, "o")
    calibration.axvline(1.0, color="0.2", linestyle="--", linewidth=1, label="calibrated")
    limits = {"xlim": (min(0.1, 0.5 * min(z2)), max(10.0, 2.0 * max(z2))), "ylim": errors.get_ylim()}
    calibration.set(title="z²", xlabel="squared error in predicted variances", xscale="log", **limits)
    calibration.set_yticks(places, [])
    steps = [score.steps for score in card.rollouts]
    rollouts.plot(steps, [score.error for score in card.rollouts], marker="o", label="distance from the recording")
    rollouts.plot(steps, [score.outside for score in card.rollouts], marker="s", label="share outside the data")
    rollouts.set(title="rollouts with the recorded actions", xlabel="steps", xscale="log", ylim=(0.0, None))
    rollouts.set_xticks(steps, [str(step) for step in steps])
    rollouts.minorticks_off()
    for axes in (errors, calibration):
        axes.invert_yaxis()
    for axes in (errors, calibration, rollouts):
        axes.legend(frameon=False, fontsize=8)
    return figure


@torch.no_grad()
def draw_penalty_field(model: PenalizedModel, dimensions: tuple[int, int] = (0, 1), *, points: int = 60) -> Figure:
    """Draw u over two columns of the observation, and the data's states as dots.

    The other columns, and the action, are those of the recorded transition that is nearest to the median. Beyond the
    data's range, which a frame shows, the penalty should rise.

    Args:
        model: Model, dataset and penalty.
        dimensions: Two columns of the observation, from 0.
        points: Points of the grid along either side.
    """
    data, columns = model.transitions, list(dimensions)
    inputs = np.concatenate([data.observations, data.encoded_actions()], axis=1).astype(np.float64)
    scale = np.where(inputs.std(axis=0) > 0.0, inputs.std(axis=0), 1.0)
    middle = int(np.linalg.norm((inputs - np.median(inputs, axis=0)) / scale, axis=1).argmin())
    low, high = (getattr(data.observations[:, columns], end)(axis=0) for end in ("min", "max"))
    reach = _BEYOND * (high - low)
    sides = [np.linspace(low[k] - reach[k], high[k] + reach[k], points) for k in range(2)]
    states = np.repeat(data.observations[middle][None], points**2, axis=0)
    states[:, columns] = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)
    actions = np.repeat(data.encoded_actions()[middle][None], points**2, axis=0)
    prediction = model.model.predict(*(torch.tensor(part, device=model.device) for part in (states, actions)))
    penalties = model.penalty(prediction).cpu().numpy().reshape(points, points)
    figure, (axes,) = new_figure(width=6.0, height=4.4)
    field = axes.contourf(*sides, penalties, levels=24, cmap="magma_r")
    figure.colorbar(field, ax=axes, label="penalty u")
    shown = np.random.default_rng(0).permutation(len(data))[:1500]
    axes.plot(*data.observations[shown][:, columns].T, ".", color="white", markersize=1.5, alpha=0.6)
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1]), (low[0], low[1])]
    axes.plot(*zip(*corners, strict=True), color=COLOURS[0], linewidth=1.2, label="range of the data")
    axes.plot([], [], ".", color="0.6", markersize=4, label="states of the data")
    names = [plain(data.observation_names[column]) for column in columns]
    axes.set(xlabel=names[0], ylabel=names[1], xlim=sides[0][[0, -1]], ylim=sides[1][[0, -1]])
    legend_below(axes, columns=2)
    return figure


@torch.no_grad()
def draw_trajectories(
    model: PenalizedModel,
    columns: Sequence[int] = (0, 1),
    *,
    episode: int | None = None,
    steps: int = 50,
    rollouts: int = 100,
    seed: int = 0,
) -> Figure:
    """Draw a recorded episode and rollouts of the model from its first state, with its actions.

    The band holds nine of ten rollouts, each with an elite of its own. A recording that leaves it was not foreseen.

    Args:
        model: A model with members, and the dataset.
        columns: Columns of the observation, from 0; each gets a panel.
        episode: The number of the episode. None: the longest.
        steps: The longest length of a rollout.
        rollouts: Number of rollouts.
        seed: Of the draws.

    Raises:
        ConfigError: If the model has no members.
    """
    data, elites = model.transitions, _elites(model)
    firsts = np.append(0, data.episode_ends[:-1] + 1)
    lengths = data.episode_ends - firsts + 1
    first = int(firsts[int(lengths.argmax()) if episode is None else episode])
    length = min(steps, int(lengths[int(np.searchsorted(firsts, first))]))
    recorded = np.concatenate([data.observations[first][None], data.next_observations[first : first + length]])
    generator = torch.Generator(model.device).manual_seed(seed)
    members = pick_members(elites, rollouts, generator)
    states = torch.tensor(data.observations[first], device=model.device).repeat(rollouts, 1)
    found = [states.cpu().numpy()]
    for action in data.encoded_actions()[first : first + length]:
        prediction = model.model.predict(states, torch.tensor(action, device=model.device).repeat(rollouts, 1))
        states, _ = _gaussian(prediction).sample_from(members, generator)
        found.append(states.cpu().numpy())
    low, middle, high = np.nanquantile(np.array(found), (0.05, 0.5, 0.95), axis=1)
    figure, all_axes = new_figure(len(columns), width=4.0 * len(columns) + 0.5, height=3.4)
    times = np.arange(length + 1)
    for axes, column in zip(all_axes, columns, strict=True):
        band: dict[str, Any] = {"color": COLOURS[0], "alpha": 0.2, "linewidth": 0, "label": "nine of ten rollouts"}
        axes.fill_between(times, low[:, column], high[:, column], **band)
        axes.plot(times, middle[:, column], color=COLOURS[0], linewidth=1.5, label="median rollout of the model")
        axes.plot(times, recorded[:, column], color="black", linewidth=1.5, linestyle="--", label="recorded")
        axes.set(xlabel="step")
        axes.set_title(plain(data.observation_names[column]), loc="left", fontsize=10)
    legend_below(all_axes[0], columns=3)
    return figure


@torch.no_grad()
def draw_penalty_against_error(model: PenalizedModel, *, rows: np.ndarray | None = None) -> Figure:
    """Draw the penalty against the true error of the elites' mean, in units of the spread of what is predicted.

    A penalty that knows where the model is wrong rises from the left to the right; the title has its rank correlation.

    Args:
        model: Model, dataset and penalty.
        rows: Transitions of the dataset. None: the hold-out, which the fit never saw.

    Raises:
        ConfigError: If the model has no members, or `rows` is None and the model does not say what its hold-out is.
    """
    if rows is None:
        rows = np.array(getattr(model.model, "metadata", {}).get("holdout_rows", []), dtype=np.int64)
        if len(rows) == 0:
            raise ConfigError("rows: expected some, because the model does not say which rows its fit never saw.")
    data, elites = model.transitions, _elites(model)
    pair = (torch.tensor(part[rows], device=model.device) for part in (data.observations, data.encoded_actions()))
    prediction = _gaussian(model.model.predict(*pair))
    truth = np.concatenate([data.next_observations[rows], data.rewards[rows, None]], axis=1)
    changes = truth - np.concatenate([data.observations[rows], np.zeros((len(rows), 1))], axis=1)
    scale = np.where(changes.std(axis=0) > 0.0, changes.std(axis=0), 1.0)
    errors = np.linalg.norm((prediction.mean[elites].mean(dim=0).cpu().numpy() - truth) / scale, axis=1)
    penalties = model.penalty(prediction).cpu().numpy().astype(np.float64)
    figure, (axes,) = new_figure(width=5.5, height=4.0)
    axes.plot(penalties, errors, ".", color=COLOURS[0], markersize=3, alpha=0.5)
    if (penalties > 0.0).all() and (errors > 0.0).all():
        from matplotlib.ticker import LogLocator, NullFormatter

        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="penalty u", ylabel="error, in standard deviations of the change")
    title = f"{len(rows):,} transitions, rank correlation {rank_correlation(penalties, errors):+.2f}"
    axes.set_title(title, loc="left", fontsize=10)
    return figure


def _elites(model: PenalizedModel) -> torch.Tensor:
    elites = getattr(model.model, "elites", None)
    if not isinstance(elites, torch.Tensor):
        raise ConfigError(f"model: expected one with members, found a {type(model.model).__name__}.")
    return elites


def _gaussian(prediction: object) -> GaussianPrediction:
    if not isinstance(prediction, GaussianPrediction):
        raise ConfigError(f"model: expected a GaussianPrediction, found a {type(prediction).__name__}.")
    return prediction
