"""The one writer and the one reader of the files this project defines.

An artifact is a pair in one folder: `<name>.json`, the manifest, and the tensor file that the manifest names,
`<name>-<digest>.safetensors`. The tensor file is written first and the manifest replaces its predecessor in one
step, so a reader sees the old artifact or the new one and nothing between. Neither file can run code when read.
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
    """Write named arrays and their description, all or nothing.

    Args:
        folder: Created when missing.
        name: What the artifact is, such as ``"ensemble"``; also the stem of its files.
        tensors: The arrays to keep.
        metadata: Anything JSON can hold.

    Returns:
        The path of the manifest.

    Raises:
        StoreError: If the disk is full or the folder cannot be written; what was there before is intact.
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
    # Only what this very manifest replaced: the tensor file of another writer at work is left alone.
    if replaced is not None and replaced.name != tensor_file:
        replaced.unlink(missing_ok=True)
    return manifest_path


def read_artifact(folder: Path | str, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_artifact` wrote, refusing anything damaged.

    Returns:
        The arrays by name, and the metadata.

    Raises:
        StoreError: If a file is missing, altered, or of a format this version cannot read.
    """
    path = Path(folder) / f"{name}.json"
    try:
        body = _read_file(path)
        while True:
            try:
                return _parse_artifact(path, name, body)
            except FileNotFoundError:
                # A writer may have replaced manifest and tensor file since the manifest was read.
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
    """Return which versions of which libraries wrote an artifact; empty if its manifest does not say."""
    try:
        versions = json.loads(_read_file(Path(folder) / f"{name}.json"))["versions"]
        return {str(library): str(number) for library, number in versions.items()}
    except (OSError, MemoryError, ValueError, TypeError, KeyError, AttributeError, RecursionError, StoreError):
        return {}


def write_file(path: Path, body: bytes) -> None:
    """Replace a file in one step: a crash at any moment leaves the old content or the new.

    Raises:
        StoreError: If it cannot be written; the old content is intact.
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
        # The rename itself must survive a power cut, hence the folder is synced too.
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
    """Write a mapping as strict JSON that a person can read.

    Raises:
        StoreError: If a value has no JSON form, or is not finite.
    """
    return (json.dumps(json_ready(content), indent=1, ensure_ascii=False) + "\n").encode()


def json_ready(value: Any) -> Any:
    """Turn NumPy scalars, arrays, paths and mappings into what JSON can hold.

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
    # A folder of strangers may hold links to devices, which have no end.
    if not stat.S_ISREG(path.stat().st_mode):
        raise StoreError(f"{path}: found a folder or a device, expected a file.")
    return path.read_bytes()


def _tensor_file_of(manifest_path: Path) -> Path | None:
    """Return the tensor file that a manifest names, or None if there is no sound manifest."""
    try:
        file = json.loads(manifest_path.read_bytes())["tensors"]["file"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    stem = f"{manifest_path.stem}-"
    is_ours = isinstance(file, str) and file.startswith(stem) and file.endswith(".safetensors")
    return manifest_path.parent / file if is_ours and Path(file).name == file else None


def library_versions() -> dict[str, str]:
    """Return the installed versions of the libraries that decide what we compute, as every manifest records them."""
    versions = {}
    for library in _RECORDED_LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files of writers that no longer run."""
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        owner = temporary.name.removeprefix(f".{path.name}.").split(".")[0]
        if owner.isdigit() and not _is_running(int(owner)):
            temporary.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _refuse_constant(token: str) -> float:
    raise ValueError(f"{token} is not JSON")
