"""Train, evaluate and compare Stable-Baselines3 agents on the environments of `mopo_env`.

Each name is imported at its first use, so that the command line starts fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mopo_env._utils.lazy import lazy_names

if TYPE_CHECKING:
    from mopo_agents.agents import AGENTS, make_agent, make_offline_agent
    from mopo_agents.collection.config import CollectConfig
    from mopo_agents.collection.recipes import collect
    from mopo_agents.collection.replay_rows import transitions_from_replay_buffer
    from mopo_agents.evaluation import Evaluation, evaluate
    from mopo_agents.export import export_policy
    from mopo_agents.policies import load_policy, save_policy
    from mopo_agents.replay_buffer import MixedReplayBuffer
    from mopo_agents.runs.config import TrainConfig
    from mopo_agents.runs.methods import METHODS, Method
    from mopo_agents.runs.outcome import TrainResult
    from mopo_agents.runs.resume import resume
    from mopo_agents.runs.train import train
    from mopo_agents.vec_env import PenalizedModelVecEnv

_HOMES = {
    "mopo_agents.agents": ("AGENTS", "make_agent", "make_offline_agent"),
    "mopo_agents.collection.config": ("CollectConfig",),
    "mopo_agents.collection.recipes": ("collect",),
    "mopo_agents.collection.replay_rows": ("transitions_from_replay_buffer",),
    "mopo_agents.runs.config": ("TrainConfig",),
    "mopo_agents.evaluation": ("Evaluation", "evaluate"),
    "mopo_agents.runs.methods": ("METHODS", "Method"),
    "mopo_agents.export": ("export_policy",),
    "mopo_agents.replay_buffer": ("MixedReplayBuffer",),
    "mopo_agents.policies": ("load_policy", "save_policy"),
    "mopo_agents.runs.outcome": ("TrainResult",),
    "mopo_agents.runs.resume": ("resume",),
    "mopo_agents.runs.train": ("train",),
    "mopo_agents.vec_env": ("PenalizedModelVecEnv",),
}

__all__ = [
    "AGENTS",
    "METHODS",
    "CollectConfig",
    "Evaluation",
    "Method",
    "MixedReplayBuffer",
    "PenalizedModelVecEnv",
    "TrainConfig",
    "TrainResult",
    "collect",
    "evaluate",
    "export_policy",
    "load_policy",
    "make_agent",
    "make_offline_agent",
    "resume",
    "save_policy",
    "train",
    "transitions_from_replay_buffer",
]


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
