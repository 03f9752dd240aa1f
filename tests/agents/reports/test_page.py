"""Pages are whole, ask for nothing, and show texts as texts; a browser is the judge."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import Elements, needs_browser, open_in_browser
from helpers.runs import leave_run
from PIL import Image

from mopo_agents.reports import page
from mopo_agents.reports.comparison import group_runs
from mopo_agents.reports.runs_page import runs_page
from mopo_agents.runs.results import Run

pytest.importorskip("matplotlib")
EVIL = "<script>alert('1')</script>&\"$title"


@pytest.fixture
def groups(tmp_path: Path) -> list[list[Run]]:
    """Three seeds of one method, of which one diverged and one collapsed; another; and a run that was not evaluated."""
    runs = [
        leave_run(tmp_path / "0", returns=(100.0, 2500.0, 2600.0), scores=(1.0, 2.0)),
        leave_run(tmp_path / "1", seed=1, returns=(100.0, 3000.0, 200.0)),
        leave_run(tmp_path / "2", seed=2, returns=(50.0,), diverged_epoch=2),
        leave_run(tmp_path / "3", method="mbpo", returns=(10.0, 900.0, 1700.0)),
        leave_run(tmp_path / "4", task="/data/pump", returns=(), scores=(4.0, 77.0)),
    ]
    return group_runs(runs)[0]


def test_every_text_is_escaped() -> None:
    """Names of tasks, methods and folders come from files: none of them is a script."""
    parts = (
        page.section(EVIL, page.table([EVIL], [[EVIL]], caption=EVIL)),
        page.items([EVIL]),
        page.tiles([(EVIL, EVIL, EVIL)]),
        page.details(EVIL, page.tag("p", EVIL, title=EVIL)),
    )
    text = page.html_page(EVIL, *parts, lead=EVIL)
    elements = Elements(text)
    assert "script" not in elements.names
    assert elements.text.count(EVIL) == 13


def test_names_of_runs_are_escaped(tmp_path: Path) -> None:
    run = leave_run(tmp_path / "run", task=f"/data/{EVIL.replace('/', '')}", method="<b>mine", agent="<i>")
    elements = Elements(runs_page(group_runs([run])[0], [f"left out: {EVIL}"]))
    assert not {"script", "b", "i"} & set(elements.names)
    assert {"<b>mine (<i>)", EVIL} <= set(re.findall(r"<b>mine \(<i>\)|<script>.*title", elements.text))


def test_the_page_needs_nothing_else(groups: list[list[Run]]) -> None:
    text = runs_page(groups)
    assert all(source.startswith("data:image/svg+xml;base64,") for source in Elements(text).asked)
    assert not re.search(r"@import|url\(|<script|<link", text)


def test_the_page_holds_what_decides(groups: list[list[Run]]) -> None:
    """The last return and the mean of all, of each method; failures are counted, and never is the best seed shown."""
    text = Elements(runs_page(groups, ["run7: unfinished"])).text
    for shown in ("of 3 seeds, 1 diverged, 1 collapsed", "6418", "5598", "an abacus, 1 thread", "pump", "run7", "77"):
        assert shown in text, shown
    assert "3000" not in text, "the best evaluation of the best seed"


@needs_browser
def test_a_browser_shows_it(groups: list[list[Run]], tmp_path: Path) -> None:
    """The tables are in the DOM, the console is silent, pictures are decoded, and the page has ink on it."""
    (tmp_path / "page.html").write_text(runs_page(groups))
    elements, console = open_in_browser(tmp_path / "page.html", size=(1200, 2400), picture=tmp_path / "page.png")
    assert elements.names.count("table") >= 4
    assert elements.names.count("img") == 3
    assert not console
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"), dtype=np.int64)
    assert pixels.shape == (2400, 1200, 3)
    assert (pixels[0] == 255).all(), "white paper"
    # The first colour of the curves is in the inlined pictures and in the dots of the tables alone.
    blue = (np.abs(pixels - [0x00, 0x72, 0xB2]).max(axis=2) < 8).sum()
    assert blue > 1500
