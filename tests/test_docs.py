"""What the documentation says can be typed, imported and opened."""

from __future__ import annotations

import csv
import importlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest
from gymnasium.spaces import Box
from helpers.documents import small
from helpers.minari_files import write_three_episodes

import mopo_env
from mopo_agents import METHODS
from mopo_agents.cli import main as cli
from mopo_env import FitConfig, fit_ensemble, load_minari, load_table, load_transitions, save_ensemble, save_transitions

ROOT = Path(__file__).resolve().parent.parent
PAGES = {page.relative_to(ROOT).as_posix(): page for page in (*ROOT.glob("*.md"), *sorted(ROOT.glob("docs/**/*.md")))}
EVERY_PAGE = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


def text_of(page: str) -> str:
    """Return a page, with commands that continue on the next line joined."""
    return PAGES[page].read_text().replace("\\\n", " ")


def blocks_of(page: str, kind: str = "") -> list[str]:
    """Return the code blocks of one language, or those of none."""
    found = re.findall(r"^```([^\n`]*)\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)
    return [block for language, block in found if language == kind]


def commands_in(text: str) -> list[str]:
    """Return the lines that start with the command, without their comments."""
    return [line.partition("#")[0].strip() for line in text.splitlines() if line.startswith("mopo ")]


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the log of the tank and of an ensemble that has hardly been trained."""
    folder = tmp_path_factory.mktemp("data")
    log = load_table(
        ROOT / "examples" / "data" / "heated_tank.csv",
        observations=["level", "temperature", "demand"],
        next_observations=["level_after", "temperature_after", "demand_after"],
        actions=["valve", "heater"],
        action_space=Box(0.0, 1.0, (2,)),
        reward="worth",
        terminated="tripped",
        episode="run",
    )
    save_transitions(log, folder)
    config = FitConfig(max_epochs=1, num_members=2, num_elites=1, hidden_sizes=(8,), weight_decay=(0.0, 0.0))
    save_ensemble(fit_ensemble(log, config, progress=False), folder)
    return folder


def mopo(command: str, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """Type a command; return its exit status."""
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    try:
        cli.main()
    except SystemExit as ended:
        return ended.code
    return 0


def names_of_the_project(text: str) -> set[str]:
    """Return the dotted names that begin with one of the packages."""
    return set(re.findall(r"(?<![\w/.-])(?:mopo_env|mopo_agents)(?:\.\w+)+", text))


def resolves(name: str) -> bool:
    """Return whether a dotted name is a module, or an attribute of one, however deep."""
    steps = name.split(".")
    for count in range(len(steps), 0, -1):
        try:
            found = importlib.import_module(".".join(steps[:count]))
        except ModuleNotFoundError:
            continue
        for step in steps[count:]:
            if not hasattr(found, step):
                return False
            found = getattr(found, step)
        return True
    return False


@EVERY_PAGE
def test_names_resolve(page: Path) -> None:
    """A module that moves leaves its old path in the docs."""
    assert [name for name in sorted(names_of_the_project(page.read_text())) if not resolves(name)] == []


def test_a_name_that_is_gone_is_noticed() -> None:
    """The check above finds names in prose and code, and does not accept any name."""
    assert names_of_the_project("see `mopo_env.envs.make.no_such`.\nmopo_agents.nowhere(1) docs/mopo_env.md") == {
        "mopo_env.envs.make.no_such",
        "mopo_agents.nowhere",
    }
    assert resolves("mopo_env.envs.penalized_model.PenalizedModel.step")
    assert not resolves("mopo_env.envs.make.no_such")
    assert not resolves("mopo_agents.nowhere")


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@EVERY_PAGE
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    """To other files of the repository, and to headings in them."""
    for target in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors_of(file), target
    for path in re.findall(r"`((?:agents|benchmarks|docs|examples|mopo_env|tests)/[\w/.]*)`", page.read_text()):
        assert (ROOT / path).exists(), path


OPTIONS = sorted(
    {
        (" ".join(words), option)
        for page in PAGES
        for command in (*commands_in("\n".join(blocks_of(page))), *re.findall(r"`(mopo [a-z][^`]*)`", text_of(page)))
        for words in [
            re.findall(r"[a-z][\w-]*", command)[
                1 : 3 if command.startswith(("mopo data ", "mopo model ", "mopo sweep ")) else 2
            ]
        ]
        for option in re.findall(r"(?<!\S)--[a-z0-9-]+", command) or [""]
    }
)


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_commands_and_options_exist(
    command: str, option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that was renamed stays in the docs otherwise."""
    assert mopo(f"mopo {command} --help", monkeypatch) == 0
    assert re.search(rf"(?<![\w-]){option}(?![\w-])", capsys.readouterr().out)


def test_options_in_prose_exist(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Options that are named without their command: some command has them, or a benchmark."""
    for command in sorted({command for command, _ in OPTIONS}):
        assert mopo(f"mopo {command} --help", monkeypatch) == 0
    assert mopo("mopo --help", monkeypatch) == 0  # the option of all commands
    programs = [
        *(ROOT / "benchmarks").glob("*.py"),
        *(ROOT / "tests").glob("*/soak.py"),
        *(ROOT / "tests").glob("*/run.py"),
    ]
    code = "".join(path.read_text() for path in programs)
    parameters = re.findall(r"\b\w+(?=: )", code)
    known = {
        *re.findall(r"--[\w-]+", capsys.readouterr().out + code),
        *(f"--{name.replace('_', '-')}" for name in parameters),
    }
    for page in PAGES:
        for code in re.findall(r"`([^`\n]+)`", text_of(page)):
            assert set(re.findall(r"(?<!\S)--[a-z0-9-]+", code)) <= known, (page, code)


CARD = "mopo data show hopper-mixed --plot card.png"


@pytest.mark.parametrize("command", sorted({*commands_in("\n".join(blocks_of("docs/data.md")))} - {CARD}))
def test_commands_of_the_page_on_data(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are understood, and fail only because the file that they name is not there."""
    assert mopo(command, monkeypatch) == 2
    error = capsys.readouterr().err
    assert error.startswith("mopo: "), error
    assert re.search(r"no such file|not found in|no dataset|no data for the task", error), error


REPORT = "mopo model show hopper-mixed"


def test_the_report_card_on_its_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines that the page explains are what the command prints."""
    assert commands_in("\n".join(blocks_of("docs/report_card.md"))) == [REPORT]
    assert mopo(REPORT, monkeypatch) == 0
    shown = "".join(blocks_of("docs/report_card.md", "text"))
    assert {*shown.splitlines()} - {"…"} <= {*capsys.readouterr().out.splitlines()}


def test_the_card_on_the_page_on_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its lines are what the command beside them prints; only the dots stand for others."""
    pytest.importorskip("matplotlib")
    assert CARD in commands_in("\n".join(blocks_of("docs/data.md")))
    assert mopo(CARD, monkeypatch) == 0
    (shown,) = blocks_of("docs/data.md", "text")
    assert {*shown.splitlines()} - {"…"} <= {*capsys.readouterr().out.splitlines()}
    assert (tmp_path / "card.png").is_file()


def test_python_of_the_page_on_data(tmp_path: Path) -> None:
    """Read by Minari, made of arrays, and relabelled."""
    write_three_episodes()
    minari, arrays, other_rewards = blocks_of("docs/data.md", "python")
    found: dict[str, object] = {}
    exec(minari, found)  # noqa: S102
    assert found["transitions"].fingerprint == load_minari("mopo/toy-v0").fingerprint  # type: ignore[attr-defined]
    exec(arrays, {})  # noqa: S102
    assert len(load_transitions(tmp_path / "data")) == 2000
    exec(other_rewards, found)  # noqa: S102
    assert found["relabelled"].rewards.std() > 0.0  # type: ignore[attr-defined]


# Pages whose code other tests run, because more must hold than that it runs.
RUN_ELSEWHERE = {
    "README.md": "test_examples.py",
    "docs/data.md": "test_docs.py",
    "docs/discrete.md": "agents/test_discrete_actions.py",
    "docs/export.md": "agents/test_export.py",
    "docs/methods.md": "agents/runs/test_methods.py",
    "docs/oracle.md": "penalties/test_oracle.py",
    "docs/own_data.md": "test_docs.py",
    "docs/preparing_a_log.md": "test_docs.py",
    "docs/python.md": "test_docs.py",
    "docs/sweeps.md": "agents/sweeps/test_sweeps.py",
}
OPTIONAL = {"mlflow", "optuna", "rl_zoo3", "sklearn", "wandb"}  # what pages use and the tests need not have


@pytest.mark.filterwarnings("default")  # other libraries have warnings of their own
@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page, "python") and page not in RUN_ELSEWHERE])
def test_python_of_the_page_runs(page: str, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From top to bottom as one program at small sizes, beside a folder `data` with an ensemble."""
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))  # a page may add ids
    shutil.copytree(small_data, tmp_path / "data")
    found: dict[str, object] = {}
    missing = set()
    for block in blocks_of(page, "python"):
        try:
            exec(small(block), found)  # noqa: S102
        except ModuleNotFoundError as error:
            if error.name not in OPTIONAL:
                raise
            missing.add(error.name)
        except NameError:  # of what a block would have made that could not run
            if not missing:
                raise
    if missing:
        pytest.skip(f"not installed: {', '.join(sorted(missing))}")


@pytest.mark.parametrize(("page", "file"), RUN_ELSEWHERE.items())
def test_the_tests_that_run_a_page_name_it(page: str, file: str) -> None:
    """So that the table above cannot excuse a page that no test runs."""
    assert Path(page).name in (ROOT / "tests" / file).read_text()


def test_every_method_has_a_page() -> None:
    """A method that is added needs its paragraph; its facts come from the code."""
    shown = " ".join(path.read_text() for path in (ROOT / "docs" / "methods").glob("*.md"))
    described = {name for line in re.findall(r"^```{method-facts} (.*)$", shown, re.MULTILINE) for name in line.split()}
    assert described == set(METHODS)


def test_what_was_measured_stands_on_the_pages_of_the_methods() -> None:
    """A report names what differs beside the method, and the pages once found no method of such a name."""
    pytest.importorskip("sphinx")
    facts = runpy.run_path(str(ROOT / "docs" / "_ext" / "methods.py"))
    with (ROOT / "docs" / "results" / "methods-20-epochs.csv").open() as file:
        measured = {row["method"].split(", ")[0] for row in csv.DictReader(file)}
    assert len(measured) > 10
    assert {name for name, method in METHODS.items() if "| measured |" in facts["_table"](method)} == measured


def test_the_contract_on_the_page_on_python(tmp_path: Path) -> None:
    """Saved as a test file, the block is found by pytest, and passes."""
    (block,) = [block for block in blocks_of("docs/python.md", "python") if "mopo_env.testing" in block]
    path = tmp_path / "test_mine.py"
    path.write_text(block)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stdout


def test_own_data_in_three_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's commands lead from a log to a policy, and the page has the same. Only sizes are small."""
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "examples" / "data")
    (block,) = [block for block in blocks_of("README.md") if "import-table" in block]
    load, fit, train = commands_in(block)
    (page,) = [block for block in blocks_of("docs/own_data.md") if "import-table" in block]
    assert {load, fit, train} <= set(commands_in(page))
    assert mopo(load, monkeypatch) == 0
    assert mopo(f"{fit} --max-epochs 1 --num-members 2 --num-elites 1", monkeypatch) == 0
    small = re.sub(r"--(epochs|rollout-batch-size|gradient-steps) \d+", r"--\1 5", train)
    assert small.count(" 5") == 3
    assert mopo(small, monkeypatch) == 0
    episodes, policy, _ = blocks_of("docs/own_data.md", "python")
    exec(episodes, {})  # noqa: S102
    found: dict[str, object] = {}
    exec(policy, found)  # noqa: S102
    assert found["action"].shape == (2,)  # type: ignore[attr-defined]


