"""`TrainConfig`: every choice of a training run, for Python and the command line alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from tyro.conf import Positional
from tyro.constructors import PrimitiveConstructorSpec

from mopo_env._utils.options import (
    MemberPer,
    Members,
    Precision,
    Units,
    check_boolean,
    check_choice,
    check_fields,
    check_integer,
    check_number,
)
from mopo_env._utils.store import json_ready
from mopo_env.errors import ConfigError, StoreError

__all__ = ["NEEDS", "ROLES", "Need", "Role", "TrainConfig"]

Role = Literal["source", "method", "size", "evaluation", "seed", "how"]
"""What an option is to a run.

source: It names what a run is made of. The identity of a run holds what the name stands for.
method: It changes what is learned. A report shows it beside the method, and leaves the paper's number out.
size: It changes how much is computed. A report has columns for these.
evaluation: It changes what is measured, and nothing of what is learned.
seed: Runs that differ in nothing else are seeds of one another.
how: It is about the machine and the files, and no part of the identity. The device belongs here: it changes the last
    digits and the stream of random numbers, as another seed would. Precision and overlap do not: they change what is
    learned on every device.
"""
Need = Literal["model", "off-policy"]
"""What an agent must have for an option to mean something: a model to roll out, or a buffer to learn from."""

AgentOptions = Annotated[
    Mapping[str, Any],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=lambda words: json.loads(words[0]),
        is_instance=lambda value: isinstance(value, Mapping),
        str_from_instance=lambda value: [json.dumps(value)],
    ),
]


def _is(role: Role, *needs: Need) -> dict[str, Any]:
    return {"role": role, "needs": frozenset(needs)}


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
        agent_options: Arguments of the agent's class, such as {"learning_rate": 1e-4}. They are data, since they are
            written into config.json; a class or a function is given by a subclass of the agent.
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
        evaluation_episodes: Episodes of an evaluation; each evaluation of a run has start states of its own.
        checkpoint_every: Epochs between saved policies; 0: only the last one.
        seed: Of the agent and the rollouts.
        precision: Of the numbers between the model's hidden layers: float32, or bfloat16, which is faster.
        overlap: Whether the rollouts of an epoch run on a second core beside the updates of the epoch before, by a
            policy that is one epoch older.
        fast: Whether rollouts and SAC's updates run by this package's own faster code, where the agent is one that it
            knows; results agree with Stable-Baselines3's to rounding.
        device: Where model and agent compute, such as cpu or cuda.
        threads: CPU threads of PyTorch; more than one is slower where cores are shared.
    """

    task: Positional[str] = field(metadata=_is("source"))
    method: str | None = field(default=None, metadata=_is("source"))
    agent: str | None = field(default=None, metadata=_is("source"))
    agent_options: AgentOptions = field(default_factory=dict, metadata=_is("method"))
    epochs: int = field(default=500, metadata=_is("size"))
    gradient_steps: int = field(default=1000, metadata=_is("size", "off-policy"))
    rollout_batch_size: int | None = field(default=None, metadata=_is("size", "model"))
    horizon: int | None = field(default=None, metadata=_is("method", "model"))
    penalty_coef: float | None = field(default=None, metadata=_is("method", "model"))
    penalty: str | None = field(default=None, metadata=_is("method", "model"))
    penalty_members: Members | None = field(default=None, metadata=_is("method", "model"))
    penalty_reward: bool | None = field(default=None, metadata=_is("method", "model"))
    penalty_units: Units | None = field(default=None, metadata=_is("method", "model"))
    halt_threshold: float | None = field(default=None, metadata=_is("method", "model"))
    halt_reward: float | None = field(default=None, metadata=_is("method", "model"))
    member_per: MemberPer = field(default="step", metadata=_is("method", "model"))
    deterministic: bool = field(default=False, metadata=_is("method", "model"))
    target_entropy: float | None = field(default=None, metadata=_is("method"))
    termination: str | None = field(default=None, metadata=_is("method", "model"))
    random_rollouts: bool | None = field(default=None, metadata=_is("method", "model", "off-policy"))
    standardise: bool | None = field(default=None, metadata=_is("method"))
    real_ratio: float = field(default=0.05, metadata=_is("method", "model", "off-policy"))
    retain_epochs: int = field(default=5, metadata=_is("method", "model", "off-policy"))
    dataset: str | None = field(default=None, metadata=_is("source"))
    ensemble: str | None = field(default=None, metadata=_is("source", "model"))
    real_env: str | None = field(default=None, metadata=_is("source"))
    evaluate_every: int = field(default=10, metadata=_is("evaluation"))
    evaluation_episodes: int = field(default=10, metadata=_is("evaluation"))
    checkpoint_every: int = field(default=50, metadata=_is("how"))
    seed: int = field(default=0, metadata=_is("seed"))
    precision: Precision = field(default="float32", metadata=_is("method", "model"))
    overlap: bool = field(default=False, metadata=_is("method", "model", "off-policy"))
    fast: bool = field(default=True, metadata=_is("how"))
    device: str = field(default="cpu", metadata=_is("how"))
    threads: int = field(default=1, metadata=_is("how"))

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            ConfigError: If one has the wrong type or lies outside its range; the message names it.
        """
        if not isinstance(self.real_env, str | None):
            raise ConfigError(f"real_env: expected the id of a Gymnasium environment, found {self.real_env!r}.")
        object.__setattr__(self, "agent_options", _as_data(self.agent_options))
        check_fields(self, check_integer, "epochs", "gradient_steps", "retain_epochs", "evaluation_episodes", "threads")
        check_fields(self, check_integer, "evaluate_every", "checkpoint_every", "seed", minimum=0)
        check_fields(self, check_integer, "rollout_batch_size", "horizon", optional=True)
        check_fields(self, check_number, "penalty_coef", optional=True, minimum=0.0)
        check_fields(self, check_number, "halt_threshold", "halt_reward", "target_entropy", optional=True)
        check_fields(self, check_number, "real_ratio", minimum=0.0, maximum=1.0)
        check_fields(self, check_boolean, "random_rollouts", "standardise", "penalty_reward", optional=True)
        check_fields(self, check_boolean, "deterministic", "overlap", "fast")
        check_fields(self, check_choice, "member_per", choices=MemberPer)
        check_fields(self, check_choice, "precision", choices=Precision)
        check_fields(self, check_choice, "penalty_members", optional=True, choices=Members)
        check_fields(self, check_choice, "penalty_units", optional=True, choices=Units)


ROLES: dict[str, Role] = {option.name: option.metadata["role"] for option in fields(TrainConfig)}
NEEDS: dict[str, frozenset[Need]] = {option.name: option.metadata["needs"] for option in fields(TrainConfig)}


def _as_data(options: Any) -> dict[str, Any]:
    """Return an agent's options as config.json gives them back.

    Raises:
        ConfigError: If they are no mapping, hold what JSON cannot, or say again what an option of the run says.
    """
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise ConfigError(f"agent_options: expected a mapping from names to values, found {options!r}.")
    twice = [name for name in options if name in NEEDS]
    if twice:
        raise ConfigError(f"agent_options: found {', '.join(twice)}. Set it as an option of the run, not of the agent.")
    try:
        data: dict[str, Any] = json.loads(json.dumps(json_ready(options)))
    except StoreError as error:
        raise ConfigError(
            f"agent_options: expected data that JSON can hold, since they are written into config.json: {error} Write "
            "a subclass of the agent that sets it, and pass agent_class=; or use make_agent and its own `learn`."
        ) from error
    return data
