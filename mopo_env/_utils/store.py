"""The one writer and the one reader of the files this project defines.

An artifact is a pair of files in one folder: the manifest `<name>.json`, and the tensor file that the manifest names,
`<name>-<digest>.safetensors`. The tensor file is written first. Then the new manifest replaces the old one in one step,
so a reader sees either the old artifact or the new one. Reading these files cannot run code.
"""

import contextlib
import hashlib
import os
import re
import time
import uuid
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mopo_env._utils.json_files import (
    LARGEST_JSON,
    check_digest,
    json_text,
    parse_json,
    read_json,
    read_regular_file,
)
from mopo_env._utils.locks import lock_file
from mopo_env.errors import StoreError

FORMAT_VERSION = 1
# Seconds that a writer waits for others; writing takes a few.
_PATIENCE_OF_WRITERS = 120.0
# A tensor file is missing for good if it is missing so often, with pauses of so many seconds, under one manifest.
_MISSES, _PAUSE = 40, 0.01
# Bytes of the names and shapes of all tensors. Safetensors allows 100 MB, whose parsing takes gigabytes.
_LARGEST_HEADER = 2**22
_RECORDED_LIBRARIES = ("mopo-env", "torch", "numpy", "gymnasium", "stable-baselines3", "mujoco", "minari")


