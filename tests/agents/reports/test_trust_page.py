"""The page for whoever decides about a policy: nothing is missing without being named, and nothing is called safe."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.browser import Elements, needs_browser, open_in_browser
from helpers.damage import rewrite_json
from helpers.drawing import needs_drawing
from helpers.runs import run
from PIL import Image

from mopo_agents.reports.page import tag
from mopo_agents.reports.stills import draw_stills
from mopo_agents.reports.trust_page import trust_page
from mopo_agents.trust.evidence import Evidence, Finding, gather_evidence
from mopo_agents.trust.fqe import FittedValue
from mopo_agents.trust.offline import open_policy
from mopo_env.errors import ConfigError
from mopo_env.tasks import Task

pytest.importorskip("matplotlib")
Mopo = Callable[..., tuple[int, str, str]]
EVIL = "<script>alert('1')</script>&\"$title"
PARTS = ("The policy", "By data and model alone", "Lower bound", "Conformal coverage", "Episodes in the model")
PARTS += ("The training", "The model", "The data", "What is unknown")


@pytest.fixture(scope="module")
def folder(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, both scored and kept."""
    return run(dataset, tmp_path_factory.mktemp("runs") / "run", checkpoint_every=1, score_every=1).folder


@pytest.fixture(scope="module")
def evidence(folder: Path) -> Evidence:
    return gather_evidence(open_policy(folder), num_starts=2, fqe_updates=5)


