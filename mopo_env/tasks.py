"""The table of tasks: what each id means, in one place."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import gymnasium as gym

from mopo_env._utils.options import check_text
from mopo_env.errors import UnknownNameError

ID_PREFIX = "MOPO-"
Recipe = Literal["random", "medium", "mixed", "med-expert", "replay"]
RolloutPolicy = Literal["agent", "random"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to train on: a setting of the paper, one of this project, or the user's own data.

    The defaults are those of the user's own data.

    Attributes:
        name: Such as ``"halfcheetah-mixed"``; the id is ``MOPO-`` and this. For own data, the folder or the Minari id.
        recipe: How the data are collected (paper, section 5.1; "replay": section 5.2); None for own data.
        real_env_id: The Gymnasium environment in which policies are evaluated.
        behaviour_env_id: The Gymnasium environment in which data are recorded. It differs if rewards are relabelled.
        termination: Name of the rule in `mopo_env.terminations`, or ``"learned"`` for the one beside the ensemble.
        behaviour_threshold: Mean return of a half-trained behaviour policy; None if the recipe does not need it.
        horizon: h, the length of a model rollout (paper, Table 4 and Appendix C.2).
        penalty_coef: λ (paper, Table 4 and Appendix C.2).
        rollout_policy: Who acts in model rollouts: the agent, or uniform random actions (paper, Appendix C.1).
        agent: Name of the default agent.
        reference_min: D4RL's return of a random policy, 0 on the normalised scale; None if D4RL has none.
        reference_max: D4RL's return of an expert, 100 on the normalised scale; None if D4RL has none.
        paper_dataset_mean: Mean episode return of the paper's own batch (Tables 1 and 2); None if it has no such task.
        paper_dataset_max: Largest episode return of the paper's own batch (Tables 1 and 2).
        paper_return: The return that the paper reports for MOPO (Tables 1 and 2).
    """

    name: str
    recipe: Recipe | None = None
    real_env_id: str | None = None
    behaviour_env_id: str | None = None
    termination: str = "never"
    behaviour_threshold: float | None = None
    horizon: int = 5
    penalty_coef: float = 1.0
    rollout_policy: RolloutPolicy = "agent"
    agent: str = "SAC"
    reference_min: float | None = None
    reference_max: float | None = None
    paper_dataset_mean: float | None = None
    paper_dataset_max: float | None = None
    paper_return: float | None = None

    @property
    def id(self) -> str:
        """The name under which Gymnasium knows the task. Own data are not registered: this is their `label`."""
        return self.label if self.recipe is None else ID_PREFIX + self.name

    @property
    def label(self) -> str:
        """The name without the folders before it, for tables and file names."""
        return Path(self.name).resolve().name

    @property
    def how_to_get_data(self) -> str:
        """The advice for a user who has no data for this task."""
        return (
            f"Collect them with `mopo collect {self.name}`, or use your own, a folder or a Minari id: dataset=… "
            "(--dataset FOLDER)."
        )

    def normalised(self, episode_return: float) -> float | None:
        """Put a return on D4RL's scale: 0 is a random policy, 100 an expert (v2 environments). None without a scale."""
        if self.reference_min is None or self.reference_max is None:
            return None
        return 100.0 * (episode_return - self.reference_min) / (self.reference_max - self.reference_min)


# robot: environment; D4RL's returns of a random policy and of an expert
_ROBOTS = {
    "halfcheetah": ("HalfCheetah-v5", -280.178953, 12135.0),
    "hopper": ("Hopper-v5", -20.272305, 3234.3),
    "walker2d": ("Walker2d-v5", 1.629008, 4592.3),
}

