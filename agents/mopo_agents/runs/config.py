"""`TrainConfig`: every choice of a training run, for Python and the command line alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tyro.conf import Positional

from mopo_env._utils.options import check_integer, check_number
from mopo_env._utils.options import MemberPer, Members, Precision, Units, check_choice
from mopo_env.errors import ConfigError
from mopo_env.datasets.locate import resolve_task
from mopo_env.tasks import Task

__all__ = ["MODEL_OPTIONS", "TrainConfig"]

MODEL_OPTIONS = (
    "rollout_batch_size",
    "horizon",
    "penalty_coef",
    "penalty",
    "penalty_members",
    "penalty_reward",
    "penalty_units",
    "halt_threshold",
    "halt_reward",
    "member_per",
    "deterministic",
    "termination",
    "random_rollouts",
    "real_ratio",
    "retain_epochs",
    "ensemble",
    "precision",
    "overlap",
)
"""What is said about the model and its rollouts; agents that learn from the dataset alone have neither."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train an agent on a task; the defaults are the paper's.

    Attributes:
        task: A task's name or id (`mopo tasks` lists them), or data of your own: a folder or a Minari id.
        method: A row of the paper's tables that sets other options, as far as they are left open here; `mopo methods`
            lists them. None: the agent's, if it needs no model, or else mopo-no-lip, what the paper's code runs.
        agent: An agent's name, such as SAC, TD3, TQC or PPO; None: the method's, or else the task's, which is SAC where
            actions are vectors. BC, BEAR, BRAC-p, BRAC-v and offline-SAC learn from the dataset alone, and refuse what
            is said about the model.
        epochs: How often to roll the model out, where there is one, and then update the agent.
        gradient_steps: Updates in an epoch, for off-policy agents.
        rollout_batch_size: b, model rollouts in an epoch; None: 50,000, or 1,024 for on-policy agents.
        horizon: h, steps of a rollout; None: the task's.
        penalty_coef: λ, the weight of the penalty; None: the task's.
        penalty: learned-variance, ensemble-disagreement, max-pairwise-difference, ensemble-std, ensemble-variance,
            log-likelihood-variance, leave-one-out-kl, learned-variance-frobenius, oracle or none; None: the method's.
        penalty_members: Which members the penalty asks, all or elites; None: the penalty's default.
        penalty_reward: Whether the reward counts beside the next observation; None: the penalty's default.
        penalty_units: Whether the penalty is of raw or normalised outputs; None: the penalty's default.
        halt_threshold: Where the penalty is above it, the rollout ends and pays halt_reward (MOReL); None: never.
        halt_reward: What halting pays; None: -100 times the largest |r| of the dataset.
        member_per: Whether every step or every rollout picks the member it is drawn from.
        deterministic: Whether the model steps to its mean instead of drawing.
        target_entropy: Of SAC and its kin; None: the agent's own, minus the number of action dimensions. The paper's
            code has -3 everywhere.
        termination: A rule's name, or learned for the fitted one beside the ensemble; None: the task's, for own data
            the learned one or, if there is none, never.
        random_rollouts: Whether uniform random actions, not the agent's, roll the model out; None: the task's.
        standardise: Whether the policy scales observations by the dataset's mean and standard deviation; None: for own
            data, whose columns have units, but not with SBX's agents, which cannot.
        real_ratio: f, the share of real rows in a batch.
        retain_epochs: Epochs whose model rows the buffer keeps.
        dataset: A folder or a Minari id; None: the task's data.
        ensemble: A folder that holds an ensemble; None: the dataset's.
        real_env: The Gymnasium id of an environment to evaluate in; None: the task's; own data have none.
        evaluate_every: Epochs between evaluations in the real environment; 0: never. For the log only.
        evaluation_episodes: Episodes of an evaluation.
        checkpoint_every: Epochs between saved policies; 0: only the last one.
        seed: Of the agent and the rollouts.
        precision: Of the numbers between the model's hidden layers: float32, or bfloat16, which is faster.
        overlap: Whether the rollouts of an epoch run on a second core beside the updates of the epoch before, by a
            policy that is one epoch older.
        device: Where model and agent compute, such as cpu or cuda.
        threads: CPU threads of PyTorch; more than one is slower where cores are shared.
    """

    task: Positional[str]
    method: str | None = None
    agent: str | None = None
    epochs: int = 500
    gradient_steps: int = 1000
    rollout_batch_size: int | None = None
    horizon: int | None = None
    penalty_coef: float | None = None
    penalty: str | None = None
    penalty_members: Members | None = None
    penalty_reward: bool | None = None
    penalty_units: Units | None = None
    halt_threshold: float | None = None
    halt_reward: float | None = None
    member_per: MemberPer = "step"
    deterministic: bool = False
    target_entropy: float | None = None
    termination: str | None = None
    random_rollouts: bool | None = None
    standardise: bool | None = None
    real_ratio: float = 0.05
    retain_epochs: int = 5
    dataset: str | None = None
    ensemble: str | None = None
    real_env: str | None = None
    evaluate_every: int = 10
    evaluation_episodes: int = 10
    checkpoint_every: int = 50
    seed: int = 0
    precision: Precision = "float32"
    overlap: bool = False
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            ConfigError: If one has the wrong type or lies outside its range; the message names it.
        """
        resolve_task(self.task, real_env=self.real_env)
        for name in ("epochs", "gradient_steps", "retain_epochs", "evaluation_episodes", "threads"):
            check_integer(name, getattr(self, name))
        for name in ("evaluate_every", "checkpoint_every", "seed"):
            check_integer(name, getattr(self, name), minimum=0)
        for name in ("rollout_batch_size", "horizon"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name))
        if self.penalty_coef is not None:
            check_number("penalty_coef", self.penalty_coef, minimum=0.0)
        for name in ("halt_threshold", "halt_reward", "target_entropy"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name))
        for name in ("random_rollouts", "standardise", "penalty_reward"):
            if not isinstance(getattr(self, name), bool | None):
                raise ConfigError(f"{name}: expected True, False or None, found {getattr(self, name)!r}.")
        for name in ("deterministic", "overlap"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name}: expected True or False, found {getattr(self, name)!r}.")
        check_choice("member_per", self.member_per, MemberPer)
        check_choice("precision", self.precision, Precision)
        for name, choices in (("penalty_members", Members), ("penalty_units", Units)):
            if getattr(self, name) is not None:
                check_choice(name, getattr(self, name), choices)
        check_number("real_ratio", self.real_ratio, minimum=0.0, maximum=1.0)

    def resolve(self) -> Task:
        """Return the task with what these options change of it, and nothing left open."""
        given: dict[str, Any] = {
            "horizon": self.horizon,
            "penalty_coef": self.penalty_coef,
            "termination": self.termination,
        }
        if self.random_rollouts is not None:
            given["rollout_policy"] = "random" if self.random_rollouts else "agent"
        task = resolve_task(self.task, ensemble=self.ensemble, real_env=self.real_env)
        return replace(task, **{name: value for name, value in given.items() if value is not None})
