"""The training of a behaviour policy on disk, from which it goes on bit for bit.

The replay buffer, which is nearly all of it, is appended to a log; the rest is one small state file that is replaced.
It is written after the rows and says how many of them count, so that a crash in between costs nothing.
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
from mopo_agents.runs.state.append_log import AppendLog
from mopo_agents.runs.state.generators import global_generators, set_global_generators
from mopo_agents.runs.state.state_file import read_state, restoring, write_state
from mopo_env.errors import ConfigError

__all__ = ["Checkpoint"]

_NAME = "training"
_ROWS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class Checkpoint:
    """Where the training of one agent in one environment goes on from.

    Saving moves no generator and changes nothing of the run: with checkpoints or without, it ends with the same bits.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = AppendLog(folder / "rows")

    def save(self, agent: OffPolicyAlgorithm, env: gym.Env[Any, Any], notes: dict[str, Any]) -> None:
        """Write where the run stands; to be called between two steps, when all updates of the last one are done.

        Args:
            agent: Its replay buffer must have room for the whole run.
            env: The one environment that the agent acts in.
            notes: What else the caller must know to go on; numbers and strings.

        Raises:
            ConfigError: If the replay buffer has overflowed.
            StoreError: If it cannot be written; the previous checkpoint is intact.
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
        """Put a new agent and its new environment where the run stood.

        Returns:
            The notes that were saved, or None if there is nothing to go on from.

        Raises:
            ConfigError: If the agent has no room for all rows.
            StoreError: If the files are damaged, or are those of another kind of run.
        """
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
            env.reset()  # so that no wrapper asks for it later; all that it did is replaced here
            set_environment_state(env, state["environment"])
            set_agent_state(agent, state["agent"])
            set_global_generators(state["generators"])
        return dict(state.get("notes", {}))


def _buffer_of(agent: OffPolicyAlgorithm) -> ReplayBuffer:
    buffer = agent.replay_buffer
    if not isinstance(buffer, ReplayBuffer) or buffer.n_envs != 1:
        raise ConfigError("only agents with a plain replay buffer and one environment can be trained from checkpoints.")
    return buffer
