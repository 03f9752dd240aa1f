"""The page for whoever decides about a policy: what speaks against it, what is known of it, and what nobody knows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mopo_agents.figures import draw_learning_curves
from mopo_agents.reports import page
from mopo_agents.reports.comparison import by_task
from mopo_agents.reports.curves import draw_model_numbers, returns_panel
from mopo_agents.reports.page import Html, tag
from mopo_agents.reports.stills import draw_stills
from mopo_agents.reports.terminal import shown
from mopo_agents.runs.results import Run
from mopo_agents.trust.bound import LowerBound
from mopo_agents.trust.evidence import Evidence
from mopo_agents.trust.offline import OfflineReport, PolicyOfRun, report_rows
from mopo_env._utils.json_files import read_json
from mopo_env._utils.options import CONFORMAL_COVERAGE
from mopo_env._utils.store import artifact_versions
from mopo_env.datasets.card import text as data_text
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import MopoError
from mopo_env.figures.data import draw_returns
from mopo_env.figures.model import draw_model_card
from mopo_env.models.card import text as model_text
from mopo_env.models.card.scores import ModelCard

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_UNKNOWN = (
    "Whether the model is right where all its members are wrong together. No number of the model sees such an "
    "error: policies with good scores have failed in the real system.",
    "What happens in states that the data do not contain: other starts, other loads, wear, faults, other weather.",
    "Whether the system is still the one that was recorded.",
    "Whether the reward says what you want. A policy does what is paid, and what is not paid is not looked at.",
    "Whether it is safe. No limit was checked but the rule that ends episodes, and what the reward pays.",
    "What delays, lost messages and the noise of sensors do to it, unless the data have them.",
    "The worst case. Scores, bounds and coverage are means over episodes and steps.",
    "What comes after the longest recorded episode.",
)
_LINE = " The red line is the policy of this page."
_ABOUT = {True: "agree", False: "contradict it", None: "cannot tell"}


def trust_page(evidence: Evidence) -> str:
    """Return the page.

    Raises:
        MissingExtraError: If matplotlib is not installed.
        StoreError: If the progress of the run is damaged.
    """
    saved, report = evidence.saved, evidence.report
    parts = [_verdict(evidence), page.tiles(_numbers(evidence)), page.section("The policy", _identity(evidence))]
    if report is not None:
        parts.append(page.section("By data and model alone", *_offline(evidence, report)))
    if saved.model is not None:
        parts.append(page.section("Episodes in the model", *_stills(saved, saved.model)))
    if evidence.trained is not None:
        parts.append(page.section("The training", *_training(evidence, evidence.trained)))
    if evidence.model_card is not None:
        parts.append(page.section("The model", *_model(evidence, evidence.model_card)))
    parts += [page.section("The data", *_data(evidence)), _unknown(evidence)]
    config = saved.resolved.config
    lead = f"{saved.resolved.method.name} with {config.agent}, seed {config.seed}, epoch {saved.epoch}. "
    lead += "No step of the real system was taken for this page."
    return page.html_page(f"{saved.resolved.task.label}: can this policy be trusted?", *parts, lead=lead)


def _verdict(evidence: Evidence) -> Html:
    rows = [(finding.about, finding.text) for finding in evidence.findings]
    what = page.table(("about the", "what speaks against it"), rows, texts=2) if rows else tag("p", "No finding.")
    rest = "This page never says that a policy is safe. What it does not cover stands under "
    note = tag("p", rest, tag("a", "What is unknown", href="#unknown"), ".", class_="note")
    alarming = " alarming" * any(finding.about == "policy" for finding in evidence.findings)
    return tag("div", tag("strong", evidence.verdict), what, note, class_=f"verdict{alarming}")


def _numbers(evidence: Evidence) -> Iterator[tuple[str, str, str]]:
    report, data = evidence.report, f"the data: mean {_number(evidence.data_card.returns.mean)}"
    if report is None:
        yield "fitted-Q evaluation", _number(evidence.fitted_value.value), "discounted, from the data alone"
    else:
        score = report.score
        yield "score by the model alone", _number(score.score, score.error), f"± standard error; {data}"
        yield "worst member", _number(score.worst_member), "the same, of the member that thinks least of it"
        yield "leaves the data", f"{score.left:.0%}", "of its episodes in the model"
        yield "distance to the data", _number(score.distance), "median; 1: as far as 1 % of the data are from others"
    if evidence.returns:
        epoch, mean, std = evidence.returns[-1]
        yield "real environment", _number(mean, std), f"measured after epoch {epoch}; {data}"
    else:
        yield "real environment", "none", "the policy was not evaluated"


def _identity(evidence: Evidence) -> Html:
    saved = evidence.saved
    record, config, task = saved.record, saved.resolved.config, saved.resolved.task
    weights = read_json(saved.folder / "policy.json")["tensors"]["sha256"]
    versions, changed = artifact_versions(saved.folder, "policy"), record.get("changed", {})
    rows = {
        "task": f"{task.label}, in {task.real_env_id}" if task.real_env_id else f"{task.label}, no real environment",
        "data": f"{evidence.data_card.rows:,} steps, fingerprint {evidence.data_card.fingerprint}",
        "method": f"{saved.resolved.method.name} with {config.agent}",
        "options that differ": ", ".join(f"{name} = {value}" for name, value in changed.items()) or "none",
        "reward in training": "that of the data"
        if saved.model is None
        else f"r̂ − {saved.model.penalty_coef:.4g}·u, u: {config.penalty}, rollouts of {config.horizon}",
        "training": f"epoch {saved.epoch} of {config.epochs}, seed {config.seed}",
        "run": f"{saved.run}, identity {record.get('identity')}",
        "policy": f"{saved.folder}, SHA-256 of its weights {weights}",
        "ensemble": f"SHA-256 {record.get('ensemble_digest')}" if saved.model is not None else "none",
        "made with": ", ".join(f"{name} {number}" for name, number in versions.items()),
    }
    return page.table(("what", "value"), rows.items(), texts=2)


def _offline(evidence: Evidence, report: OfflineReport) -> Iterator[Html]:
    rows = [(name, text, value.replace("-", "−")) for name, value, text in report_rows(report) if name != "lower bound"]
    yield page.table(("", "what it means", "value"), rows, texts=2)
    if report.bound is not None:
        yield from _bound(report.bound)
    if len(evidence.coverage):
        mean, lowest = evidence.coverage.mean(), evidence.coverage.min()
        yield tag("h3", "Conformal coverage")
        yield tag(
            "p",
            f"A bound of the model's error that is made to hold in {CONFORMAL_COVERAGE:.0%} of the steps holds in "
            f"{mean:.1%} of recorded steps that neither it nor the fit saw, and in {lowest:.1%} of the worst of "
            f"{len(evidence.coverage)} random splits. This is of steps like the data's. Where the policy goes, nothing "
            f"is promised: half of its steps are at a distance of {report.score.distance:.2f} or more.",
        )


def _bound(bound: LowerBound) -> Iterator[Html]:
    words = (
        f"The discounted return is at least {_number(bound.bound)}, if all of these assumptions hold. The estimate is "
    )
    words += f"{_number(bound.estimate)}, the lowest reward for ever {_number(bound.worst)}."
    yield tag("h3", "Lower bound")
    yield tag("p", words, " This bound says nothing." * bound.is_vacuous)
    rows = [
        (entry.text, tag("span", _ABOUT[entry.holds], class_="bad" if entry.holds is False else ""), entry.evidence)
        for entry in bound.assumptions
    ]
    yield page.table(("assumption", "the data", "evidence"), rows, texts=3)


def _stills(saved: PolicyOfRun, model: PenalizedModel) -> Iterator[Html]:
    try:
        drawn = draw_stills(saved.policy, model, saved.resolved.task)
    except MopoError as error:
        yield tag("p", f"No picture: {error}", class_="muted")
        return
    caption = "What the model believes of one episode: the member that pays least for it, and the one that pays most. "
    caption += "Both begin in the same recorded state. This is no recording of the real system."
    yield page.figure(drawn, alt="Stills of the policy's episodes in the model", caption=caption)


def _training(evidence: Evidence, trained: Run) -> Iterator[Html]:
    yield from _problems(evidence, "training")
    (groups,) = by_task([[trained]])
    numbers, panel = draw_model_numbers(groups), returns_panel(groups)
    if numbers is not None:
        caption = "What the model said during the training, and the score of its policies where there is one." + _LINE
        _mark(numbers, evidence.saved.epoch)
        yield page.figure(numbers, alt="Model rewards, penalties and scores over the epochs", caption=caption)
    if panel is not None:
        caption = "Measured in the real environment, which the training did not see." + _LINE
        drawn = draw_learning_curves(panel)
        updates = trained.evaluated_at[0] / evidence.returns[0][0] if evidence.returns else math.nan
        _mark(drawn, (evidence.saved.epoch or math.nan) * updates)
        yield page.figure(drawn, alt="Returns in the real environment", caption=caption)


def _mark(figure: Figure, place: float | None) -> None:
    """Draw the policy of the page into the curves of its training."""
    if place is not None and math.isfinite(place):
        for axes in figure.axes:
            axes.axvline(place, color="tab:red", linewidth=1.2, zorder=0)


def _model(evidence: Evidence, card: ModelCard) -> Iterator[Html]:
    yield from _problems(evidence, "model")
    alt = "Errors and calibration of the model by column, and its rollouts beside the recording"
    caption = f"On {card.rows:,} recorded steps that the fit never saw. A model that knows how wrong it is has z² = 1."
    yield page.figure(draw_model_card(card), alt=alt, caption=caption)
    yield page.details("Every number of the model", tag("pre", model_text.card_text(card)))


def _data(evidence: Evidence) -> Iterator[Html]:
    yield from _problems(evidence, "data")
    drawn = draw_returns(evidence.transitions, evidence.data_card)
    yield page.figure(drawn, alt="Returns of the recorded episodes")
    yield page.details("Every number of the data", tag("pre", data_text.card_text(evidence.data_card)))


def _problems(evidence: Evidence, about: str) -> Iterator[Html]:
    if found := [finding.text for finding in evidence.findings if finding.about == about]:
        yield page.items(found, class_="warnings")


def _unknown(evidence: Evidence) -> Html:
    bound = None if evidence.report is None else evidence.report.bound
    texts = [*evidence.missing, *_UNKNOWN[evidence.report is None :]]  # the first is about a model
    assumptions = () if bound is None else bound.assumptions
    texts += [f"Whether this holds: {entry.text}" for entry in assumptions if entry.holds is None]
    return tag("section", tag("h2", "What is unknown"), page.items(texts), id="unknown")


def _number(value: float, std: float | None = None) -> str:
    return shown(value, std).replace("-", "−")
