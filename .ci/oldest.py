"""Print the oldest versions that ``pyproject.toml`` allows, as constraints for pip.

``make test-oldest`` installs them and runs the fast tests. What the bounds leave open is the newest that fits.
"""

import re
import sys
import tomllib
from itertools import chain
from pathlib import Path


def oldest(project: dict[str, object]) -> dict[str, str]:
    """Return the lower bound of every requirement; a list of extras of our own has none."""
    pins = {}
    for requirement in chain(project["dependencies"], *project["optional-dependencies"].values()):
        found = re.match(r"([\w-]+)(?:\[[\w,-]+\])?>=([\w.]+)", requirement)
        if found:
            pins[found[1]] = found[2]
    return dict(sorted(pins.items()))


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "pyproject.toml"
    pins = oldest(tomllib.loads(path.read_text())["project"])
    # A build for the CPU has a version of its own, "+cpu", which this matches too.
    sys.stdout.writelines(f"{name}=={version}{'.*' if name == 'torch' else ''}\n" for name, version in pins.items())
