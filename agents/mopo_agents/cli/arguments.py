"""From a command's function to its options: what the user typed, as a call of the function.

The function's signature and docstring say everything once. A parameter that is a configuration gives its fields.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, make_dataclass
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro
from tyro.conf import OmitArgPrefixes, Positional
from tyro.constructors import PrimitiveConstructorSpec

from mopo_agents.cli.messages import near, option_of, reason_of
from mopo_env._utils.references import is_reference
from mopo_env.errors import ConfigError

__all__ = [
    "Command",
    "arranged",
    "completion",
    "find_modules_here",
    "parameters_of",
    "read_call",
    "summary_of",
    "typed_value",
]

Command = Callable[..., Any]
_C = TypeVar("_C", bound=Command)

_EVERYWHERE = "Every command also has --json, --quiet, -v and --debug: see `mopo --help`."
_WIDE = "10000"  # columns
_GROUP = "group_"


@dataclass(frozen=True)
class _Extras:
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    defaults: Callable[[Sequence[str]], Mapping[str, Any]] = lambda _: {}


_EXTRAS: dict[Command, _Extras] = {}


def arranged(
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    defaults: Callable[[Sequence[str]], Mapping[str, Any]] = lambda _: {},
) -> Callable[[_C], _C]:
    """Say more of a command's options than its signature does.

    Args:
        groups: Titles, and the names of the options below them. The others stand at the top.
        defaults: A function from the words that were typed to other defaults, by parameter. Those of a parameter that
            is a configuration are by option.
    """

    def keep(command: _C) -> _C:
        _EXTRAS[command] = _Extras(groups or {}, defaults)
        return command

    return keep


def read_call(name: str, command: Command, arguments: Sequence[str]) -> Callable[[], Any]:
    """Return the call that the user typed.

    Args:
        name: The words of the command, such as ``"mopo fit"``.
        command: Its function.
        arguments: The words after the command.

    Raises:
        ConfigError: If the arguments are wrong; the message is in the words of the command line.
        SystemExit: After --help.
    """
    parameters = inspect.signature(command).parameters
    hints = get_type_hints(command, include_extras=True)
    kinds: dict[str, Any] = {key: _plain(hints[key]) for key in parameters}
    configs: dict[str, Any] = {key: kind for key, kind in kinds.items() if is_dataclass(kind)}
    form = _form(command, hints, _EXTRAS.get(command, _Extras()).defaults(arguments))
    if {"-h", "--help"} & set(arguments):
        _show_help(name, command, form)
        raise SystemExit(0)
    typed = _parse(name, command, form, arguments)
    values = dict(vars(typed))
    for title in [name for name in values if name.startswith(_GROUP)]:
        values |= vars(values.pop(title))
    for key, kind in configs.items():
        values[key] = kind(**{option.name: values.pop(option.name) for option in fields(kind)})
    words = [values.pop(key) for key, found in parameters.items() if found.kind is found.POSITIONAL_ONLY]
    more = [values.pop(key) for key, found in parameters.items() if found.kind is found.VAR_POSITIONAL]
    return partial(command, *words, *(word for group in more for word in group), **values)


def summary_of(command: Command) -> str:
    """Return the first line of a command's docstring."""
    return (inspect.getdoc(command) or "").partition("\n")[0]


def parameters_of(command: Command) -> dict[str, str]:
    """Return how each parameter of a command is typed: an option, or the word that stands for it in the usage."""
    form = _form(command, get_type_hints(command, include_extras=True), {})
    return {
        option.name: _word(option.name, option.type).removesuffix(" ...")
        if any(mark is Positional for mark in _marks(option.type))
        else option_of(option.name)
        for option in _options(form)
    }


def completion(table: Mapping[str, Any], shell: str) -> str:
    """Return tyro's script that lets a shell complete commands and options."""
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        _app(table).cli(prog="mopo", args=["--tyro-print-completion", shell])
    return shown.getvalue().rstrip()


def _app(table: Mapping[str, Any]) -> tyro.extras.SubcommandApp:
    app = tyro.extras.SubcommandApp()
    for name, entry in table.items():
        if callable(entry):
            app.command(name=name, help=summary_of(entry))(_form(entry, get_type_hints(entry, include_extras=True), {}))
        else:
            app.command(_app(entry.commands), name=name, help=entry.summary)
    return app


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


def _form(command: Command, hints: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    """Return a class whose fields are groups of options; its instance holds what was typed."""
    titles = _EXTRAS.get(command, _Extras()).groups
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
    is_word = any(mark is Positional for mark in _marks(hint))
    if is_word or default is None or default is False or default in ("", (), {}):
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


def _helps(documented: Any) -> dict[str, str]:
    """Return what a Google docstring says of each argument or attribute, with options as they are typed."""
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", inspect.getdoc(documented) or "", re.MULTILINE)
    names = "|".join(name for name, _ in entries if "_" in name) or "$."
    return {
        name: re.sub(rf"(?<![\w\"`])({names})(?![\w\"`])", lambda found: option_of(found[1]), " ".join(text.split()))
        for name, text in entries
    }


def _show_help(name: str, command: Command, form: Any) -> None:
    """Print the options of a command, as wide as the terminal."""
    width = min(100, shutil.get_terminal_size().columns)
    about = (inspect.getdoc(command) or "").partition("\nArgs:")[0].strip()
    paragraphs = [textwrap.fill(" ".join(text.split()), width) for text in (*about.split("\n\n"), _EVERYWHERE)]
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        tyro.cli(form, prog=name, description="", args=["--help"])
    typed: list[str] = [name]
    for option in fields(form):
        is_required = option.default_factory is MISSING and not option.name.startswith(_GROUP)
        word = _word(option.name, option.type)
        if any(mark is Positional for mark in _marks(option.type)):
            typed.append(word if is_required else f"[{word}]")
        elif is_required:
            typed.append(f"{option_of(option.name)} {word}")
    usage = textwrap.fill(f"usage: {' '.join(typed)} [options]", width, subsequent_indent=" " * 7)
    options = "\n".join(line.rstrip() for line in shown.getvalue().splitlines()[1:]).strip("\n")
    print(usage, *paragraphs, options, sep="\n\n")


def _word(name: str, hint: Any) -> str:
    """Return what stands for the value of an option."""
    plain = _plain(hint)
    if any(mark is Positional for mark in _marks(hint)):
        return f"{name.upper().removesuffix('S')} ..." if get_origin(plain) in (list, tuple) else name.upper()
    return _metavar(next((kind for kind in get_args(plain) if NoneType in get_args(plain)), plain))


def _parse(name: str, command: Command, form: Any, arguments: Sequence[str]) -> Any:
    """Return an instance of the form. What tyro refuses is refused in one sentence."""
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDE  # so that no line of its message is broken
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as shown:
            typed, unknown = tyro.cli(form, prog=name, args=list(arguments), return_unknown_args=True)
    except SystemExit as end:
        if not shown.getvalue():
            raise
        raise ConfigError(f"{reason_of(shown.getvalue())} `{name} --help` lists the options.") from end
    finally:
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
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
