"""Registers one Gymnasium id for every task, and the real environments that Gymnasium lacks.

Light on purpose: whatever is heavy is imported when an id is made.
"""

from __future__ import annotations

import gymnasium as gym

from mopo_env.tasks import TASKS

__all__ = ["REWARD_ENV_IDS", "TOY_ID", "register_all"]

TOY_ID = "MOPO-linear-gaussian"
REWARD_ENV_IDS = (
    "mopo/HalfCheetahCapped-v0",
    "mopo/HalfCheetahJump-v0",
    "mopo/AntForward-v0",
    "mopo/AntAngle-v0",
)


def register_all() -> None:
    """Register every id; `import mopo_env` calls this once."""
    for task in TASKS.values():
        gym.register(
            id=task.id,
            entry_point="mopo_env.envs.make:make_env",
            vector_entry_point="mopo_env.envs.make:make_vector_env",
            kwargs={"task": task.name},
        )
    gym.register(
        id=TOY_ID,
        entry_point="mopo_env.toys.linear_gaussian:make_toy_env",
        vector_entry_point="mopo_env.toys.linear_gaussian:make_toy_vector_env",
    )
    for id_ in REWARD_ENV_IDS:
        class_name = id_.removeprefix("mopo/").removesuffix("-v0")
        gym.register(id=id_, entry_point=f"mopo_env.real.reward_envs:{class_name}", max_episode_steps=1_000)
