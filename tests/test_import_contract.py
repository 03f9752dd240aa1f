"""Which modules may import which; a new import that breaks the order is found here, wherever in a module it stands."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mopo_agents
import mopo_env

AGENT_LIBRARIES = ("mopo_agents", "stable_baselines3", "sb3_contrib", "sbx", "jax", "flax")
DATASETS = "mopo_env.datasets"

# What modules, packages included, must not import; and what of it they may. The longest name that fits decides.
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "mopo_env": AGENT_LIBRARIES,
    # An environment steps through what it is given. To find and open it is the business of `make` alone, and that
    # needs to know where our own files lie, not how Minari, HDF5, D4RL or tables are read.
    "mopo_env.envs": (*AGENT_LIBRARIES, DATASETS),
    "mopo_env.envs.make": (*AGENT_LIBRARIES, DATASETS),
    "mopo_env._utils": (*AGENT_LIBRARIES, "mopo_env"),
}
ALLOWED: dict[str, tuple[str, ...]] = {
    "mopo_env.envs.make": (f"{DATASETS}.locate", f"{DATASETS}.shared"),
    "mopo_env._utils": ("mopo_env._utils", "mopo_env.errors"),
}


def sources() -> dict[str, str]:
    """Return the source of every module of both packages, by its name."""
    found = {}
    for root in (Path(package.__path__[0]) for package in (mopo_env, mopo_agents)):
        for path in root.rglob("*.py"):
            name = ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path.read_text()
    return found


def imports(name: str, source: str, modules: Iterable[str]) -> Iterator[str]:
    """Yield what a module imports, at its top, within a function, by `importlib`, or for a type checker alone."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute here, so that they can be read and moved"
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (member if member in modules else str(node.module) for member in members)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "require_extra"):
            yield from (part.value for part in node.args[:1] if isinstance(part, ast.Constant))  # type: ignore[misc]


def graph(modules: Mapping[str, str]) -> dict[str, set[str]]:
    return {name: set(imports(name, source, modules)) - {name} for name, source in modules.items()}


def within(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def offences(modules: Mapping[str, str]) -> list[str]:
    """Return every import that is forbidden."""
    found = []
    for name, imported in graph(modules).items():
        rules = [rule for rule in FORBIDDEN if within(name, [rule])]
        if rules:
            rule = max(rules, key=len)
            wrong = [other for other in imported if within(other, FORBIDDEN[rule])]
            found += [f"{name} -> {other}" for other in wrong if not within(other, ALLOWED.get(rule, ()))]
    return sorted(found)


def circle(modules: Mapping[str, str]) -> list[str]:
    """Return the modules of a circle of imports, or none."""
    try:
        TopologicalSorter(graph(modules)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_nothing_forbidden_is_imported() -> None:
    assert offences(sources()) == []


def test_no_imports_go_in_a_circle() -> None:
    """Of a circle nothing can be read, moved or tested alone. One that an import in a function hides counts, too."""
    assert circle(sources()) == []


def test_there_is_something_to_look_at() -> None:
    """A scan of no files finds nothing wrong, and a rule about a module that has moved forbids nothing."""
    modules = sources()
    assert len(modules) > 100
    named = {name for rules in (FORBIDDEN, ALLOWED) for rule, names in rules.items() for name in (rule, *names)}
    assert named - {*modules, *AGENT_LIBRARIES} == set()


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        ("mopo_env.tasks", "import mopo_agents.runs.train"),
        ("mopo_env.tasks", "def f():\n    from mopo_agents.agents import make_agent"),
        ("mopo_env.envs.env", "import importlib\nimportlib.import_module('stable_baselines3.common')"),
        ("mopo_env.real.robots", "require_extra('sb3_contrib', 'x')"),
        ("mopo_env.envs.env", "from mopo_env.datasets.locate import load_dataset"),
        ("mopo_env.envs.make", "from mopo_env.datasets.minari.reader import load_minari"),
        ("mopo_env.envs.make", "from mopo_env.datasets import d4rl"),
        ("mopo_env._utils.spaces", "from mopo_env import tasks"),
        ("mopo_env._utils", "from mopo_env.transitions import Transitions"),
    ],
)
def test_a_planted_offence_is_found(name: str, planted: str) -> None:
    """A scan that finds nothing anywhere would pass for ever."""
    modules = sources()
    assert len(offences({**modules, name: f"{modules[name]}\n{planted}"})) == 1


def test_a_planted_circle_is_found() -> None:
    """As it once was between `locate` and the reader of Minari, where one of the two was imported within a function."""
    modules = sources()
    reader = "mopo_env.datasets.minari.reader"
    planted = "def f():\n    from mopo_env.datasets.locate import load_dataset"
    assert {reader, "mopo_env.datasets.locate"} <= set(circle({**modules, reader: f"{modules[reader]}\n{planted}"}))
