"""The envelope: how far rollouts may go from the data before the model's word counts for nothing.

A learned model predicts something everywhere, and its own uncertainty need not grow where the data end. So three events
end a rollout as one: a prediction that is not finite, one outside the data's range, and an uncertainty larger than any
on the data. All of them have one price.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from mopo_env._utils.devices import certainly_any
from mopo_env._utils.options import OnExit, check_choice, check_number
from mopo_env.errors import ConfigError
from mopo_env.models.protocol import DynamicsModel
from mopo_env.penalties import FittedPenalty, Penalty
from mopo_env.transitions import Transitions

EXITS = ("", "non-finite", "outside", "uncertain")
"""Why a rollout left the envelope, by code; 0: it did not."""

NON_FINITE, OUTSIDE, UNCERTAIN = 1, 2, 3

# Σₜ γᵗ for γ = 0.99, the discount of the paper's code and of Stable-Baselines3's agents.
_FOREVER = 100.0


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """Where a model may be believed, in raw units.

    Attributes:
        low: Lowest next observation and, last, reward that a rollout may predict.
        high: The largest.
        penalty_limit: The largest u(s, a) that a rollout may meet.
        largest_penalty: u of a prediction that is not finite: the largest on the data.
        lowest_reward: r̂ of a prediction that is not finite: the lowest of the data.
        exit_reward: r̃ of the step that leaves the envelope.
        on_exit: ``"terminate"`` ends the episode there. ``"truncate"`` ends it too, but agents bootstrap from its last
            state, at the envelope's edge.
    """

    low: Float[Tensor, " output"]
    high: Float[Tensor, " output"]
    penalty_limit: float
    largest_penalty: float
    lowest_reward: float
    exit_reward: float
    on_exit: OnExit

    @property
    def terminates(self) -> bool:
        """Whether leaving is the end of the episode."""
        return self.on_exit == "terminate"

    def exits(
        self,
        next_observations: Float[Tensor, "batch observation"],
        model_rewards: Float[Tensor, " batch"],
        penalties: Float[Tensor, " batch"],
    ) -> Int64[Tensor, " batch"]:
        """Return the code in `EXITS` of each row. The first reason counts, where there are several."""
        outcome = torch.cat([next_observations, model_rewards[:, None]], dim=1)
        broken = ~(outcome.isfinite().all(dim=1) & penalties.isfinite())
        outside = ((outcome < self.low) | (outcome > self.high)).any(dim=1)
        codes = torch.where(penalties > self.penalty_limit, UNCERTAIN, 0)
        return torch.where(broken, NON_FINITE, torch.where(outside, OUTSIDE, codes))


def learn_envelope(
    transitions: Transitions,
    penalties: Float32[np.ndarray, " row"],
    *,
    penalty_coef: float,
    margin: float | None,
    quantile: float | None,
    exit_reward: float | None,
    on_exit: OnExit,
    device: torch.device,
) -> Envelope:
    """Learn the envelope of a dataset.

    Args:
        transitions: D_env.
        penalties: u on the data, as `penalties_on_data` returns it.
        penalty_coef: λ.
        margin: How far next observations and rewards may leave the range of the data, as a multiple of that range, in
            every column; None: any distance. A column that never changes has no range, and no bounds.
        quantile: The quantile ζ of u on the data that u may not exceed; None: any u.
        exit_reward: The price of leaving. Default: r_min − λ·u_max, the lowest reward and the largest u of the data, if
            leaving truncates. If it terminates, the same for ever, min(0, r_min − λ·u_max) / (1 − 0.99): no policy on
            the data can do worse, whatever the sign of its rewards.
        on_exit: As in `Envelope`.
        device: Where the model computes.

    Raises:
        ConfigError: If an option is wrong.
    """
    limit, largest = math.inf, float(penalties.max())
    if quantile is not None:
        limit = float(np.quantile(penalties, check_number("envelope_quantile", quantile, minimum=0.0, maximum=1.0)))
    lowest_reward = float(transitions.rewards.min())
    if exit_reward is None:
        worst = lowest_reward - penalty_coef * largest
        exit_reward = worst if on_exit == "truncate" else _FOREVER * min(0.0, worst)
    low, high = _bounds(transitions, margin)
    return Envelope(
        low=torch.tensor(low, dtype=torch.float32, device=device),
        high=torch.tensor(high, dtype=torch.float32, device=device),
        penalty_limit=limit,
        largest_penalty=largest,
        lowest_reward=lowest_reward,
        exit_reward=check_number("exit_reward", exit_reward),
        on_exit=check_choice("on_exit", on_exit, OnExit),
    )


@torch.no_grad()
def penalties_on_data(
    transitions: Transitions, model: DynamicsModel, penalty: Penalty, *, num_rows: int = 20_000
) -> Float32[np.ndarray, " row"]:
    """Return u(s, a) of rows of a dataset, evenly spaced, or of all rows if there are fewer.

    A `FittedPenalty` has seen these rows, so its `of_data` is asked instead.

    Raises:
        ConfigError: If u is not finite or negative somewhere.
    """
    if isinstance(penalty, FittedPenalty):
        return penalty.of_data(num_rows)
    rows = np.linspace(0, len(transitions) - 1, min(num_rows, len(transitions))).astype(np.int64)
    actions, values = transitions.encoded_actions(), []
    for part in np.array_split(rows, math.ceil(len(rows) / 1000)):
        inputs = (transitions.observations[part], actions[part])
        prediction = model.predict(*(torch.tensor(array, device=model.device) for array in inputs))
        values.append(check_penalties(penalty(prediction), len(part)))
    penalties = torch.cat(values).cpu().numpy()
    if not np.isfinite(penalties).all():
        row = int(rows[~np.isfinite(penalties)][0])
        raise ConfigError(
            f"penalty: u is not finite on the data, first in {transitions.locate(row)}. Look at the model with "
            "`mopo model show`, or choose another penalty."
        )
    return penalties


def check_penalties(penalties: Any, num_rows: int) -> Float[Tensor, " batch"]:
    """Return what a penalty returned.

    Raises:
        ConfigError: If it is not one number for each row. On the CPU also if one is negative; a GPU would have to
            synchronise for this check.
    """
    values = check_rows("penalty", penalties, num_rows)
    if certainly_any(values < 0):
        raise ConfigError(
            f"penalty: returned {float(values.min()):g}, expected 0 or more: a negative penalty would reward "
            "uncertainty. Add a constant, or take the absolute value."
        )
    return values


def check_rows(name: str, values: Any, num_rows: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return what a user's penalty or rule returned.

    Raises:
        ConfigError: If it is not one value for each row: anything else would broadcast silently.
    """
    if not isinstance(values, Tensor) or values.shape != (num_rows,) or values.dtype != (dtype or values.dtype):
        found = f"shape {tuple(values.shape)} of {values.dtype}" if isinstance(values, Tensor) else repr(values)
        of = "" if dtype is None else f" of {dtype}"
        raise ConfigError(f"{name}: returned {found}, expected a tensor of one value a row, shape ({num_rows},){of}.")
    checked: Tensor = values
    return checked


def _bounds(transitions: Transitions, margin: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the largest outcome that the envelope holds, infinite where there is no bound."""
    columns = (transitions.next_observations, transitions.rewards[:, None])
    low = np.concatenate([column.min(axis=0) for column in columns]).astype(np.float64)
    high = np.concatenate([column.max(axis=0) for column in columns]).astype(np.float64)
    if margin is None:
        room = np.full_like(low, np.inf)
    else:
        margin = check_number("envelope_margin", margin, minimum=0.0)
        room = np.where(high > low, margin * (high - low), np.inf)
    return low - room, high + room
