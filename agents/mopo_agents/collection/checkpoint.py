"""Checkpoints from which the training of a behaviour policy resumes bit for bit.

New rows of the replay buffer are appended to a log. All other state is in one small file, which each checkpoint
replaces. The file is written after the rows and holds their number, so a crash in between does no harm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from mopo_agents.collection.environment_state import environment_state, set_environment_state
from mopo_agents.runs.state.agent_state import agent_state, set_agent_state
from mopo_agents.runs.state.files import AppendLog, read_state, restoring, write_state
from mopo_agents.runs.state.generators import global_generators, set_global_generators
from mopo_env.errors import ConfigError

_NAME = "training"
_ROWS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class Checkpoint:
    """Saves and restores the training of one agent in one environment.

    Saving draws no random numbers and does not change the run: the result is bit for bit the same without checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = AppendLog(folder / "rows")

    def save(self, agent: OffPolicyAlgorithm, env: gym.Env[Any, Any], notes: dict[str, Any]) -> None:
        """Write a checkpoint. Call it between two steps, when all updates of the last step are done.

        The agent's replay buffer must have room for the whole run. `restore` returns the notes.

        Raises:
            ConfigError: If the replay buffer has overflowed.
            StoreError: If the checkpoint cannot be written; the previous one is then intact.
        """
        buffer, rows = _buffer_of(agent), agent.num_timesteps
        if rows > buffer.buffer_size:
            raise ConfigError(f"buffer_size: found {buffer.buffer_size}, expected room for all rows of the run.")
        if rows > self._log.position:
            new = slice(self._log.position, rows)
            self._log.append({name: getattr(buffer, name)[new] for name in _ROWS}, length=new.stop - new.start)
        state = {
            "agent": agent_state(agent),
            "environment": environment_state(env),
            "generators": global_generators(),
            "rows": rows,
            "notes": notes,
        }
        write_state(self._folder, _NAME, state)

    def restore(self, agent: OffPolicyAlgorithm, env: gym.Env[Any, Any]) -> dict[str, Any] | None:
        """Restore the checkpoint in a new agent and its new environment, and return the notes; None: there is none."""
        state, buffer = read_state(self._folder, _NAME), _buffer_of(agent)
        if state is None:
            return None
        with restoring(self._folder):
            rows: int = state["rows"]
            parts = self._log.read(until=rows)
            if rows > buffer.buffer_size:
                raise ConfigError(f"buffer_size: found {buffer.buffer_size}, but {self._folder} holds {rows} rows.")
            for name in _ROWS if parts else ():
                np.concatenate([part[name] for part in parts], out=getattr(buffer, name)[:rows])
            buffer.pos, buffer.full = rows % buffer.buffer_size, rows == buffer.buffer_size
            env.reset()  # wrappers require it; the next lines replace its effects
            set_environment_state(env, state["environment"])
            set_agent_state(agent, state["agent"])
            set_global_generators(state["generators"])
        return dict(state.get("notes", {}))


def _buffer_of(agent: OffPolicyAlgorithm) -> ReplayBuffer:
    buffer = agent.replay_buffer
    if not isinstance(buffer, ReplayBuffer) or buffer.n_envs != 1:
        raise ConfigError("agent: expected a plain ReplayBuffer and one environment. Checkpoints support no others.")
    return buffer