def write_artifact(
    folder: Path | str, name: str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> Path:
    """Write named arrays and their description, and return the path of the manifest.

    Processes that write the same artifact take turns. Files that killed writers left are removed.

    Args:
        folder: Created if it is missing.
        name: The kind of artifact, such as ``"ensemble"``; file names start with it.
        tensors: The arrays.
        metadata: Anything JSON can hold.

    Raises:
        StoreError: If the disk is full or the folder cannot be written. The old artifact is then intact.
    """
    folder = Path(folder)
    try:
        body = save({key: np.asarray(array, order="C") for key, array in tensors.items()})
    except SafetensorError as error:
        raise StoreError(f"{folder}: an array cannot be kept as safetensors: {error}.") from error
    digest = hashlib.sha256(body).hexdigest()
    tensor_file = f"{name}-{digest[:12]}.safetensors"
    manifest = {
        "format": f"mopo-env/{name}",
        "format_version": FORMAT_VERSION,
        "tensors": {"file": tensor_file, "bytes": len(body), "sha256": digest},
        "versions": library_versions(),
        "metadata": metadata,
    }
    manifest_path, manifest_body = folder / f"{name}.json", json_text(manifest)
    with lock_file(folder, name, seconds=_PATIENCE_OF_WRITERS):
        _remove_leftovers(folder, name, of=_tensor_file_of(manifest_path))
        write_file(folder / tensor_file, body)
        write_file(manifest_path, manifest_body)
        # Only now, and only here: a manifest that names a removed file would need this lock first.
        _remove_leftovers(folder, name, of=tensor_file)
    return manifest_path


def read_artifact(
    folder: Path | str, name: str, *, largest: int | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays, by name, and the metadata that `write_artifact` wrote.

    Args:
        folder: Where the artifact is.
        name: The kind of artifact.
        largest: Bytes of the largest tensor file that is read. None: as large as the memory of this machine.

    Raises:
        StoreError: If a file is missing, too large, damaged or altered, or has a format that this version cannot read.
    """
    path = Path(folder) / f"{name}.json"
    try:
        previous, misses = b"", 0
        while True:
            body = read_regular_file(path, largest=LARGEST_JSON)
            misses = misses + 1 if body == previous else 0
            previous = body
            try:
                return _parse_artifact(path, name, body, _memory() if largest is None else largest)
            except FileNotFoundError:
                # A writer may have replaced both files after the manifest was read, perhaps by what was there before.
                # Misses are counted, not seconds: this process may have slept in between.
                if misses == _MISSES:
                    raise
                time.sleep(_PAUSE)
    except FileNotFoundError as error:
        raise StoreError(f"{error.filename}: no such file, so there is no {name} in {path.parent}.") from error
    except (OSError, MemoryError) as error:
        raise StoreError(f"{path}: cannot be read: {type(error).__name__}: {error}.") from error
    except (ValueError, TypeError, KeyError, RecursionError, SafetensorError) as error:
        raise StoreError(f"{path}: not a {name} of mopo-env, or damaged: {type(error).__name__}: {error}.") from error


def artifact_versions(folder: Path | str, name: str) -> dict[str, str]:
    """Return the versions of the libraries that wrote an artifact; empty if its manifest does not hold them."""
    try:
        versions = read_json(Path(folder) / f"{name}.json")["versions"]
        return {str(library): str(number) for library, number in versions.items()}
    except (KeyError, AttributeError, StoreError):
        return {}


def write_file(path: Path, body: bytes) -> None:
    """Replace a file in one step: a crash leaves either the old content or the new.

    Raises:
        StoreError: If the file cannot be written. The old content is then intact.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        with temporary.open("xb") as stream:
            stream.write(body)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        # The folder is synced too, so that the rename survives a power cut.
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}. What was there is intact.") from error


def _parse_artifact(
    path: Path, name: str, manifest_body: bytes, largest: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    manifest = parse_json(manifest_body)
    if manifest["format"] != f"mopo-env/{name}":
        raise StoreError(f"{path}: expected the format 'mopo-env/{name}', found {manifest['format']!r}.")
    if manifest["format_version"] != FORMAT_VERSION:
        raise StoreError(
            f"{path}: format version {manifest['format_version']!r}, but this mopo-env reads {FORMAT_VERSION}. "
            "Upgrade mopo-env, or write the file again."
        )
    manifest = check_digest(path, manifest)
    file, size, expected = (manifest["tensors"][entry] for entry in ("file", "bytes", "sha256"))
    if not isinstance(file, str) or Path(file).name != file:
        raise StoreError(f"{path}: the tensor file {file!r} must be a plain name in the same folder.")
    body = read_regular_file(path.parent / file, largest=largest, exactly=size)
    found = hashlib.sha256(body).hexdigest()
    if found != expected:
        raise StoreError(
            f"{path.parent / file}: SHA-256 {found[:12]}…, but the manifest says {str(expected)[:12]}…. "
            "The file is damaged or was altered: fetch or create it again."
        )
    header = int.from_bytes(body[:8], "little")
    if header > _LARGEST_HEADER:
        raise ValueError(f"a header of {header:,} bytes, expected at most {_LARGEST_HEADER:,}")
    return load(body), dict(manifest["metadata"])


def _tensor_file_of(manifest_path: Path) -> str | None:
    """Return the name of the tensor file that a manifest names, or None if there is no valid manifest."""
    try:
        file = read_json(manifest_path)["tensors"]["file"]
    except (StoreError, TypeError, KeyError):
        return None
    return file if isinstance(file, str) else None


def _remove_leftovers(folder: Path, name: str, *, of: str | None) -> None:
    """Remove the files of writers that were killed, and tensor files but the current one. The lock must be held."""
    tensor_files = re.compile(rf"{re.escape(name)}-[0-9a-f]{{12}}\.safetensors")
    temporary = re.compile(rf"\.({re.escape(name)}\.json|{tensor_files.pattern})\.\d+\.[0-9a-f]{{32}}\.tmp")
    for path in folder.iterdir():
        is_old = of is not None and path.name != of and tensor_files.fullmatch(path.name)
        if is_old or temporary.fullmatch(path.name):
            with contextlib.suppress(OSError):  # the next writer tries again
                path.unlink()


def _memory() -> int:
    """Return the bytes of memory of this machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 2**36


def library_versions() -> dict[str, str]:
    """Return the installed versions of the libraries that decide results. Every manifest records them."""
    versions = {}
    for library in _RECORDED_LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files of writers that were killed."""
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        owner = temporary.name.removeprefix(f".{path.name}.").split(".")[0]
        if owner.isdigit() and not _is_running(int(owner)):
            temporary.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it runs, as another user
        pass
    return True
