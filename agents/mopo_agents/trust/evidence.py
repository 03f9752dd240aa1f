"""What speaks for and against a saved policy, gathered for whoever decides about its use.

No limit is set here: findings come from the alarms, from the report cards and from the assumptions of the bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import cast

import numpy as np
from jaxtyping import Float

from mopo_agents.runs.results import Run, has_fallen, read_run
from mopo_agents.runs.select import read_scores
from mopo_agents.trust.alarms import find_alarms
from mopo_agents.trust.fqe import FittedValue, fitted_q_evaluation
from mopo_agents.trust.offline import OfflineReport, PolicyOfRun, evaluate_offline
from mopo_env._utils.json_files import read_json
from mopo_env._utils.options import DEFAULT_PENALTY
from mopo_env.datasets.card.card import DatasetCard, dataset_card
from mopo_env.datasets.shared import load_shared_dataset
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import StoreError
from mopo_env.models.card.card import model_card
from mopo_env.models.card.scores import ModelCard
from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.penalties import get_penalty
from mopo_env.penalties.conformal import one_step_errors, split_coverage
from mopo_env.transitions import Transitions


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What speaks against a policy.

    Attributes:
        about: What is judged: policy, training, model, data or bound.
        text: What was found, with its number.
    """

    about: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known of a saved policy. None, or an empty entry, stands for what is not known.

    Attributes:
        saved: The policy and its model.
        transitions: The data.
        data_card: What the data hold.
        fitted_value: Fitted-Q evaluation, which needs no model.
        report: What data and model say of the policy.
        model_card: How wrong the model is on rows that its fit never saw.
        coverage: How often a conformal bound of the model's error holds on such rows, in each of 20 splits into halves.
        trained: The finished run.
        returns: Epoch, mean and standard deviation of each evaluation in the real environment, up to this policy's.
        findings: What speaks against the policy.
        missing: What could not be judged, and why.
    """

    saved: PolicyOfRun
    transitions: Transitions
    data_card: DatasetCard
    fitted_value: FittedValue
    report: OfflineReport | None
    model_card: ModelCard | None
    coverage: Float[np.ndarray, " split"]
    trained: Run | None
    returns: tuple[tuple[int, float, float], ...]
    findings: tuple[Finding, ...]
    missing: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Whether the policy can be trusted, in a sentence. It never says yes."""
        alarms = sum(finding.about == "policy" for finding in self.findings)
        if alarms:
            return f"Do not trust it as it is: {_count(alarms, 'alarm')} about the policy itself."
        if self.report is None:
            return "Nobody can tell from this page: there is no model in which the policy could be judged."
        if self.findings:
            return (
                f"Not by these numbers alone: no alarm about the policy, {_count(len(self.findings), 'other finding')}."
            )
        return "No number here speaks against it. That is no proof."


def gather_evidence(saved: PolicyOfRun, *, num_starts: int = 10, fqe_updates: int = 10_000, seed: int = 0) -> Evidence:
    """Judge a saved policy, its data, its model and its training, without a step of the real system.

    The arguments are those of `evaluate_offline`. A policy without a model is judged too.

    Raises:
        StoreError: If a file of the run or of the data is missing or damaged.
    """
    data = load_shared_dataset(saved.resolved.dataset) if saved.model is None else saved.model.transitions
    missing: list[str] = []
    report, card, coverage = None, None, np.empty(0)
    if saved.model is None:
        missing.append(
            "There is no model, because the agent learned from the dataset alone: no score, no alarm, no bound, no "
            "report card, no rollout."
        )
        fitted = fitted_q_evaluation(
            saved.policy, data, gamma=saved.gamma, num_updates=fqe_updates, tau=0.05, seed=seed
        )
    else:
        report = evaluate_offline(saved, num_starts=num_starts, fqe_updates=fqe_updates, seed=seed)
        fitted = report.fitted_value
        if unknown := [name for name, value in vars(report.score).items() if value != value]:
            missing.append(f"The policy has no number for {', '.join(unknown)}, so no alarm can come from there.")
        if report.bound is None:
            missing.append(
                "There is no lower bound: the critic has no slope, or too few rows were held out of the fit."
            )
        if not read_scores(saved.run):
            missing.append("There are no scores of earlier policies, so a fall of the score could not be seen.")
        if _knows_holdout(saved.model):
            card = model_card(cast(GaussianEnsemble, saved.model.model), data, penalty=saved.model.penalty)
            coverage = _coverage(saved.model)
        else:
            missing.append("The model does not say which rows of these data its fit never saw: no card, no coverage.")
    trained = None
    try:
        trained = read_run(saved.run)
    except StoreError as error:
        missing.append(f"The warnings of the training are not known. {error}")
    returns = () if trained is None else tuple(_returns(saved))
    if not returns:
        missing.append("The policy was not evaluated in a real environment.")
    about_data = dataset_card(data, None if saved.resolved.task.recipe is None else saved.resolved.task)
    found = (_of_policy(saved, report, returns), _of_training(saved, trained), _of_inputs(report, card, about_data))
    return Evidence(
        saved=saved,
        transitions=data,
        data_card=about_data,
        fitted_value=fitted,
        report=report,
        model_card=card,
        coverage=coverage,
        trained=trained,
        returns=returns,
        findings=tuple(Finding(about=about, text=text) for about, text in chain(*found)),
        missing=tuple(missing),
    )


