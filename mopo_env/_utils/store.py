"""The one writer and the one reader of the files this project defines.

An artifact is a pair of files in one folder: the manifest `<name>.json`, and the tensor file that the manifest names,
`<name>-<digest>.safetensors`. The tensor file is written first. Then the new manifest replaces the old one in one step,
so a reader sees either the old artifact or the new one. Reading these files cannot run code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import stat
import uuid
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mopo_env.errors import StoreError

__all__ = [
    "FORMAT_VERSION",
    "artifact_versions",
    "json_ready",
    "json_text",
    "library_versions",
    "read_artifact",
    "write_artifact",
    "write_file",
]

FORMAT_VERSION = 1
_RECORDED_LIBRARIES = ("mopo-env", "torch", "numpy", "gymnasium", "stable-baselines3", "mujoco", "minari")


def write_artifact(
    folder: Path | str, name: str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> Path:
    """Write named arrays and their description, and return the path of the manifest.

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
        "tensors": {"file": tensor_file, "sha256": digest},
        "versions": library_versions(),
        "metadata": metadata,
    }
    manifest_path, manifest_body = folder / f"{name}.json", json_text(manifest)
    replaced = _tensor_file_of(manifest_path)
    write_file(folder / tensor_file, body)
    write_file(manifest_path, manifest_body)
    # Only the tensor file of the replaced manifest: another writer may be at work in this folder.
    if replaced is not None and replaced.name != tensor_file:
        replaced.unlink(missing_ok=True)
    return manifest_path


def read_artifact(folder: Path | str, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays, by name, and the metadata that `write_artifact` wrote.

    Raises:
        StoreError: If a file is missing, damaged or altered, or has a format that this version cannot read.
    """
    path = Path(folder) / f"{name}.json"
    try:
        body = _read_file(path)
        while True:
            try:
                return _parse_artifact(path, name, body)
            except FileNotFoundError:
                # A writer may have replaced both files after the manifest was read.
                previous, body = body, _read_file(path)
                if body == previous:
                    raise
    except FileNotFoundError as error:
        raise StoreError(f"{error.filename}: no such file, so there is no {name} in {path.parent}.") from error
    except (OSError, MemoryError) as error:
        raise StoreError(f"{path}: cannot be read: {type(error).__name__}: {error}.") from error
    except (ValueError, TypeError, KeyError, RecursionError, SafetensorError) as error:
        raise StoreError(f"{path}: not a {name} of mopo-env, or damaged: {type(error).__name__}: {error}.") from error


def artifact_versions(folder: Path | str, name: str) -> dict[str, str]:
    """Return the versions of the libraries that wrote an artifact; empty if its manifest does not hold them."""
    try:
        versions = json.loads(_read_file(Path(folder) / f"{name}.json"))["versions"]
        return {str(library): str(number) for library, number in versions.items()}
    except (OSError, MemoryError, ValueError, TypeError, KeyError, AttributeError, RecursionError, StoreError):
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


def json_text(content: Mapping[str, Any]) -> bytes:
    """Return a mapping as strict, indented JSON.

    Raises:
        StoreError: If a value has no JSON form, or is not finite.
    """
    return (json.dumps(json_ready(content), indent=1, ensure_ascii=False) + "\n").encode()


def json_ready(value: Any) -> Any:
    """Turn NumPy scalars, arrays, paths and mappings into types of JSON.

    Raises:
        StoreError: If a value has no JSON form, or is not finite.
    """
    if isinstance(value, Mapping):
        return {str(key): json_ready(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return json_ready(value.tolist())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise StoreError(f"metadata must be finite to be kept as JSON, found {value!r}.")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise StoreError(f"metadata of type {type(value).__name__} cannot be kept as JSON: {value!r}.")


def _parse_artifact(path: Path, name: str, manifest_body: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    manifest = json.loads(manifest_body, parse_constant=_refuse_constant)
    if manifest["format"] != f"mopo-env/{name}":
        raise StoreError(f"{path}: expected the format 'mopo-env/{name}', found {manifest['format']!r}.")
    if manifest["format_version"] != FORMAT_VERSION:
        raise StoreError(
            f"{path}: format version {manifest['format_version']!r}, but this mopo-env reads {FORMAT_VERSION}. "
            "Upgrade mopo-env, or write the file again."
        )
    file, expected = manifest["tensors"]["file"], manifest["tensors"]["sha256"]
    if not isinstance(file, str) or Path(file).name != file:
        raise StoreError(f"{path}: the tensor file {file!r} must be a plain name in the same folder.")
    body = _read_file(path.parent / file)
    found = hashlib.sha256(body).hexdigest()
    if found != expected:
        raise StoreError(
            f"{path.parent / file}: SHA-256 {found[:12]}…, but the manifest says {str(expected)[:12]}…. "
            "The file is damaged or was altered: fetch or create it again."
        )
    return load(body), dict(manifest["metadata"])


def _read_file(path: Path) -> bytes:
    # A stranger's folder may hold a link to a device, whose content has no end.
    if not stat.S_ISREG(path.stat().st_mode):
        raise StoreError(f"{path}: found a folder or a device, expected a file.")
    return path.read_bytes()


def _tensor_file_of(manifest_path: Path) -> Path | None:
    """Return the tensor file that a manifest names, or None if there is no valid manifest."""
    try:
        file = json.loads(manifest_path.read_bytes())["tensors"]["file"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    stem = f"{manifest_path.stem}-"
    is_ours = isinstance(file, str) and file.startswith(stem) and file.endswith(".safetensors")
    return manifest_path.parent / file if is_ours and Path(file).name == file else None


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


def _refuse_constant(token: str) -> float:
    raise ValueError(f"{token} is not JSON")
