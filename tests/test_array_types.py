"""Shapes are checked at run time wherever they are annotated; else an annotation is a comment that may be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.array_types import annotated_modules
from jaxtyping import TypeCheckError

import mopo_agents
import mopo_env
from mopo_env.errors import ConfigError
from mopo_env.models.protocol import GaussianPrediction
from mopo_env.penalties import EnsemblePenalty, formulas


def test_every_annotated_module_is_found() -> None:
    """In whichever folder it stands; a list written by hand had half of them."""
    found = {name for package in (mopo_env, mopo_agents) for name in annotated_modules(Path(package.__path__[0]))}
    assert {"mopo_env.penalties", "mopo_env.envs.rollouts", "mopo_agents.replay_buffer"} <= found
    assert len(found) > 25


def test_wrong_shapes_are_found_and_wrong_options_are_left_to_us() -> None:
    """In a dataclass's fields and in a function's arguments; an option of another type has an error of ours."""
    with pytest.raises(TypeCheckError, match="std"):
        GaussianPrediction(
            observations=torch.zeros(4, 2),
            actions=torch.zeros(4, 1),
            mean=torch.zeros(1, 4, 3),
            std=torch.zeros(1, 5, 3),
            elites=torch.zeros(1, dtype=torch.int64),
        )
    with pytest.raises(TypeCheckError, match="mean"):
        formulas.max_aleatoric(torch.zeros(4, 3), torch.zeros(1, 4, 3))
    with pytest.raises(ConfigError, match="reward"):
        EnsemblePenalty(formula=formulas.max_aleatoric, reward="yes")  # type: ignore[arg-type]