# recipe, robot: h, λ (Table 4); mean and max return of the paper's batch, MOPO's return (Table 1)
_ROWS: dict[tuple[Recipe, str], tuple[int, float, float, float, float]] = {
    ("random", "halfcheetah"): (5, 0.5, -303.2, -0.1, 3679.8),
    ("random", "hopper"): (5, 1.0, 299.26, 365.9, 412.8),
    ("random", "walker2d"): (1, 1.0, 0.9, 57.3, 596.3),
    ("medium", "halfcheetah"): (1, 1.0, 3953.0, 4410.7, 4706.9),
    ("medium", "hopper"): (5, 5.0, 1021.7, 3254.3, 840.9),
    ("medium", "walker2d"): (5, 5.0, 498.4, 3752.7, 645.5),
    ("mixed", "halfcheetah"): (5, 1.0, 2300.6, 4834.2, 6418.3),
    ("mixed", "hopper"): (1, 5.0, 470.5, 1377.9, 2988.7),
    ("mixed", "walker2d"): (1, 1.0, 358.4, 1956.5, 1540.7),
    ("med-expert", "halfcheetah"): (5, 5.0, 8074.9, 12940.2, 6913.5),
    ("med-expert", "hopper"): (5, 1.0, 1850.5, 3760.5, 1663.5),
    ("med-expert", "walker2d"): (1, 2.0, 1062.3, 5408.6, 2527.1),
}


def _task(recipe: Recipe, robot: str) -> Task:
    env_id, reference_min, reference_max = _ROBOTS[robot]
    horizon, penalty_coef, dataset_mean, dataset_max, paper_return = _ROWS[recipe, robot]
    return Task(
        name=f"{robot}-{recipe}",
        recipe=recipe,
        real_env_id=env_id,
        behaviour_env_id=env_id,
        termination=robot,
        # The paper gives no threshold. With this one, "medium" has the mean return of the paper's own batch.
        behaviour_threshold=None if recipe == "random" else _ROWS["medium", robot][2],
        horizon=horizon,
        penalty_coef=penalty_coef,
        reference_min=reference_min,
        reference_max=reference_max,
        paper_dataset_mean=dataset_mean,
        paper_dataset_max=dataset_max,
        paper_return=paper_return,
    )


# The tasks that need behaviour outside the data (section 5.2): numbers from Table 2 and Appendix C.2. D4RL's references
# belong to other rewards, so these two have no normalised scale.
_OUT_OF_DISTRIBUTION = (
    Task(
        name="halfcheetah-jump",
        recipe="replay",
        real_env_id="mopo/HalfCheetahJump-v0",
        behaviour_env_id="mopo/HalfCheetahCapped-v0",
        termination="halfcheetah",
        horizon=5,
        penalty_coef=1.0,
        rollout_policy="random",
        paper_dataset_mean=-1022.6,
        paper_dataset_max=1808.6,
        paper_return=4140.6,
    ),
    Task(
        name="ant-angle",
        recipe="replay",
        real_env_id="mopo/AntAngle-v0",
        behaviour_env_id="mopo/AntForward-v0",
        termination="ant",
        horizon=25,
        penalty_coef=2.0,
        rollout_policy="random",
        paper_dataset_mean=866.7,
        paper_dataset_max=2311.9,
        paper_return=2502.2,
    ),
)

# Discrete actions, without MuJoCo; not in the paper. λ = 1 is the paper's most common value. A pole that is pushed one
# way falls within about ten steps. h is twice that: with h = 5 no rollout saw the cost of falling, the values of the
# states in which rollouts end were never trained, and DQN diverged.
_CARTPOLE = Task(
    name="cartpole-mixed",
    recipe="mixed",
    real_env_id="CartPole-v1",
    behaviour_env_id="CartPole-v1",
    termination="cartpole",
    agent="DQN",
    horizon=20,
    penalty_coef=1.0,
)

TASKS: dict[str, Task] = {
    task.name: task for task in (*(_task(*row) for row in _ROWS), *_OUT_OF_DISTRIBUTION, _CARTPOLE)
}


def get_task(name: str) -> Task:
    """Look a task up by name or id.

    Raises:
        ConfigError: If it is no text.
        UnknownNameError: If no task has this name. The message holds the nearest names.
    """
    try:
        return TASKS[check_text("task", name).removeprefix(ID_PREFIX)]
    except KeyError:
        raise UnknownNameError("task", name, TASKS) from None


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
