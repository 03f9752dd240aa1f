"""Pages as a browser shows them."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(_BROWSER is None, reason="there is no Chromium")


class Elements(HTMLParser):
    """Collects what a page asks for, its elements, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.names: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.asked += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]

    def handle_data(self, data: str) -> None:
        self.text += data


def open_in_browser(path: Path, *, size: tuple[int, int], picture: Path) -> tuple[Elements, list[str]]:
    """Return the elements of a page once Chromium has shown it, and what its console says; write a picture of it."""
    command = [str(_BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--enable-logging=stderr", f"--window-size={size[0]},{size[1]}"]
    command += [f"--user-data-dir={picture.parent / 'profile'}", f"--screenshot={picture}", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return Elements(done.stdout), [line for line in done.stderr.splitlines() if "CONSOLE" in line]
