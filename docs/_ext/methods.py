"""The directive ``{method-facts} NAME…``: what a method sets, from `METHODS`, and what was measured.

Pages written by hand say why; these facts are read from the code, so that they cannot drift from it.
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mopo_agents.runs.methods import METHODS, Method

_RUNS = Path(__file__).parent.parent / "results" / "methods-20-epochs.csv"


class MethodFacts(SphinxDirective):
    """A table for each method that is named."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the tables, parsed as Markdown."""
        self.env.note_dependency(str(_RUNS))
        tables = [_table(METHODS[name]) for name in self.arguments[0].split()]
        return self.parse_text_to_nodes("\n\n".join(tables))


def _table(method: Method) -> str:
    rows = {"command": f"`mopo train TASK --method {method.name}`", "name in its source": method.title}
    if method.source.startswith("docs/"):
        rows["source"] = f"[{method.source}](/{method.source.removeprefix('docs/')})"
    elif method.source:
        rows["source"] = method.source
    rows["options of the fit"] = _options(method.fit)
    rows["options of the run"] = _options(method.train)
    rows["h and λ"] = _by_task(method.by_task)
    rows["the paper's returns"] = ", ".join(f"{task} {value:g}" for task, value in method.paper_returns.items())
    with _RUNS.open() as file:
        found = [row for row in csv.DictReader(file) if row["method"].split(", ")[0] == method.name]
    if found:
        last, mean = float(found[0]["last"]), float(found[0]["last_10"])
        where = "[halfcheetah-mixed, 20 epochs, one seed](/methods.md#every-method-for-20-epochs)"
        rows["measured"] = f"{last:.1f} at the end, {mean:.1f} on average over four evaluations: {where}"
    lines = [f"| {name} | {text} |" for name, text in rows.items() if text]
    return "\n".join(["| | |", "|---|---|", *lines])


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(
        f"`{name}={value if isinstance(value, str) else json.dumps(value)}`" for name, value in options.items()
    )


def _by_task(by_task: Mapping[str, Mapping[str, Any]]) -> str:
    return "; ".join(f"{task}: {_options(options)}" for task, options in by_task.items())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("method-facts", MethodFacts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
