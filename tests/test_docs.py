"""What the documentation tells people to type works as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from helpers.minari_files import write_three_episodes

from mopo_agents.cli import main as cli
from mopo_env import load_minari, load_transitions

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "data.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = sorted(
    {line for kind, block in BLOCKS if not kind for line in block.splitlines() if line.startswith("mopo ")}
)


def test_python_of_the_page_on_data(tmp_path: Path) -> None:
    """Both blocks, in a folder of their own: a dataset read by Minari, and one made of arrays."""
    write_three_episodes()
    blocks = [block for kind, block in BLOCKS if kind == "python"]
    assert len(blocks) == 2
    found: dict[str, object] = {}
    assert len(COMMANDS) > 6
    for block in blocks:
        exec(block, found)  # noqa: S102
    assert found["transitions"].fingerprint == load_minari("mopo/toy-v0").fingerprint  # type: ignore[attr-defined]
    assert len(load_transitions(tmp_path / "data")) == 2000


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_page_on_data(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are understood, and fail, where they do, for want of the file that they name."""
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit) as ended:
        cli.main()
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.startswith("mopo: "), error
    assert re.search(r"no such file|no dataset|no data for the task", error), error


def test_links_of_the_page_on_data() -> None:
    """To other files of the repository."""
    for target in re.findall(r"\]\((?!http)([^)]+)\)", PAGE):
        assert (DOCS / target).is_file(), target
    for target in re.findall(r"`((?:tests|mopo_env|benchmarks|docs)/[\w/.]+)`", PAGE):
        assert (DOCS.parent / target).is_file(), target
