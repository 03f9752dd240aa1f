"""The model in which the agent of a recorded run was trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mopo_agents.agents import AGENTS
from mopo_agents.runs.folder import recorded_config
from mopo_agents.runs.resolve import resolve
from mopo_agents.runs.train import build_penalized_model
from mopo_env.envs.penalized_model import PenalizedModel

__all__ = ["model_of_run"]


def model_of_run(run: Path, *, device: str = "cpu") -> PenalizedModel | None:
    """Build the penalized model of a run, finished or not; None if its agent learned from the dataset alone.

    Args:
        run: The folder of the run.
        device: Where the model computes.

    Raises:
        ConfigError: If this version has other options than the run.
        DatasetError: If the data are missing or wrong.
        StoreError: If the run's files or its ensemble are missing or damaged.
    """
    config, record = recorded_config(run)
    if record["lambda"] is None:
        return None
    # The model does not depend on the agent, whose class may have no name here.
    agent = config.agent if config.agent in AGENTS else "SAC"
    return build_penalized_model(resolve(replace(config, agent=agent, device=device)), progress=False)