def _knows_holdout(model: PenalizedModel) -> bool:
    metadata = getattr(model.model, "metadata", {})
    return bool(metadata.get("holdout_rows")) and (metadata.get("dataset_fingerprint") == model.transitions.fingerprint)


def _coverage(model: PenalizedModel) -> Float[np.ndarray, " split"]:
    rows = np.array(getattr(model.model, "metadata", {})["holdout_rows"])
    errors, penalties = one_step_errors(model.model, model.transitions, rows, get_penalty(DEFAULT_PENALTY))
    with np.errstate(divide="ignore", invalid="ignore"):
        return split_coverage(np.where(errors > 0, errors / penalties, 0.0), np.arange(len(rows)))


def _returns(saved: PolicyOfRun) -> Iterator[tuple[int, float, float]]:
    """Yield the evaluations of a finished run, the last one that of the policy if it was evaluated."""
    for row in read_json(saved.run / "result.json")["evaluations"]:
        if saved.epoch is None or row["epoch"] <= saved.epoch:
            yield int(row["epoch"]), float(row["return_mean"]), float(row["return_std"])


def _of_policy(
    saved: PolicyOfRun, report: OfflineReport | None, returns: Sequence[tuple[int, float, float]]
) -> Iterator[tuple[str, str]]:
    if report is not None:
        before = [row for row in read_scores(saved.run) if row.epoch < (saved.epoch or 0)]
        for text in find_alarms([*before, report.score]).values():
            yield "policy", text
    found = [mean for _, mean, _ in returns]
    if found and has_fallen(found, float(read_json(saved.run / "result.json")["dataset_mean"])):
        yield "policy", f"in the real environment the return has fallen from {max(found):.0f} to {found[-1]:.0f}."


def _of_training(saved: PolicyOfRun, trained: Run | None) -> Iterator[tuple[str, str]]:
    if trained is None:
        return
    if trained.diverged:
        yield "training", "the training diverged: its policy is that of the epoch before."
    for alarm in trained.alarms:
        # What is said of this policy stands there.
        if not alarm.startswith(f"epoch {saved.epoch}: "):
            yield "training", alarm


def _of_inputs(
    report: OfflineReport | None, card: ModelCard | None, data_card: DatasetCard
) -> Iterator[tuple[str, str]]:
    bound = None if report is None else report.bound
    if bound is not None and bound.is_vacuous:
        yield (
            "bound",
            f"the lower bound, {bound.bound:.1f}, says nothing: the lowest reward for ever is {bound.worst:.1f}.",
        )
    for assumption in () if bound is None else bound.assumptions:
        if assumption.holds is False:
            yield "bound", f"the data contradict an assumption. {assumption.text} {assumption.evidence}"
    for text in () if card is None else card.problems:
        yield "model", text
    for problem in data_card.problems:
        yield "data", f"{problem.name.replace('_', ' ')}: {problem.text}"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"
