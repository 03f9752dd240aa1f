"""The options of an agent: how they are typed, and that they are data."""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

from tyro.constructors import PrimitiveConstructorSpec

from mopo_env._utils.json_files import json_ready
from mopo_env.errors import ConfigError, StoreError

_WORD = re.compile("[A-Za-z_][\\w.-]*")
_OF_PYTHON = {"True": "true", "False": "false", "None": "null"}


def _read(words: Sequence[str]) -> dict[str, Any]:
    """Read options that were typed: ``NAME=VALUE`` each, or all as one JSON object.

    A value is a literal of JSON or TOML, such as 1e-4, true, [256,256] or "text"; a single word is text. Nothing is
    evaluated.

    Raises:
        ValueError: If a word is none of these.
    """
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            found: dict[str, Any] = json.loads(words[0])
        except ValueError as error:
            raise ValueError(f"found {words[0]}, expected JSON or NAME=VALUE: {error}.") from error
        return found
    options = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"found {word!r}, expected NAME=VALUE, such as learning_rate=1e-4.")
        if name in options:
            raise ValueError(f"found {name} twice.")
        options[name] = _literal(name, value)
    return options


def _literal(name: str, value: str) -> Any:
    if value in _OF_PYTHON:
        raise ValueError(f"found {name}={value}, expected {name}={_OF_PYTHON[value]}, as in JSON.")
    with contextlib.suppress(ValueError):
        return json.loads(value)
    with contextlib.suppress(ValueError):
        return tomllib.loads(f"value = {value}")["value"]
    if _WORD.fullmatch(value):
        return value
    raise ValueError(f'found {name}={value}, expected a value such as 1e-4, true, [256,256] or "text".')


AgentOptions = Annotated[
    Mapping[str, Any],
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="NAME=VALUE ...",
        instance_from_str=_read,
        is_instance=lambda value: isinstance(value, Mapping),
        str_from_instance=lambda value: [f"{name}={json.dumps(entry)}" for name, entry in value.items()],
    ),
]


def as_data(name: str, options: Any, *, of_run: Collection[str]) -> dict[str, Any]:
    """Return the agent's options as JSON data.

    Raises:
        ConfigError: If config.json cannot record them, or one of them is an option of the run.
    """
    if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise ConfigError(f"{name}: expected a mapping from names to values, found {options!r}.")
    if twice := [key for key in options if key in of_run]:
        raise ConfigError(f"{name}: found {', '.join(twice)}. Set it as an option of the run, not of the agent.")
    try:
        data: dict[str, Any] = json.loads(json.dumps(json_ready(options)))
    except StoreError as error:
        raise ConfigError(
            f"{name}: expected data that JSON can hold, because config.json records them: {error} Instead, "
            "write a subclass of the agent that sets this option and pass agent_class=, or use make_agent and `learn`."
        ) from error
    return data
