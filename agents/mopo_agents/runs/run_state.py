"""The state of an unfinished training run, from which it resumes bit for bit: save it between two epochs.

The model rows of the replay buffer are appended to a log, from which those that have left the buffer are removed. All
other state is in one small file, which each save replaces. The file is written after the new rows and before the old
ones are removed, and says which rows count. So a crash at any moment leaves a complete state.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from mopo_agents._utils.trees import differing
from mopo_agents.baselines.offline import OfflineAgent
from mopo_agents.replay_buffer import MixedReplayBuffer
from mopo_agents.runs.state.agent_state import agent_state, set_agent_state, unsaved_state
from mopo_agents.runs.state.files import AppendLog, read_state, remove_strays, restoring, write_state
from mopo_agents.runs.state.generators import (
    generator_state,
    global_generators,
    set_generator_state,
    set_global_generators,
)
from mopo_agents.sb3.overlap import OverlappedRollouts
from mopo_agents.vec_env import PenalizedModelVecEnv
from mopo_env._utils.store import library_versions

_NAME = "training"


class RunState:
    """Saves and restores a run of one agent. Saving draws no random numbers and does not change the run."""

    def __init__(self, folder: Path) -> None:
        """Set the folder of the state, which need not exist."""
        self._folder = folder
        self._log = AppendLog(folder / "rows")

    def save(self, agent: BaseAlgorithm, notes: dict[str, Any]) -> None:
        """Write the state; `restore` returns the notes.

        Raises:
            StoreError: If a file cannot be written. The previous state is then intact.
        """
        state = {
            "agent": agent_state(agent),
            "generators": global_generators(),
            "notes": notes,
            "computed_with": computed_with(agent),
            **_state_of_rollouts(agent),
        }
        oldest = newest = 0
        if (buffer := _buffer_of(agent)) is not None:
            newest = agent.num_timesteps // buffer.n_envs if buffer.size() else 0
            oldest = newest - buffer.size()
            new = min(newest - self._log.position, buffer.size())
            if new:
                self._log.position = newest - new
                self._log.append({"steps": buffer.newest_steps(new)}, length=new)
            oldest = self._log.start_of(oldest)
            state["buffer"] = {
                "oldest": oldest,
                "newest": newest,
                "generator": generator_state(buffer._generator),
            }
        write_state(self._folder, _NAME, state)
        self._log.keep_only(oldest, newest)

    def restore(self, agent: BaseAlgorithm) -> tuple[dict[str, Any], list[str]] | None:
        """Restore the state in a new agent with the same options.

        Returns:
            The notes, and what is different on this machine: if there is anything, the resumed run may differ in the
            last digits from the uninterrupted one. None: there is no state.
        """
        state = read_state(self._folder, _NAME)
        if state is None:
            return None
        with restoring(self._folder):
            remove_strays(self._folder, _NAME)
            set_agent_state(agent, state["agent"])
            if (buffer := _buffer_of(agent)) is not None:
                saved = state["buffer"]
                parts = self._log.read(start=saved["oldest"], until=saved["newest"])
                buffer.restore([part["steps"] for part in parts], num_added=saved["newest"])
                set_generator_state(buffer._generator, saved["generator"])
                self._log.keep_only(saved["oldest"], saved["newest"])
            _restore_rollouts(agent, state)
            set_global_generators(state["generators"])
            differences = differing(state["computed_with"], computed_with(agent))
            if agent.device.type != "cpu":
                differences.append(f"device: on {agent.device.type}, sums are not always in the same order")
            return state.get("notes", {}), differences


def computed_with(agent: BaseAlgorithm) -> dict[str, str]:
    """Return what the last digits of a result depend on, beside the options of the run."""
    return {
        **library_versions(),
        "processor": f"{platform.system()} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "device": agent.device.type,
        "threads": str(torch.get_num_threads()),
    }


def obstacle_to_resume(agent: BaseAlgorithm) -> str | None:
    """Return the reason why a run of an agent cannot be saved and resumed, or None."""
    env, buffer = agent.env, getattr(agent, "replay_buffer", None)
    if not isinstance(env, PenalizedModelVecEnv) and not isinstance(agent, OfflineAgent):
        return f"its environment is a {type(env).__name__}"
    if buffer is not None and type(buffer) is not MixedReplayBuffer:
        return f"its replay buffer is a {type(buffer).__name__}"
    return unsaved_state(agent)


def _buffer_of(agent: BaseAlgorithm) -> MixedReplayBuffer | None:
    """Return the agent's replay buffer, None for an on-policy agent."""
    buffer = getattr(agent, "replay_buffer", None)
    return buffer if isinstance(buffer, MixedReplayBuffer) else None


def _state_of_rollouts(agent: BaseAlgorithm) -> dict[str, Any]:
    """Return the state of the model rollouts; the next ones may already be under way."""
    if not isinstance(agent.env, PenalizedModelVecEnv):
        return {}
    if isinstance(agent, OverlappedRollouts) and (pending := agent.get_pending()) is not None:
        return {"pending": pending}
    return {"env": agent.env.get_state()}


def _restore_rollouts(agent: BaseAlgorithm, state: dict[str, Any]) -> None:
    if not isinstance(agent.env, PenalizedModelVecEnv):
        return
    if isinstance(agent, OverlappedRollouts) and "pending" in state:
        agent.set_pending(state["pending"], agent.env)
    else:
        agent.env.set_state(state["env"])
