"""`TrainConfig`: all options of a training run, for Python and the command line."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from tyro.conf import Positional

from mopo_agents.runs.agent_options import AgentOptions, as_data
from mopo_env._utils.options import (
    CONFORMAL,
    DEFAULT_MARGIN,
    DEFAULT_QUANTILE,
    MemberPer,
    Members,
    OnExit,
    PenaltyCoef,
    Precision,
    Units,
    check_boolean,
    check_choice,
    check_fields,
    check_integer,
    check_number,
    check_text,
)
from mopo_env.errors import ConfigError

Role = Literal["source", "method", "size", "evaluation", "seed", "how"]
"""What an option means for a run.

- source: Names an input of the run. The run's identity holds the content of that input, not its name.
- method: Changes what is learned. A report shows it beside the method and omits the paper's number.
- size: Changes how much is computed. A report has a column for it.
- evaluation: Changes only what is measured.
- seed: Runs that differ only in this option are seeds of one experiment.
- how: Concerns the machine and the files. It is not part of the identity. The device is here because it acts like
    another seed: it changes the last digits and the random numbers. Precision and overlap change what is learned.
"""
Need = Literal["model", "off-policy"]
"""What an agent must have before an option applies to it: a model to roll out, or a replay buffer."""


def _is(role: Role, *needs: Need) -> dict[str, Any]:
    return {"role": role, "needs": frozenset(needs)}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train an agent on a task. The defaults are the paper's.

    Attributes:
        task: Name or id of a task (`mopo tasks` lists them), or your own data: a folder or a Minari id.
        method: A row of the paper's tables (`mopo methods` lists them). It sets options that you leave open. None: the
            agent's method if the agent needs no model, otherwise ours.
        agent: Name of an agent, such as SAC, TD3, TQC or PPO. None: the method's agent, otherwise the task's, which is
            SAC for continuous actions. BC, BEAR, BRAC-p, BRAC-v and offline-SAC learn from the dataset alone and accept
            no options of the model.
        agent_options: Arguments of the agent's class or of its policy, by name, such as learning_rate=1e-4
            net_arch=[256,256]. config.json records them, so they must be JSON data. To pass a class or a function,
            write a subclass of the agent.
        epochs: Number of epochs. An epoch rolls out the model, if there is one, and then updates the agent.
        gradient_steps: Updates in each epoch, for off-policy agents.
        rollout_batch_size: b, the number of rollouts in each epoch. None: 50000, or 1024 for on-policy agents.
        horizon: h, the number of steps in each rollout. None: the task's.
        penalty_coef: λ, the weight of the penalty. None: the task's. conformal: the λ with which λ u bounds the
            model's error on nine of ten rows that its fit never saw.
        mean_penalty: Chooses λ so that this is the mean of λ u on the data, whatever the units of u. None: see
            penalty_coef.
        penalty: learned-variance, ensemble-disagreement, max-pairwise-difference, ensemble-std, ensemble-variance,
            log-likelihood-variance, leave-one-out-kl, learned-variance-frobenius, nearest-neighbour, oracle, none, or
            your own as module:function. None: the method's.
        penalty_members: Ensemble members that the penalty uses: all or elites. None: the penalty's default.
        penalty_reward: Whether the penalty includes the uncertainty of the reward. None: the penalty's default.
        penalty_units: Units of the outputs that the penalty uses: raw or normalised. None: the penalty's default.
        envelope: Whether a rollout ends when it leaves the data. None: the method's, yes but for the paper's methods.
        envelope_margin: A rollout ends when it leaves the range of the data in any column by more than this multiple
            of the range. None: it never does.
        envelope_quantile: A rollout ends when its penalty is above this quantile of the penalties on the data; 1: above
            the largest, as in MOReL. None: it never does.
        exit_reward: Reward of a step that ends a rollout so. None: r_min - λ u_max, the lowest reward and the largest
            penalty of the data; if such a step terminates, the same for ever: divided by 1 - 0.99, and at most 0.
        on_exit: Whether such a step terminates the rollout, or truncates it, so that the agent bootstraps. None: the
            method's, truncate unless it says otherwise.
        member_per: Whether a new ensemble member is drawn for each step or for each rollout. None: the method's, step
            unless it says otherwise.
        deterministic: Whether the model returns its mean instead of a random sample.
        target_entropy: Target entropy of SAC and similar agents. None: the agent's own, minus the number of action
            dimensions. The paper's code uses -3 for every task.
        termination: Name of a termination rule, learned for the rule that `mopo fit-termination` fitted, or your own as
            module:function. None: the task's rule. For your own data: the learned rule if there is one, otherwise
            never.
        random_rollouts: Whether rollouts take uniform random actions instead of the agent's. None: the task's.
        standardise: Whether the policy scales observations by the dataset's mean and standard deviation. None: yes for
            your own data, because their columns have units; no for tasks and for SBX's agents, which cannot do it.
        real_ratio: f, the share of real rows in each batch. None: the method's, 0.05 unless it says otherwise.
        retain_epochs: Number of epochs whose model rows stay in the replay buffer.
        dataset: A folder or a Minari id. None: the task's data.
        ensemble: A folder that holds an ensemble. None: the dataset's, or one fitted for the method.
        allow_other_data: Whether the ensemble may have been fitted to other rows or rewards than the dataset's.
        real_env: Gymnasium id of the environment for evaluation, or module:id for your own. None: the task's; your own
            data have none.
        evaluate_every: Epochs between evaluations in the real environment. 0: never. Training does not use the results.
        evaluation_episodes: Episodes in each evaluation. Every evaluation of a run has different start states.
        score_every: Epochs between scores of the policy in the model alone, without the real environment. The policy
            with the best score is kept. 0: never. Training does not use the results.
        stop_when_collapsing: Whether training stops when the score has lost two fifths of what it had gained.
        checkpoint_every: Epochs between saved policies. A policy with the best evaluation so far is saved too. None: a
            tenth of the run. 0: only the last policy is saved.
        save_every: Minutes between saves of the whole state, from which `mopo train --resume RUN` continues. 0: after
            each epoch. None: never, so an interruption loses the run.
        seed: Seed of the agent and of the rollouts.
        precision: Number format between the model's hidden layers: float32, or bfloat16, which is faster.
        overlap: Whether a second core does the rollouts of an epoch during the updates of the previous epoch. The
            rollouts then use a policy that is one epoch older.
        fast: Whether this package's faster code does the rollouts and SAC's updates, for agents that it supports. The
            results agree with Stable-Baselines3's own code up to rounding.
        device: Where the model and the agent compute, such as cpu or cuda.
        threads: CPU threads of PyTorch. More than one is slower on shared cores.
    """

    task: Positional[str] = field(metadata=_is("source"))
    method: str | None = field(default=None, metadata=_is("source"))
    agent: str | None = field(default=None, metadata=_is("source"))
    agent_options: AgentOptions = field(default_factory=dict, metadata=_is("method"))
    epochs: int = field(default=500, metadata=_is("size"))
    gradient_steps: int = field(default=1000, metadata=_is("size", "off-policy"))
    rollout_batch_size: int | None = field(default=None, metadata=_is("size", "model"))
    horizon: int | None = field(default=None, metadata=_is("method", "model"))
    penalty_coef: PenaltyCoef | None = field(default=None, metadata=_is("method", "model"))
    mean_penalty: float | None = field(default=None, metadata=_is("method", "model"))
    penalty: str | None = field(default=None, metadata=_is("method", "model"))
    penalty_members: Members | None = field(default=None, metadata=_is("method", "model"))
    penalty_reward: bool | None = field(default=None, metadata=_is("method", "model"))
    penalty_units: Units | None = field(default=None, metadata=_is("method", "model"))
    envelope: bool | None = field(default=None, metadata=_is("method", "model"))
    envelope_margin: float | None = field(default=DEFAULT_MARGIN, metadata=_is("method", "model"))
    envelope_quantile: float | None = field(default=DEFAULT_QUANTILE, metadata=_is("method", "model"))
    exit_reward: float | None = field(default=None, metadata=_is("method", "model"))
    on_exit: OnExit | None = field(default=None, metadata=_is("method", "model"))
    member_per: MemberPer | None = field(default=None, metadata=_is("method", "model"))
    deterministic: bool = field(default=False, metadata=_is("method", "model"))
    target_entropy: float | None = field(default=None, metadata=_is("method"))
    termination: str | None = field(default=None, metadata=_is("method", "model"))
    random_rollouts: bool | None = field(default=None, metadata=_is("method", "model", "off-policy"))
    standardise: bool | None = field(default=None, metadata=_is("method"))
    real_ratio: float | None = field(default=None, metadata=_is("method", "model", "off-policy"))
    retain_epochs: int = field(default=5, metadata=_is("method", "model", "off-policy"))
    dataset: str | None = field(default=None, metadata=_is("source"))
    ensemble: str | None = field(default=None, metadata=_is("source", "model"))
    allow_other_data: bool = field(default=False, metadata=_is("how", "model"))
    real_env: str | None = field(default=None, metadata=_is("source"))
    evaluate_every: int = field(default=10, metadata=_is("evaluation"))
    evaluation_episodes: int = field(default=10, metadata=_is("evaluation"))
    score_every: int = field(default=10, metadata=_is("how", "model"))
    stop_when_collapsing: bool = field(default=False, metadata=_is("method", "model"))
    checkpoint_every: int | None = field(default=None, metadata=_is("how"))
    save_every: float | None = field(default=5.0, metadata=_is("how"))
    seed: int = field(default=0, metadata=_is("seed"))
    precision: Precision = field(default="float32", metadata=_is("method", "model"))
    overlap: bool = field(default=False, metadata=_is("method", "model", "off-policy"))
    fast: bool = field(default=True, metadata=_is("how"))
    device: str = field(default="cpu", metadata=_is("how"))
    threads: int = field(default=1, metadata=_is("how"))

    def __post_init__(self) -> None:
        """Refuse every option of a wrong type or outside its range, by a `ConfigError` that names it."""
        check_fields(self, check_text, "task", "device")
        check_fields(self, check_text, "method", "agent", "penalty", "termination", optional=True)
        check_fields(self, check_text, "dataset", "ensemble", "real_env", optional=True)
        check_fields(self, as_data, "agent_options", of_run=NEEDS)
        check_fields(self, check_integer, "epochs", "gradient_steps", "retain_epochs", "evaluation_episodes", "threads")
        check_fields(self, check_integer, "evaluate_every", "score_every", "seed", minimum=0)
        check_fields(self, check_integer, "checkpoint_every", optional=True, minimum=0)
        check_fields(self, check_integer, "rollout_batch_size", "horizon", optional=True)
        check_fields(self, check_number, "save_every", "mean_penalty", "envelope_margin", optional=True, minimum=0.0)
        if self.penalty_coef != CONFORMAL:
            check_fields(self, check_number, "penalty_coef", optional=True, minimum=0.0)
        if self.penalty_coef is not None and self.mean_penalty is not None:
            raise ConfigError("penalty_coef, mean_penalty: found both. Each decides λ; leave one out.")
        check_fields(self, check_number, "exit_reward", "target_entropy", optional=True)
        check_fields(self, check_number, "envelope_quantile", "real_ratio", optional=True, minimum=0.0, maximum=1.0)
        check_fields(self, check_choice, "on_exit", optional=True, choices=OnExit)
        check_fields(self, check_boolean, "envelope", "random_rollouts", "standardise", "penalty_reward", optional=True)
        check_fields(
            self, check_boolean, "deterministic", "allow_other_data", "stop_when_collapsing", "overlap", "fast"
        )
        check_fields(self, check_choice, "member_per", optional=True, choices=MemberPer)
        check_fields(self, check_choice, "precision", choices=Precision)
        check_fields(self, check_choice, "penalty_members", optional=True, choices=Members)
        check_fields(self, check_choice, "penalty_units", optional=True, choices=Units)


ROLES: dict[str, Role] = {option.name: option.metadata["role"] for option in fields(TrainConfig)}
NEEDS: dict[str, frozenset[Need]] = {option.name: option.metadata["needs"] for option in fields(TrainConfig)}
