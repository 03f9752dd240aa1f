"""All that data and model say of a saved policy, in one report: no step of the real system is taken."""

from __future__ import annotations

import contextlib
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import nn

from mopo_agents.evaluation import Policy
from mopo_agents.policies import load_policy
from mopo_agents.runs.folder import recorded_config
from mopo_agents.runs.identity import module_digest
from mopo_agents.runs.policy_files import find_policy
from mopo_agents.runs.resolve import ResolvedRun, resolve
from mopo_agents.runs.train import build_penalized_model
from mopo_agents.trust.bound import LowerBound, lower_bound
from mopo_agents.trust.fqe import FittedValue, fitted_q_evaluation
from mopo_agents.trust.model_returns import model_returns
from mopo_agents.trust.score import PolicyScore, PolicyScorer
from mopo_env._utils.store import read_artifact
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class OfflineReport:
    """What can be known of a policy before it has been in the real system.

    Attributes:
        epoch: The epoch of the policy; None if its file does not say.
        score: The model's opinion in whole episodes, and signs of trouble. It believes the model wherever it is inside
            the envelope.
        members: The mean return of each elite's episodes. Elites that disagree are wrong, all but one at least; elites
            that agree can be wrong together.
        penalized: Mean return in the model that the run trained in: its λ, its penalty, its envelope.
        penalized_spread: Standard deviation of the members' means.
        fitted_value: Fitted-Q evaluation: a discounted value from the transitions alone. It needs no model, and it
            extrapolates where the policy acts otherwise than the data.
        bound: A lower bound of the discounted return, with its assumptions; None without a critic, or if no
            conformal bound of the model's error can be had.
    """

    epoch: int | None
    score: PolicyScore
    members: tuple[float, ...]
    penalized: float
    penalized_spread: float
    fitted_value: FittedValue
    bound: LowerBound | None

    def as_data(self) -> dict[str, Any]:
        """Return the report as JSON data; None stands for what is not known."""
        return {name: _known(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class PolicyOfRun:
    """A policy of a run, with what it was trained in.

    Attributes:
        run: The folder of the run.
        folder: The folder of the policy.
        record: The content of the run's ``config.json``.
        resolved: The run's options.
        epoch: The epoch of the policy; None if its file does not say.
        policy: What chooses actions.
        model: What it was trained in; None if its agent learned from the dataset alone.
    """

    run: Path
    folder: Path
    record: dict[str, Any]
    resolved: ResolvedRun
    epoch: int | None
    policy: Policy
    model: PenalizedModel | None

    @property
    def gamma(self) -> float:
        """The discount of the agent."""
        return float(self.resolved.agent_options.get("gamma", 0.99))


def open_policy(run: Path | str, *, checkpoint: str = "last", ensemble: str | None = None) -> PolicyOfRun:
    """Load a policy, and build the model that it was trained in.

    Args:
        run: The folder of a training run, with a model or without one, finished or not.
        checkpoint: As in `mopo evaluate`.
        ensemble: Where the run's ensemble is now. None: where it was.

    Raises:
        ConfigError: If the folder is no run, or the ensemble is another one now.
        StoreError: If a file is missing or damaged.
    """
    run = Path(run)
    config, record = recorded_config(run)
    resolved = resolve(config if ensemble is None else replace(config, ensemble=ensemble))
    folder = find_policy(run, checkpoint)
    model = None if resolved.method.model_free else build_penalized_model(resolved, progress=False)
    if model is not None and record.get("ensemble_digest") not in (None, module_digest(cast(nn.Module, model.model))):
        raise ConfigError(
            f"{run}: the ensemble is not the one that the run trained in. Restore it, or train a new run."
        )
    return PolicyOfRun(
        run=run,
        folder=folder,
        record=record,
        resolved=resolved,
        epoch=read_artifact(folder, "policy")[1].get("epoch"),
        policy=load_policy(folder),
        model=model,
    )


def evaluate_offline(
    saved: PolicyOfRun, *, num_starts: int = 10, fqe_updates: int = 10_000, seed: int = 0
) -> OfflineReport:
    """Judge a policy of a run from its data and its model alone.

    Args:
        saved: What `open_policy` found.
        num_starts: Episodes of every member for the penalised return and the bound; the score has its own 20.
        fqe_updates: Updates of fitted-Q evaluation.
        seed: Of starts, draws and networks.

    Raises:
        ConfigError: If there is no model with members.
    """
    model, policy, gamma = saved.model, saved.policy, saved.gamma
    if model is None:
        raise ConfigError(
            f"{saved.run}: {saved.resolved.config.agent} learned from the dataset alone. --offline needs a model."
        )
    scorer = PolicyScorer(model, gamma=gamma, seed=seed)
    score = scorer.score(policy)
    sizes: dict[str, Any] = {"horizon": scorer.horizon, "num_starts": num_starts, "gamma": gamma}
    trained = model_returns(policy, model, seed=seed, **sizes)
    bound = None
    with contextlib.suppress(ConfigError):  # too few rows that the fit never saw
        bound = lower_bound(policy, model, score, seed=seed, **sizes)
    return OfflineReport(
        epoch=saved.epoch,
        score=score,
        members=tuple(trained.plain.mean(axis=1).tolist()),
        penalized=float(trained.penalized.mean()),
        penalized_spread=float(trained.penalized.mean(axis=1).std()),
        fitted_value=fitted_q_evaluation(
            policy, model.transitions, gamma=gamma, num_updates=fqe_updates, tau=0.05, seed=seed
        ),
        bound=bound,
    )


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _known(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_known(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def report_rows(report: OfflineReport) -> list[tuple[str, str, str]]:
    """Return the numbers of the report: each a name, a value, and what it means."""

    def number(value: float) -> str:
        return "–" if math.isnan(value) else f"{value:.1f}"

    score, fitted, bound = report.score, report.fitted_value, report.bound
    lines = [
        ("score", f"{score.score:.1f} ± {score.error:.1f}", "return in the model; off the data as the data pay; no λ"),
        ("model return", f"{score.model_return:.1f}", "until episodes leave the data"),
        ("by member", " ".join(f"{value:.0f}" for value in report.members), "agreement is no proof"),
        (
            "penalised return",
            f"{report.penalized:.1f} ± {report.penalized_spread:.1f}",
            "as trained, ± between members",
        ),
        ("leaves the envelope", f"{score.left:.0%}", "of the episodes"),
        ("distance to the data", f"{score.distance:.2f}", "median; 1: as far as 1 % of the data are from others"),
        ("critic's value", number(score.value), "at first states of episodes that stay, discounted"),
        ("model's value", number(score.discounted), "the same, no penalty; a critic above it overestimates"),
        ("fitted-Q evaluation", f"{fitted.value:.1f}", f"discounted, of data alone; Bellman error {fitted.error:.1f}"),
    ]
    signs = {"penalty at its ceiling": score.saturated, "actions at bounds": score.at_bounds}
    lines += [(name, f"{value:.0%}", "of the steps") for name, value in signs.items() if not np.isnan(value)]
    if bound is not None:
        vacuous = f", says nothing: the lowest reward for ever is {bound.worst:.1f}" * bound.is_vacuous
        lines += [
            ("lower bound", f"{bound.bound:.1f}", f"of the discounted return, estimate {bound.estimate:.1f}{vacuous}")
        ]
    return lines


def report_text(report: OfflineReport) -> str:
    """Return the report as lines for a terminal."""
    shown, bound = [f"{name:<24}{value:>22}  {text}" for name, value, text in report_rows(report)], report.bound
    if bound is not None:
        words = {True: "agrees", False: "CONTRADICTED", None: "unknown"}
        shown += ["", "The bound holds if all of these do:"]
        shown += [f"  {words[entry.holds]:<13}{entry.text} {entry.evidence}" for entry in bound.assumptions]
    return "\n".join([*shown, "", "No step of the real system was taken. What all members get wrong is not seen here."])
