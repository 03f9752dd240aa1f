"""Small models and worlds for tests, of which a test names only what it is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from helpers.transitions import transitions
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.toys import StubEnsemble
from mopo_env.transitions import Transitions

# The lowest reward of `still_data`: what a breakdown pays.
LOWEST = -3.0
_OF_THE_STUB = ("std", "offsets", "num_members", "elites")
_OF_THE_DATA = ("rewards", "actions", "observation_space", "action_space", "metadata")


def generator(seed: int = 0) -> torch.Generator:
    """Return a random generator of its own."""
    return torch.Generator().manual_seed(seed)


def small_ensemble(observation_dim: int = 2, action_dim: int = 1, *, seed: int = 0, **options: Any) -> GaussianEnsemble:
    """Return an ensemble of random weights that are not fitted."""
    options = {"num_members": 3, "hidden_sizes": (16,), "generator": generator(seed), **options}
    return GaussianEnsemble(observation_dim, action_dim, **options).requires_grad_(False)


def fitted_ensemble(data: Transitions, **options: Any) -> GaussianEnsemble:
    """Fit a tiny ensemble for one epoch: enough for files and for steps, not for good predictions."""
    tiny = {"hidden_sizes": (4,), "weight_decay": (0.0, 0.0), "max_epochs": 1, "num_members": 2, "num_elites": 1}
    return fit_ensemble(data, FitConfig(**{**tiny, **options}), progress=False)


def still_data(starts: Any = (0.0, 0.0), *, width: int = 1, **given: Any) -> Transitions:
    """Return rows that stay where they are; the lowest reward is `LOWEST`.

    Args:
        starts: The observation of each row, a number for all its columns.
        width: Of an observation.
        **given: What takes the place of zero actions and of rewards from `LOWEST` to 4, and spaces.
    """
    observations = np.repeat(np.asarray(starts, dtype=np.float32)[:, None], width, axis=1)
    rows = len(observations)
    content = {"rewards": np.linspace(LOWEST, 4, rows), "actions": np.zeros((rows, 1)), "truncations": np.ones(rows)}
    return transitions(observations=observations, next_observations=observations, **{**content, **given})


def stay(observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Stay, and be paid the first column."""
    return observations, observations[:, 0]


def count_up(observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Add one to every column, and be paid what the first one is then."""
    return observations + 1, observations[:, 0] + 1


def penalized_model(
    mean: Callable[..., Any] = stay, *, starts: Any = (0.0, 0.0), end_above: float | None = None, **options: Any
) -> PenalizedModel:
    """Return the core around a `StubEnsemble`.

    Args:
        mean: What the stub predicts.
        starts: As of `still_data`.
        end_above: Terminates a rollout whose first column exceeds it.
        **options: Of `StubEnsemble`, of `still_data` (`width` among them), of `PenalizedModel`, or `model` and
            `transitions` in their place.
    """
    width = options.pop("width", 1)
    stub = {name: options.pop(name) for name in _OF_THE_STUB if name in options}
    data = {name: options.pop(name) for name in _OF_THE_DATA if name in options}
    model = options.pop("model", None) or StubEnsemble(width, 1, mean=mean, **stub)
    rows = options.pop("transitions", None) or still_data(starts, width=width, **data)
    if end_above is not None:
        options["termination"] = lambda states, actions, following: following[:, 0] > end_above
    return PenalizedModel(model, rows, **options)