def test_the_log_that_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's commands print what stands below them, lead to a report card with names, and Python does the same."""
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "examples" / "data")
    refused, imported, show, fit, card, train = commands_in("\n".join(blocks_of("docs/preparing_a_log.md")))
    message, report = blocks_of("docs/preparing_a_log.md", "text")
    assert mopo(refused, monkeypatch) == 2
    assert {*message.splitlines()} - {"…"} <= {*capsys.readouterr().err.splitlines()}
    assert not (tmp_path / "room").exists()
    assert mopo(imported, monkeypatch) == 0
    assert capsys.readouterr().out.startswith(report)
    assert mopo(show, monkeypatch) == 0
    assert mopo(f"{fit} --max-epochs 1 --num-members 2 --num-elites 1", monkeypatch) == 0
    capsys.readouterr()
    assert mopo(card, monkeypatch) == 0
    names = ["room", "wall", "pressure", "mode=day", "mode=night", "reward"]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:7]] == names
    sizes = "--epochs 1 --rollout-batch-size 5 --gradient-steps 1"
    assert mopo(f"{train} {sizes}", monkeypatch) == 0
    (python,) = blocks_of("docs/preparing_a_log.md", "python")
    exec(python, {})  # noqa: S102
    assert load_transitions(tmp_path / "room-python").fingerprint == load_transitions(tmp_path / "room").fingerprint


def test_the_version_is_the_same_everywhere() -> None:
    """The citation and the README name the version that is installed."""
    assert f"\nversion: {mopo_env.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"version={{{mopo_env.__version__}}}" in PAGES["README.md"].read_text()


def test_every_page_is_in_the_table_of_contents() -> None:
    """Sphinx says this too, but not every machine that runs the tests has Sphinx."""
    contents = "\n".join((blocks_of(page, "{toctree}") and (ROOT / page).read_text()) or "" for page in PAGES)
    for page in PAGES:
        if page.startswith("docs/") and page != "docs/index.md":
            name = page.removeprefix("docs/").removeprefix("methods/").removesuffix(".md")
            assert re.search(rf"^(methods/)?{name}$", contents, re.MULTILINE), page
