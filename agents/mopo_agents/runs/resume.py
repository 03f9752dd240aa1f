"""Continue an unfinished training run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from mopo_agents.agents import AGENTS
from mopo_agents.runs.folder import read_config
from mopo_agents.runs.outcome import TrainResult
from mopo_agents.runs.train import carry_out
from mopo_env.errors import ConfigError

__all__ = ["resume"]


def resume(
    folder: Path | str,
    *,
    agent_class: type[BaseAlgorithm] | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> TrainResult:
    """Continue an unfinished run of `train` from its saved state, or from the start if it has none.

    On one CPU thread of the same kind of machine, with the same versions of the libraries, the result is bit for bit
    that of an uninterrupted run. Otherwise the output says what is different.

    Args:
        folder: The folder of the run.
        agent_class: The class that was passed to `train`, if it was.
        device: Where the model and the agent compute. None: as before.
        threads: CPU threads of PyTorch. None: as before.
        progress: Whether to show a progress bar.

    Raises:
        ConfigError: If the run is finished, another process works on it, or its dataset or ensemble has changed.
        StoreError: If there is no run, or a file is damaged.
        MopoError: As in `train`.
    """
    config, record = read_config(Path(folder))
    given = {"device": device, "threads": threads}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if agent_class is not None:
        changes["agent"] = None
    elif record["agent"] not in AGENTS:
        raise ConfigError(
            f"agent_class: {folder} is a run of {record['agent']}, which has no name here. Resume it in Python: "
            "mopo_agents.resume(folder, agent_class=...)."
        )
    config = replace(config, **changes)
    return carry_out(config, folder, agent_class=agent_class, progress=progress, begun=record)
