"""One process at a time in a folder.

The locks are the operating system's (`filelock`): they end with their process, however it ends, so none is ever stale.
The lock file holds the process number and the start of the work, for the message to the second process.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from mopo_env.errors import BusyError, StoreError

_FOLDER = "mopo"


@contextmanager
def folder_lock(folder: Path | str) -> Iterator[None]:
    """Reserve a folder for a command that takes long, or raise at once.

    The folder is created if it is missing, and removed again if it is still empty at the end.

    Raises:
        BusyError: If another process has reserved it, which the message names.
        StoreError: If the folder cannot be written.
    """
    with lock_file(Path(folder), _FOLDER, seconds=0):
        yield


@contextmanager
def lock_file(folder: Path, name: str, *, seconds: float) -> Iterator[None]:
    """Hold the lock ``.<name>.lock`` of a folder. The file is removed at the end.

    Args:
        folder: Created if it is missing, and removed again if it is still empty at the end.
        name: Of what is locked.
        seconds: How long to wait for another process.

    Raises:
        BusyError: If another process still holds the lock.
        StoreError: If the folder cannot be written.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    path = folder / f".{name}.lock"
    try:
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=seconds, poll_interval=0.01)
        lock.acquire()
    except Timeout as error:
        raise BusyError(
            f"{folder}: {_holder(path)} works in this folder. Wait until it has ended, or choose another folder."
        ) from error
    except (OSError, NotImplementedError) as error:
        raise StoreError(f"{folder}: cannot be written: {getattr(error, 'strerror', None) or error}.") from error
    # Where the file system knows no locks, `filelock` uses the file itself, which is then not ours to change.
    is_ours = not isinstance(lock, SoftFileLock)
    try:
        with suppress(OSError):  # a full disk: only the message lacks the number
            now = datetime.now().astimezone().isoformat(" ", "seconds")
            if is_ours:
                path.write_text(f"process {os.getpid()} on {socket.gethostname()}, since {now},")
        yield
    finally:
        # It is removed while it is held. Who waited for this file sees that it is gone, and makes a new one.
        with suppress(OSError):
            if is_ours:
                path.unlink()
        lock.release()
        for parent in missing:
            with suppress(OSError):  # not empty
                parent.rmdir()


def _holder(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(200).strip() or "another process"
    except OSError:
        return "another process"
