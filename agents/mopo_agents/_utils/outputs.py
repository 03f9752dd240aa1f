"""What a command writes: nothing of the user's is replaced unasked, and what cannot be written is refused at once.

A place that may not be written raises a `ConfigError` that says how to go on; one that cannot, a `StoreError`.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from mopo_env._utils.store import write_file
from mopo_env.errors import ConfigError, StoreError


def refuse_to_replace(folder: Path, artifact: str, *, overwrite: bool, what: str | None = None) -> None:
    """Refuse a folder that holds an artifact, unless it may be replaced; `what` is its name in the message."""
    if (folder / f"{artifact}.json").exists() and not overwrite:
        name = what or artifact
        raise ConfigError(
            f"{folder} already holds {'an' if name[0] in 'aeiou' else 'a'} {name}. Choose another folder with --out, "
            "or pass --overwrite to replace it."
        )


def refuse_other_files(folder: Path) -> None:
    """Refuse a folder for a run that holds something else, because a run writes many files."""
    if folder.is_dir() and not (folder / "config.json").exists():
        for path in folder.iterdir():
            if not path.name.startswith("."):  # such as the lock of a process that was killed
                raise ConfigError(f"--out: {folder} holds {path.name!r}, expected no folder, an empty one, or a run.")


def check_room(folder: Path, needed: int) -> None:
    """Refuse a folder whose disk is too full, before the work whose result needs these bytes."""
    existing = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise StoreError(
            f"{folder}: found {free / 1e6:,.0f} MB of free disk, but the result needs {needed / 1e6:,.0f} MB. Make "
            "room, or choose another folder."
        )


def save_or_rescue(save: Callable[[Path], object], folder: Path) -> None:
    """Save the result of long work; where that fails, save it in a temporary folder.

    Raises:
        StoreError: If it could not be saved where it belongs. The message says where it is and what to do.
    """
    try:
        save(folder)
    except StoreError as error:
        try:
            rescue = Path(tempfile.mkdtemp(prefix="mopo-rescued-"))
            save(rescue)
        except (StoreError, OSError):
            raise StoreError(
                f"{error} Nor can the temporary folder {tempfile.gettempdir()} be written, so the result is lost. Make "
                "room and run the same command again."
            ) from error
        raise StoreError(
            f"{error} The result is safe in {rescue}: make room, then move its files into {folder}."
        ) from error


def check_output(path: Path | None, option: str, *, overwrite: bool) -> None:
    """Refuse a file that the user names and that exists already, unless it may be replaced. None: there is no file.

    What is no file, such as a pipe or ``/dev/stdout``, is written to.
    """
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f"{option}: {path} is a folder, expected a file.")
    if path.is_file() and not overwrite:
        raise ConfigError(f"{option}: {path} exists already. Choose another file, or pass --overwrite to replace it.")


def write_output(path: Path, body: bytes) -> None:
    """Write a file that the user names: a link stays a link, and a pipe or a device gets the content."""
    try:
        target = path.resolve()
        is_special = target.exists() and not stat.S_ISREG(target.stat().st_mode)
        if is_special and not target.is_dir():
            with target.open("wb") as stream:
                stream.write(body)
            return
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"{path}: cannot be written: {reason}.") from error
    write_file(target, body)
