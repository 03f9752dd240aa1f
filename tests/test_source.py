"""What the source must not contain: code that runs what a file says, and seeds of global generators."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mopo_agents
import mopo_env

ENV, AGENTS = (Path(package.__path__[0]) for package in (mopo_env, mopo_agents))
SOURCES = sorted([*ENV.rglob("*.py"), *AGENTS.rglob("*.py")])

# Reading a file with any of these can run code that the file's author chose.
READERS_THAT_RUN_CODE = {
    "pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "torch.load",
    "yaml",
    "eval",
    "exec",
    "compile",
    "__import__",
    "runpy",
    "recover_environment",
    "os.system",
    "subprocess",
}
# They move generators that belong to the user's program.
GLOBAL_SEEDS = {"numpy.random.seed", "torch.manual_seed", "torch.cuda.manual_seed", "torch.seed", "random.seed"}
# It starts this interpreter with a module of ours, and the name of a file that it wrote.
ALLOWED = {"sweeps/local.py": {"subprocess"}, "cli/doctor.py": {"subprocess"}}
FORBIDDEN = READERS_THAT_RUN_CODE | GLOBAL_SEEDS


def names_in(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the full name of everything that a module imports or refers to, aliases resolved, and its line."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                aliases[alias.asname or alias.name] = full
                yield full, node.lineno
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            parts: list[str] = []
            inner: ast.AST = node
            while isinstance(inner, ast.Attribute):
                parts.insert(0, inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name):
                yield ".".join([aliases.get(inner.id, inner.id), *parts]), node.lineno
            elif parts:  # a method of something computed: only its own name is known
                yield f"?.{parts[-1]}", node.lineno


def offences(source: str) -> list[tuple[str, int]]:
    """Return what is forbidden in a module, and where."""
    tree = ast.parse(source)
    found = []
    for name, line in names_in(tree):
        steps = name.split(".")
        prefixes = {".".join(steps[: count + 1]) for count in range(len(steps))}
        # recover_environment is a method of Minari's: whatever it is called on.
        hits = prefixes & FORBIDDEN | {steps[-1]} & {"recover_environment"}
        found += [(hit, line) for hit in sorted(hits)]
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "recover_environment"):
            refused = isinstance(node.value, ast.Constant) and node.value.value is False
            found += [] if refused else [(node.arg, node.value.lineno)]
    return sorted(set(found), key=lambda offence: offence[1])


def test_there_is_something_to_look_at() -> None:
    """A scan of no files finds nothing wrong."""
    names = {path.name for path in SOURCES}
    assert {"penalized_model.py", "store.py", "ensemble.py", "policies.py", "replay_buffer.py"} <= names
    assert len(SOURCES) > 30


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import pickle", "pickle"),
        ("import pickle as p", "pickle"),
        ("from pickle import loads", "pickle"),
        ("def f():\n    import cloudpickle", "cloudpickle"),
        ("import torch\ntorch.load('x')", "torch.load"),
        ("import torch as t\nt.load('x')", "torch.load"),
        ("from torch import load\nload('x')", "torch.load"),
        ("import yaml\nyaml.load('x')", "yaml"),
        ("eval('1')", "eval"),
        ("run = exec\nrun('1')", "exec"),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", "allow_pickle"),
        ("import numpy as np\nnp.load('x', allow_pickle=flag)", "allow_pickle"),
        ("import numpy as np\nnp.random.seed(0)", "numpy.random.seed"),
        ("from numpy import random\nrandom.seed(0)", "numpy.random.seed"),
        ("import torch\ntorch.manual_seed(0)", "torch.manual_seed"),
        ("import random\nrandom.seed(0)", "random.seed"),
        ("dataset.recover_environment()", "recover_environment"),
        ("load(x).recover_environment()", "recover_environment"),
        ("make(recover_environment=True)", "recover_environment"),
        ("import os\nos.system('x')", "os.system"),
    ],
)
def test_the_scan_finds_what_it_looks_for(source: str, name: str) -> None:
    """A scan that finds nothing anywhere would pass for ever."""
    assert name in [hit for hit, _ in offences(source)]


@pytest.mark.parametrize(
    "source",
    [
        '"""Leave the real rows out of pickles."""',
        "import torch\ntorch.Generator().manual_seed(0)",
        "import numpy as np\nnp.load('x', allow_pickle=False)\nnp.random.default_rng(0)",
        "from safetensors.numpy import load\nload(b'')",
        "policy.load_state_dict({})",
        "module.eval()",
    ],
)
def test_the_scan_lets_the_rest_pass(source: str) -> None:
    """False alarms would be answered with exceptions, and those with blindness."""
    assert offences(source) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_source_runs_what_a_file_says_or_seeds_a_global_generator(path: Path) -> None:
    """Files come from strangers, and generators belong to the user's program."""
    allowed = ALLOWED.get("/".join(path.parts[-2:]), set())
    assert [offence for offence in offences(path.read_text()) if offence[0] not in allowed] == []
