"""Errors: one base class, and messages that lead on."""

from __future__ import annotations

import importlib
import pickle
import types

import pytest

from mopo_env import errors
from mopo_env.errors import MissingExtraError, MopoError, UnknownNameError, require_extra

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, MopoError)]

# What a user who knows nothing of this project would write after `except`.
BUILTIN_BASES = {
    "BusyError": RuntimeError,
    "ConfigError": ValueError,
    "DatasetError": ValueError,
    "DivergenceError": RuntimeError,
    "InputError": ValueError,
    "MissingExtraError": ImportError,
    "SpaceMismatchError": ValueError,
    "StoreError": RuntimeError,
    "UnknownNameError": ValueError,
}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_one_except_catches_everything(cls: type[Exception]) -> None:
    assert issubclass(cls, MopoError)
    assert issubclass(cls, BUILTIN_BASES.get(cls.__name__, Exception))


def test_every_error_is_tried_here() -> None:
    assert {cls.__name__ for cls in CLASSES} == {*BUILTIN_BASES, "MopoError"}


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("halfchetah-mixed", "Did you mean 'halfcheetah-mixed'"),
        ("HALFCHEETAH-MIXED", "Did you mean 'halfcheetah-mixed'"),
        ("hoper", "Did you mean 'Hopper'?"),
        ("zzz", None),
        (7, None),
    ],
)
def test_unknown_name_suggests_the_nearest(name: object, suggestion: str | None) -> None:
    """A typo is the usual cause, and case must not hide the right name."""
    message = str(UnknownNameError("task", name, ["halfcheetah-mixed", "Hopper"]))
    assert message.startswith(f"unknown task {name!r}.")
    assert message.endswith("Known: Hopper, halfcheetah-mixed.")
    if suggestion is None:
        assert "Did you mean" not in message
    else:
        assert suggestion in message


def test_unknown_name_lists_the_nearest_first_and_at_most_three() -> None:
    message = str(UnknownNameError("rule", "aab", ["aaz", "aab1", "aayy", "aaxx", "qqq"]))
    suggested = message.split("Did you mean ")[1].split("?")[0].split(" or ")
    assert suggested[0] == "'aab1'"
    assert len(suggested) <= 3
    assert "'qqq'" not in suggested


def test_require_extra_returns_the_module() -> None:
    assert require_extra("json", "none") is importlib.import_module("json")


def test_missing_extra_holds_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both causes matter: not installed, and installed but broken, which only the original message tells apart."""

    def broken(name: str) -> types.ModuleType:
        raise ImportError(f"libGL.so is missing for {name}")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(MissingExtraError) as caught:
        require_extra("sb3_contrib", "contrib")
    for part in ("'sb3_contrib'", "libGL.so is missing", 'pip install "mopo-env[contrib]"'):
        assert part in str(caught.value)
    assert isinstance(caught.value.__cause__, ImportError)


def test_unknown_name_survives_pickling() -> None:
    """An error from a worker process arrives pickled; one that cannot be rebuilt hides its message."""
    error = UnknownNameError("task", "hoper", ["hopper"])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
