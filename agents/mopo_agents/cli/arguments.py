"""From a command's function to its options: what the user typed, as a call of the function.

The function's signature and docstring say everything once. A parameter that is a configuration gives its fields.
"""

from __future__ import annotations

import inspect
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, make_dataclass
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro
from tyro.conf import OmitArgPrefixes, Positional
from tyro.constructors import PrimitiveConstructorSpec

from mopo_agents._utils.processes import environment_variable
from mopo_agents.cli.messages import near, option_of, reason_of
from mopo_env._utils.references import is_reference
from mopo_env.errors import ConfigError

Command = Callable[..., Any]

_WIDE = "10000"  # columns, so that no line of a message of tyro is broken
_GROUP = "group_"


@dataclass(frozen=True, kw_only=True)
class Arranged:
    """A decorator that says more of a command's options than its signature does.

    Attributes:
        groups: Titles, and the names of the options below them. The others stand at the top.
        defaults: A function from the words that were typed to other defaults, by parameter. Those of a parameter that
            is a configuration are by option.
    """

    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    defaults: Callable[[Sequence[str]], Mapping[str, Any]] = lambda _: {}

    def __call__(self, command: Command) -> Command:
        """Keep what was said."""
        _ARRANGED[command] = self
        return command


_ARRANGED: dict[Command, Arranged] = {}


def read_call(name: str, command: Command, arguments: Sequence[str]) -> Callable[[], Any]:
    """Return the call that the user typed.

    Args:
        name: The words of the command, such as ``"mopo fit"``.
        command: Its function.
        arguments: The words after the command.

    Raises:
        ConfigError: If the arguments are wrong; the message is in the words of the command line.
    """
    parameters = inspect.signature(command).parameters
    hints = get_type_hints(command, include_extras=True)
    values = dict(vars(_parse(name, command, arguments)))
    for title in [name for name in values if name.startswith(_GROUP)]:
        values |= vars(values.pop(title))
    configs: dict[str, Any] = {key: kind for key in parameters if is_dataclass(kind := _plain(hints[key]))}
    for key, kind in configs.items():
        values[key] = kind(**{option.name: values.pop(option.name) for option in fields(kind)})
    words = [values.pop(key) for key, found in parameters.items() if found.kind is found.POSITIONAL_ONLY]
    more = [values.pop(key) for key, found in parameters.items() if found.kind is found.VAR_POSITIONAL]
    return partial(command, *words, *(word for group in more for word in group), **values)


def parameters_of(command: Command) -> dict[str, str]:
    """Return how each parameter of a command is typed: an option, or the word that stands for it in the usage."""
    return {
        option.name: _word(option.name, option.type).removesuffix(" ...")
        if _is_word(option.type)
        else option_of(option.name)
        for option in _options(form_of(command))
    }


def words_of(form: Any) -> Iterator[str]:
    """Yield what the usage of a command shows: words, and options that must be given."""
    for option in fields(form):
        is_required = option.default_factory is MISSING and not option.name.startswith(_GROUP)
        word = _word(option.name, option.type)
        if _is_word(option.type):
            yield word if is_required else f"[{word}]"
        elif is_required:
            yield f"{option_of(option.name)} {word}"


def find_modules_here(*names: str | None) -> None:
    """Let Python find modules in the current folder too, if the user named code, such as ``module:function``."""
    if any(map(is_reference, names)) and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def typed_value(arguments: Sequence[str], option: str) -> str | None:
    """Return the value of an option, before the other arguments are read."""
    for index, word in enumerate(arguments):
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
        if word == option and index + 1 < len(arguments):
            return arguments[index + 1]
    return None