def test_the_page_holds_every_part(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without MuJoCo, and without a real environment; it asks for nothing from anywhere."""
    monkeypatch.setitem(sys.modules, "mujoco", None)
    elements = Elements(trust_page(evidence))
    for part in (*PARTS, evidence.verdict, "No picture: 'mujoco' is needed", evidence.transitions.fingerprint):
        assert part in elements.text, part
    assert all(finding.text in elements.text for finding in evidence.findings)
    assert all(text in elements.text for text in evidence.missing)
    assert [one for one in elements.asked if not one.startswith("data:image/svg+xml;base64,")] == ["#unknown"]


@needs_browser
def test_a_browser_shows_it(evidence: Evidence, tmp_path: Path) -> None:
    """The parts are in the DOM, the console is silent, and the verdict is on the first screen."""
    alarming = replace(evidence, findings=(Finding(about="policy", text="it leaves the data"),))
    (tmp_path / "page.html").write_text(trust_page(alarming))
    elements, console = open_in_browser(tmp_path / "page.html", size=(1100, 600), picture=tmp_path / "page.png")
    assert not console
    assert all(part in elements.text for part in (*PARTS, "Do not trust it as it is: 1 alarm about the policy itself."))
    assert elements.names.count("table") >= 4
    assert elements.names.count("img") >= 3
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"), dtype=np.int64)
    assert (np.abs(pixels - [0xA4, 0x26, 0x2C]).max(axis=2) < 8).sum() > 500, "the red edge of the verdict"


def test_the_curves_mark_the_policy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint far from the end is else taken for the last point of its curves."""
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(
        "mopo_agents.reports.page.figure", lambda figure, *, alt, **_: drawn.update({alt: figure}) or tag("p", alt)
    )
    trust_page(gather_evidence(open_policy(folder, checkpoint="epoch-00001"), num_starts=1, fqe_updates=1))
    (curves,) = (figure for alt, figure in drawn.items() if alt.startswith("Model rewards"))
    for axes in curves.axes:
        assert [set(line.get_xdata()) for line in axes.lines if line.get_color() == "tab:red"] == [{1}]


def test_texts_of_strangers_are_escaped(evidence: Evidence) -> None:
    findings = (Finding(about=EVIL, text=EVIL), Finding(about="data", text=EVIL))
    saved = replace(evidence.saved, record={**evidence.saved.record, "changed": {EVIL: EVIL}})
    elements = Elements(trust_page(replace(evidence, findings=findings, missing=(EVIL,), saved=saved)))
    assert "script" not in elements.names
    assert elements.text.count(EVIL) == 7


def test_the_verdict_is_never_yes(evidence: Evidence) -> None:
    """Alarms about the policy come first, then other findings. None of them is a permission."""
    of_model, of_policy = (Finding(about=about, text="") for about in ("model", "policy"))
    verdicts = [
        replace(evidence, findings=found).verdict for found in ((of_policy, of_model), (of_model, of_model), ())
    ]
    assert verdicts == [
        "Do not trust it as it is: 1 alarm about the policy itself.",
        "Not by these numbers alone: no alarm about the policy, 2 other findings.",
        "No number here speaks against it. That is no proof.",
    ]
    assert replace(evidence, findings=(), report=None).verdict.startswith("Nobody can tell")


def test_findings_are_those_of_the_alarms(folder: Path, evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    """A score far below earlier ones has fallen, and two of three episodes leave the data; other kinds are quiet."""
    assert evidence.report is not None
    quiet = {"overestimate": 0.0, "saturated": 0.0, "entropy": -1.0, "at_bounds": 0.0, "distance": 0.5}
    score = replace(evidence.report.score, left=0.66, **quiet)
    monkeypatch.setattr(
        "mopo_agents.trust.evidence.evaluate_offline", lambda *_, **__: replace(evidence.report, score=score)
    )
    texts = [finding.text for finding in gather_evidence(open_policy(folder)).findings if finding.about == "policy"]
    assert len(texts) == 1
    assert "leaves the data in 66% of its episodes" in texts[0]


def test_a_return_that_fell_is_an_alarm_of_that_policy_alone(folder: Path, tmp_path: Path) -> None:
    """A page about an earlier policy knows nothing of later evaluations: it was good then."""
    rows = [
        {"epoch": epoch, "updates": epoch, "return_mean": mean, "return_std": 1.0, "normalised": None}
        for epoch, mean in ((1, 5000.0), (2, -5000.0))
    ]
    result = (folder / "result.json").read_bytes()
    try:
        rewrite_json(folder / "result.json", lambda content: content.update(evaluations=rows, dataset_mean=0.0))
        fallen, before = (
            gather_evidence(open_policy(folder, checkpoint=name), num_starts=1, fqe_updates=1)
            for name in ("last", "epoch-00001")
        )
    finally:
        (folder / "result.json").write_bytes(result)
    text = "in the real environment the return has fallen from 5000 to -5000."
    assert text in [finding.text for finding in fallen.findings if finding.about == "policy"]
    assert before.returns == ((1, 5000.0, 1.0),)
    assert text not in [finding.text for finding in before.findings]


def test_a_run_that_was_interrupted_has_a_page(folder: Path, tmp_path: Path) -> None:
    """Its last checkpoint is judged; that the end of the training is missing is said."""
    shutil.copytree(folder, tmp_path / "run")
    for name in ("result.json", "policy.json"):
        (tmp_path / "run" / name).unlink()
    evidence = gather_evidence(open_policy(tmp_path / "run"), num_starts=1, fqe_updates=1)
    assert evidence.saved.folder == tmp_path / "run" / "checkpoints" / "epoch-00001"
    elements = Elements(trust_page(evidence))
    assert "The warnings of the training are not known." in elements.text
    assert "By data and model alone" in elements.text


def test_a_run_without_a_model_says_what_is_missing(without_ensemble: Path, tmp_path: Path) -> None:
    """Fitted-Q evaluation and the data are all that there is, and the first screen says so."""
    folder = run(
        without_ensemble, tmp_path / "bc", method="bc", agent=None, rollout_batch_size=None, epochs=1, agent_options={}
    ).folder
    evidence = gather_evidence(open_policy(folder), fqe_updates=5)
    elements = Elements(trust_page(evidence))
    for words in ("Nobody can tell", "fitted-Q evaluation", "There is no model", "was not evaluated", "The data"):
        assert words in elements.text, words
    assert not any(words in elements.text for words in ("By data and model alone", "members are wrong together"))


@needs_drawing
def test_stills_of_what_the_members_believe(evidence: Evidence) -> None:
    """One strip of seven pictures for the only elite; the states of a pump have no picture."""
    saved = evidence.saved
    assert saved.model is not None
    figure = draw_stills(saved.policy, saved.model, saved.resolved.task, size=32)
    (axes,) = (part.axes[0] for part in figure.subfigs) if figure.subfigs else figure.axes
    assert np.asarray(axes.images[0].get_array()).shape == (32, 7 * 32, 3)
    assert axes.get_title(loc="left").startswith(f"member {int(saved.model.model.elites[0])}: return ")  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="the states of pump cannot be drawn"):
        draw_stills(saved.policy, saved.model, Task(name="/data/pump"))


def test_on_the_command_line(mopo: Mopo, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict is printed too; what does not go together is refused before anything is computed or written."""
    # Ten thousand updates take half a minute.
    monkeypatch.setattr("mopo_agents.trust.offline.fitted_q_evaluation", lambda *_, **__: FittedValue(value=1, error=1))
    path = tmp_path / "trust.html"
    code, out, _ = mopo("report", folder, "--trust", path, "--checkpoint", "epoch-00001", "--json")
    assert code == 0
    assert json.loads(out)["report"]["epoch"] == 1
    assert json.loads(out)["verdict"] in path.read_text()
    for words, said in {
        ("--trust", path): f"--trust: {path} exists already.",
        ("--trust", "x.html", "--csv", "y.csv"): "--trust: is a page about one policy, without a comparison.",
        ("--checkpoint", "best"): "--checkpoint: is about the policy of --trust.",
        ("--ensemble", folder): "--ensemble: is about the policy of --trust.",
        (folder, "--trust", "x.html"): "--trust: expected the folder of one run, found ",
    }.items():
        code, _, err = mopo("report", folder, *words)
        assert (code, said in err) == (2, True), err
    assert not Path("x.html").exists()
