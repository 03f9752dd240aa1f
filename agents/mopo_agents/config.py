"""`TrainConfig`: every choice of a training run, for Python and the command line alike."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional

from mopo_env.checks import check_integer, check_number
from mopo_env.errors import ConfigError
from mopo_env.tasks import get_task

__all__ = ["MODEL_OPTIONS", "TrainConfig"]

# What is said about the model and its rollouts; agents that learn from the dataset alone have neither.
MODEL_OPTIONS = (
    "rollout_batch_size",
    "horizon",
    "penalty_coef",
    "penalty",
    "random_rollouts",
    "real_ratio",
    "retain_epochs",
    "ensemble",
)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train an agent on a task; the defaults are the paper's.

    Attributes:
        task: A task's name or id; `mopo tasks` lists them.
        agent: An agent's name, such as SAC, TD3, TQC or PPO; BC, BEAR, BRAC-p, BRAC-v and offline-SAC learn from the
            dataset alone and refuse whatever is said about the model.
        epochs: How often to roll the model out and then update the agent.
        gradient_steps: Updates in an epoch, for off-policy agents.
        rollout_batch_size: b, model rollouts in an epoch; None: 50,000, or 1,024 for on-policy agents.
        horizon: h, steps of a rollout; None: the task's.
        penalty_coef: λ, the weight of the penalty; None: the task's.
        penalty: learned-variance, ensemble-disagreement or none.
        random_rollouts: Whether uniform random actions, not the agent's, roll the model out; None: the task's.
        real_ratio: f, the share of real rows in a batch.
        retain_epochs: Epochs whose model rows the buffer keeps.
        dataset: A folder or a Minari id; None: the task's data.
        ensemble: A folder that holds an ensemble; None: the dataset's.
        evaluate_every: Epochs between evaluations in the real environment; 0: never. For the log only.
        evaluation_episodes: Episodes of an evaluation.
        checkpoint_every: Epochs between saved policies; 0: only the last one.
        seed: Of the agent and the rollouts.
        device: Where model and agent compute, such as cpu or cuda.
        threads: CPU threads of PyTorch; more than one is slower where cores are shared.
    """

    task: Positional[str]
    agent: str = "SAC"
    epochs: int = 500
    gradient_steps: int = 1000
    rollout_batch_size: int | None = None
    horizon: int | None = None
    penalty_coef: float | None = None
    penalty: str = "learned-variance"
    random_rollouts: bool | None = None
    real_ratio: float = 0.05
    retain_epochs: int = 5
    dataset: str | None = None
    ensemble: str | None = None
    evaluate_every: int = 10
    evaluation_episodes: int = 10
    checkpoint_every: int = 50
    seed: int = 0
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            ConfigError: If one has the wrong type or lies outside its range; the message names it.
        """
        get_task(self.task)
        for name in ("epochs", "gradient_steps", "retain_epochs", "evaluation_episodes", "threads"):
            check_integer(name, getattr(self, name))
        for name in ("evaluate_every", "checkpoint_every", "seed"):
            check_integer(name, getattr(self, name), minimum=0)
        for name in ("rollout_batch_size", "horizon"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name))
        if self.penalty_coef is not None:
            check_number("penalty_coef", self.penalty_coef, minimum=0.0)
        if self.random_rollouts is not None and not isinstance(self.random_rollouts, bool):
            raise ConfigError(f"random_rollouts: expected True, False or None, found {self.random_rollouts!r}.")
        check_number("real_ratio", self.real_ratio, minimum=0.0, maximum=1.0)