def form_of(command: Command, arguments: Sequence[str] = ()) -> Any:
    """Return a class whose fields are options and groups of them; its instance holds what was typed."""
    arranged, hints = _ARRANGED.get(command, Arranged()), get_type_hints(command, include_extras=True)
    titles, defaults = arranged.groups, arranged.defaults(arguments)
    title_of = {name: title for title, names in titles.items() for name in names}
    groups: dict[str, list[Any]] = {title: [] for title in ("", *titles)}
    helps = _helps(command)
    for name, parameter in inspect.signature(command).parameters.items():
        kind, default = _plain(hints[name]), defaults.get(name, parameter.default)
        if is_dataclass(kind):
            helps |= _helps(kind)
            of_fields = get_type_hints(kind, include_extras=True)
            for option in fields(kind):
                own = option.default if option.default_factory is MISSING else option.default_factory()
                own = defaults.get(name, {}).get(option.name, own)
                entry = _described(option.name, of_fields[option.name], own, helps, pairs=True)
                groups[title_of.get(option.name, "")].append(entry)
            continue
        hint = hints[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            hint, default = Positional[tuple[kind, ...]], ()  # type: ignore[valid-type]
        default = MISSING if default is parameter.empty else default
        groups[title_of.get(name, "")].append(_described(name, hint, default, helps))
    form = groups.pop("")
    for number, (title, entries) in enumerate(groups.items()):
        group: Any = make_dataclass("Group", entries, kw_only=True)
        kind = Annotated[OmitArgPrefixes[group], tyro.conf.arg(name=title, help="")]  # type: ignore[misc]
        form.append((f"{_GROUP}{number}", kind))
    return make_dataclass("Form", form, kw_only=True)


def _described(
    name: str, hint: Any, default: Any, helps: Mapping[str, str], *, pairs: bool = False
) -> tuple[str, Any, Any]:
    """Return the field of an option: its type, its help in the words of the command line, and its default."""
    text, plain = helps.get(name, ""), _plain(hint)
    if default is None:
        text = re.sub(r"; None: ", "; default: ", text).replace("None: ", "Default: ")
    options: dict[str, Any] = {"help": text}
    if plain is not bool and not any(isinstance(mark, PrimitiveConstructorSpec) for mark in _marks(hint)):
        options["metavar"] = _word(name, hint)
    if _is_word(hint) or default is None or default is False or default in ("", (), {}):
        options["help_behavior_hint"] = ""
    if name.endswith("_"):  # a word of Python, such as from
        options["name"] = name.strip("_")
    if plain is bool and not pairs:
        hint = tyro.conf.FlagCreatePairsOff[hint]  # type: ignore[misc]
    made = field() if default is MISSING else field(default_factory=lambda: default)
    return name, Annotated[hint, tyro.conf.arg(**options)], made


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"{{{','.join(map(str, get_args(kind)))}}}"
    if get_origin(kind) is tuple:
        word = _metavar(get_args(kind)[0])
        return f"{word} [{word} ...]"
    return "{True,False}" if kind is bool else str(getattr(kind, "__name__", kind)).upper()


def _plain(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _marks(hint: Any) -> tuple[Any, ...]:
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _is_word(hint: Any) -> bool:
    """Return whether a value is typed without the name of an option."""
    return any(mark is Positional for mark in _marks(hint))


def _helps(documented: Any) -> dict[str, str]:
    """Return what a Google docstring says of each argument or attribute, with options as they are typed."""
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", inspect.getdoc(documented) or "", re.MULTILINE)
    names = "|".join(name for name, _ in entries if "_" in name) or "$."
    return {
        name: re.sub(rf"(?<![\w\"`])({names})(?![\w\"`])", lambda found: option_of(found[1]), " ".join(text.split()))
        for name, text in entries
    }


def _word(name: str, hint: Any) -> str:
    """Return what stands for the value of an option."""
    plain = _plain(hint)
    if _is_word(hint):
        return f"{name.upper().removesuffix('S')} ..." if get_origin(plain) in (list, tuple) else name.upper()
    return _metavar(next((kind for kind in get_args(plain) if NoneType in get_args(plain)), plain))


def _parse(name: str, command: Command, arguments: Sequence[str]) -> Any:
    """Return an instance of the form. What tyro refuses is refused in one sentence."""
    form, shown = form_of(command, arguments), io.StringIO()
    try:
        with environment_variable("COLUMNS", _WIDE), redirect_stdout(io.StringIO()), redirect_stderr(shown):
            typed, unknown = tyro.cli(form, prog=name, args=list(arguments), return_unknown_args=True)
    except SystemExit as end:
        if not shown.getvalue():
            raise
        raise ConfigError(f"{reason_of(shown.getvalue())} `{name} --help` lists the options.") from end
    if unknown:
        first = unknown[0].partition("=")[0]
        options = [word for word in parameters_of(command).values() if word.startswith("--")]
        found = near(first, options) if first.startswith("-") else ""
        raise ConfigError(f"{first}: not known to `{name}`.{found} `{name} --help` lists its options.")
    return typed


def _options(form: Any) -> Iterator[Field[Any]]:
    """Yield the fields of a form and of its groups."""
    for option in fields(form):
        if option.name.startswith(_GROUP):
            yield from _options(_plain(option.type))
        else:
            yield option
