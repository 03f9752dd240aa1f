"""Data that parse and are strange: a fit and its simulator give finite numbers, or one of our errors says why not."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import fitted_ensemble, generator
from helpers.transitions import transitions

from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, DatasetError, MopoError

ROWS = 40
RANDOM = np.random.default_rng(0).normal(size=(ROWS, 2))
COUNT = np.arange(ROWS)[:, None] * np.ones(2)
LOST = np.where(np.arange(2 * ROWS).reshape(ROWS, 2) == 2 * ROWS - 1, np.nan, RANDOM)

STRANGE: dict[str, tuple[dict[str, Any], type[MopoError] | None]] = {
    "two transitions": ({"rows": 2}, None),
    "fewer transitions than members": ({"rows": 3}, None),
    "nothing ever changes": ({"observations": 0 * COUNT + 300.0, "next_observations": 0 * COUNT + 300.0}, None),
    "every reward the same": ({"rewards": np.ones(ROWS)}, None),
    "one transition again and again": ({"observations": 0 * COUNT, "actions": np.zeros((ROWS, 1))}, None),
    "signed zeros": ({"observations": -0.0 * COUNT, "next_observations": 0.0 * COUNT}, None),
    "denormals": ({"observations": 1e-44 * COUNT, "next_observations": 1e-44 * (COUNT + 1)}, None),
    "one transition": ({"rows": 1}, DatasetError),
    "NaN in the last observation only": ({"next_observations": LOST}, DatasetError),
    "beyond float32": ({"observations": 1e39 * RANDOM}, DatasetError),
    "as large as float32 can be": ({"observations": 1e38 * RANDOM}, ConfigError),
}


@pytest.mark.parametrize(("given", "error"), STRANGE.values(), ids=STRANGE)
def test_strange_data_are_fitted_or_refused(given: dict[str, Any], error: type[MopoError] | None) -> None:
    """Seven members and a step of each from every row, with warnings for columns of which nothing can be learned."""

    def outcome() -> PenalizedModel:
        data = transitions(**given)
        return PenalizedModel(fitted_ensemble(data, num_members=7, num_elites=5), data)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if error is not None:
            with pytest.raises(error):
                outcome()
            return
        model = outcome()
    start = model.reset(100, generator())
    step = model.step(start, torch.zeros(100, 1), generator())
    for name in ("next_observations", "rewards", "model_rewards", "penalties"):
        assert getattr(step, name).isfinite().all(), name
