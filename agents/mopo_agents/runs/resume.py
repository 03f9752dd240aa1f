"""Continue an unfinished training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from mopo_agents.agents import AGENTS
from mopo_agents.runs.config import NEEDS, TrainConfig
from mopo_agents.runs.folder import check_unfinished, options_of, recorded_config
from mopo_agents.runs.outcome import TrainResult
from mopo_agents.runs.resolve import resolve
from mopo_agents.runs.train import carry_out
from mopo_env._utils.json_files import read_json
from mopo_env._utils.references import is_reference
from mopo_env.errors import ConfigError, StoreError

_UNNAMED = "{name}: {run} names the code {value!r}, which a file alone does not start. Name it again: {name}={value!r}."

# Options that can name code, as module:name.
_CODE = ("penalty", "termination", "real_env")


def resume(
    folder: Path | str,
    *,
    agent_class: type[BaseAlgorithm] | None = None,
    device: str | None = None,
    threads: int | None = None,
    penalty: str | None = None,
    termination: str | None = None,
    real_env: str | None = None,
    callback: BaseCallback | None = None,
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
        penalty: The run's own penalty again, if it is ``"module:name"``. A file alone never makes Python import a
            module; so the caller has to name it.
        termination: The same for the termination rule.
        real_env: The same for the real environment.
        callback: As in `train`.
        progress: Whether to show a progress bar.

    Raises:
        ConfigError: If the run is finished, or its dataset or ensemble has changed.
        BusyError: If another process works on it.
        StoreError: If there is no run, or a file is damaged.
        MopoError: As in `train`.
    """
    config, record = recorded_config(Path(folder))
    check_unfinished(Path(folder), record)
    _check_code(record, {"penalty": penalty, "termination": termination, "real_env": real_env}, Path(folder))
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
    return carry_out(config, folder, agent_class=agent_class, callback=callback, progress=progress, begun=record)


def recorded_options(
    path: Path, *, method: str | None = None, agent: str | None = None, **named: str | None
) -> dict[str, Any]:
    """Return the options that make a new run like a recorded one, by name.

    What the method, the task or the agent decided then is left open, so that another one decides anew. What another
    agent has no use for is left out. `named` are the options of the new run that may name code: ``penalty``,
    ``termination`` and ``real_env``.

    Raises:
        StoreError: If there is no such file, or it is damaged.
        ConfigError: If its agent has no name here, it names code that is not named again, or this version has other
            options.
    """
    file = path / "config.json" if path.is_dir() else path
    if not file.is_file():
        raise StoreError(f"{path}: no such file, expected a training run or its config.json.")
    record = read_json(file)
    options = options_of(record)
    if record["agent"] not in AGENTS:
        raise ConfigError(f"{path}: a run of {record['agent']}, which has no name here. Train it in Python.")
    same = {name: options[name] for name in ("task", "method", "agent", "epochs")}
    decided = resolve(TrainConfig(**same)).config
    chosen = {name: value for name, value in options.items() if value != getattr(decided, name)}
    if method is not None or agent is not None:
        same |= {"method": method, "agent": agent}
        now = resolve(TrainConfig(**same))
        if now.config.agent != record["agent"]:
            chosen.pop("agent_options", None)
        chosen = {name: value for name, value in chosen.items() if now.options[name] is not None or not NEEDS[name]}
    for name in _CODE:
        if named.get(name) is None and is_reference(chosen.get(name)):
            raise ConfigError(_UNNAMED.format(name=name, run=path, value=chosen[name]))
    return same | {name: value for name, value in chosen.items() if named.get(name) is None}


def _check_code(record: Mapping[str, Any], named: Mapping[str, str | None], run: Path) -> None:
    """Refuse to import a module that only a file names."""
    for name, value in named.items():
        recorded = record.get(name)
        if value is None and is_reference(recorded):
            raise ConfigError(_UNNAMED.format(name=name, run=run, value=recorded))
        if value is not None and value != recorded:
            raise ConfigError(f"{name}: found {value!r}, but the run has {recorded!r}, which it keeps. Leave it out.")
