"""What a command says: its result as JSON, and in the words of the command line what went wrong."""

from __future__ import annotations

import difflib
import json
import math
import re
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mopo_env._utils.text import harmless
from mopo_env.errors import MopoError

_NO_MEMORY = re.compile("can't allocate memory|out of memory", re.IGNORECASE)
_KINDS = {"INT": "an integer", "FLOAT": "a number"}


class Failed(Exception):
    """Ends a command with exit code 1, after it has said what failed; `result` is what --json prints."""

    def __init__(self, result: Any) -> None:
        """Keep the result."""
        super().__init__()
        self.result = result


def as_json(result: Any) -> str:
    """Return a command's result as JSON in ASCII. Numbers that are not finite become null, which all readers accept."""
    return json.dumps(_plain(result), indent=2, allow_nan=False)


def option_of(name: str) -> str:
    """Return how the command line writes a parameter's name."""
    return f"--{name.strip('_').replace('_', '-')}"


def near(word: str, known: Iterable[str]) -> str:
    """Return a question that names the nearest of the known words, or nothing if none is near."""
    found = difflib.get_close_matches(word, list(known), n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(found)}?" if found else ""


def in_words_of(message: str, typed: Mapping[str, str]) -> str:
    """Return a message of the library in the words of a command.

    ``penalty_coef: found …`` becomes ``--penalty-coef: found …``, and ``dataset=FOLDER`` becomes ``--dataset FOLDER``.
    Where the words differ more, the library says both, and the second stays: ``time=… (--time COLUMN)``.

    Args:
        message: The message.
        typed: How each parameter of the command is typed.
    """
    known = "|".join(sorted(typed, key=len, reverse=True)) or "$."
    message = re.sub(r"\b[a-z_]+=(?:(?!\. ).)*? ?\((--[^()]+)\)", r"\1", message)
    start = re.match(rf"(?:(?:{known})(?:, | and )?)+: ", message)
    if start is not None:
        message = re.sub(known, lambda found: typed[found[0]], start[0]) + message[start.end() :]
    free = r"(?<![\w/.'\"`=-])"
    message = re.sub(rf"{free}({known})=True\b", lambda found: typed[found[1]], message)
    message = re.sub(rf"{free}({known})=False\b", lambda found: f"--no{typed[found[1]][1:]}", message)
    message = re.sub(rf"{free}({known})='([^']*)'", lambda found: f"{typed[found[1]]} {found[2]}", message)
    message = re.sub(rf"{free}({known})=(?=[\w…\"])", lambda found: f"{typed[found[1]]} ", message)
    with_mark = "|".join(name for name in known.split("|") if "_" in name) or "$."
    return re.sub(rf"{free}({with_mark})(?![\w'\"=(.]\w?)", lambda found: typed[found[1]], message)


def reason_of(refusal: str) -> str:
    """Return in one sentence why tyro refused the arguments.

    Args:
        refusal: What it prints: a title, the reason and help, divided by lines.
    """
    lines = [line.rstrip() for line in refusal.splitlines()]
    rules = [number for number, line in enumerate(lines) if line.startswith((" ---", "  ---"))]
    lines = lines[rules[0] + 1 :] if rules else lines
    number = rules[1] - rules[0] - 1 if len(rules) > 1 else len(lines)
    reason = " ".join(" ".join(lines[:number]).split()) or refusal.strip()
    if found := re.match(r"Missing from", reason):
        words = [line.strip() for line in lines[:number] if re.match(r" {6}\S", line)]
        return f"{' and '.join(words)} must be given."
    if found := re.match(r"Missing value for argument '(\S+)'", reason):
        return f"{found[1]}: found no value, expected one."
    if found := re.match(r"invalid choice '(.*)' for argument '(\S+)'\. Expected one of \((.*)\)", reason):
        choices = sorted(set(re.findall(r"'([^']*)'", found[3])) - {"None"})
        return f"{found[2]}: found {found[1]!r}, expected {' or '.join(choices)}."
    if found := re.match(r"Error parsing (\S+): (.*)", reason):
        kind = re.search(rf"{found[1]} (INT|FLOAT)", " ".join(lines[number:]))
        value = re.search(r"'([^']*)'", found[2])
        if kind and value:
            return f"{found[1]}: found {value[1]!r}, expected {_KINDS[kind[1]]}."
        return f"{found[1]}: {found[2]}"
    return reason


def show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    """Print a warning without control characters; for `warnings.showwarning`."""
    text = warnings.formatwarning(message, category, filename, lineno, line)
    print(harmless(text), end="", file=file or sys.stderr)


def message_of(error: Exception) -> str | None:
    """Return what the user can act upon, or None: the error is a defect of ours, whose traceback is needed."""
    if isinstance(error, MopoError):
        return str(error)
    again = "Run the same command with --debug to see where."
    # PyTorch reports memory that it cannot get as a RuntimeError.
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        return f"there is not enough memory. {again}"
    if isinstance(error, OSError):
        file = f"{error.filename}: " if error.filename is not None else ""
        return f"{file}{error.strerror or str(error) or type(error).__name__}. {again}"
    return None


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
