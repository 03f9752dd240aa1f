"""JSON as this project writes and reads it: strict, and with a digest of itself.

The first entry of every file, ``"sha256"``, is the SHA-256 of the others in canonical form. Changing any value is
therefore noticed. It protects against damage, not against an author who computes the digest again.
"""

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mopo_env._utils.text import is_harmless
from mopo_env.errors import StoreError

LARGEST_JSON = 2**24
"""Bytes of the largest JSON file that is read. A million episode returns take twelve million."""

_DIGEST = "sha256"
# The states of NumPy's generators have 39 digits.
_LONGEST_INTEGER = 100


def json_text(content: Mapping[str, Any]) -> bytes:
    """Return a mapping as strict, indented JSON with its digest.

    Raises:
        StoreError: If a value has no JSON form or is not finite, a text has control characters, or the result is too
            large to be read again.
    """
    ready = json_ready({name: value for name, value in content.items() if name != _DIGEST})
    text = json.dumps({_DIGEST: canonical_digest(ready), **ready}, indent=1, ensure_ascii=False, allow_nan=False)
    body = f"{text}\n".encode()
    if len(body) > LARGEST_JSON:
        raise StoreError(f"metadata: found {len(body):,} bytes of JSON, expected at most {LARGEST_JSON:,}.")
    return body


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a file that `json_text` made, without its digest.

    Raises:
        StoreError: If the file is missing, too large, damaged or altered.
    """
    try:
        content = parse_json(read_regular_file(path, largest=LARGEST_JSON))
    except (OSError, MemoryError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: cannot be read: {error}.") from error
    return check_digest(path, content)


def parse_json(body: bytes, *, any_text: bool = False, infinities: bool = False) -> dict[str, Any]:
    """Parse an object of strict JSON in UTF-8.

    Args:
        body: The text.
        any_text: Accept texts with control characters.
        infinities: Accept ``Infinity`` and ``-Infinity``, which Python writes although they are not JSON.

    Raises:
        ValueError: If it is no object of strict JSON, repeats a name, has a number beyond the range of a float, or a
            text with control characters.
        RecursionError: If it is nested too deeply.
    """
    content = json.loads(
        body.decode(),
        parse_constant=_infinity if infinities else _refuse_constant,
        parse_float=_finite,
        parse_int=_integer,
        object_pairs_hook=partial(_without_repetition, check=not any_text),
    )
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, found a {type(content).__name__}")
    return content


def check_digest(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a file without its digest.

    Raises:
        StoreError: If the digest is missing or that of other content.
    """
    rest = {name: value for name, value in content.items() if name != _DIGEST}
    found, expected = content.get(_DIGEST), canonical_digest(rest)
    if found != expected:
        shown = "no digest" if found is None else f"the digest {str(found)[:12]!r}…"
        raise StoreError(
            f"{path}: found {shown}, but its content has {expected[:12]!r}…. The file is damaged or was altered: fetch "
            "or create it again."
        )
    return rest


def canonical_digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON data. It depends neither on the order of names nor on white space."""
    text = json.dumps(json_ready(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def json_ready(value: Any) -> Any:
    """Turn NumPy scalars, arrays, paths and mappings into types of JSON.

    Raises:
        StoreError: If a value has no JSON form or is not finite, or a text has control characters.
    """
    if isinstance(value, Mapping):
        return {json_ready(str(key)): json_ready(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return json_ready(value.tolist())
    if isinstance(value, Path):
        return json_ready(str(value))
    if isinstance(value, float) and not math.isfinite(value):
        raise StoreError(f"metadata must be finite to be kept as JSON, found {value!r}.")
    if isinstance(value, str) and not is_harmless(value):
        raise StoreError(f"metadata with control characters cannot be kept as JSON: {value[:80]!r}. Rename it.")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise StoreError(f"metadata of type {type(value).__name__} cannot be kept as JSON: {value!r}.")


def read_regular_file(path: Path, *, largest: int, exactly: int | None = None) -> bytes:
    """Return the content of a file whose size is checked before it is read.

    Raises:
        StoreError: If it is no regular file, larger than `largest`, or of another size than `exactly`.
        OSError: If it is missing or cannot be read.
    """
    # A stranger's folder may hold a link to a device, whose content has no end, or a pipe, which blocks.
    if not stat.S_ISREG(path.stat().st_mode):
        raise StoreError(f"{path}: found a folder or a device, expected a file.")
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if exactly is not None and size != exactly:
            raise StoreError(
                f"{path}: found {size:,} bytes, expected {exactly:,}. The file is damaged or was altered: fetch or "
                "create it again."
            )
        if size > largest:
            raise StoreError(f"{path}: found {size:,} bytes, expected at most {largest:,}. It is not read.")
        return stream.read(size)


def _refuse_constant(token: str) -> float:
    raise ValueError(f"{token} is not JSON")


def _infinity(token: str) -> float:
    number = float(token)
    return _refuse_constant(token) if math.isnan(number) else number


def _finite(token: str) -> float:
    number = float(token)
    if not math.isfinite(number):
        raise ValueError(f"the number {token[:40]} is beyond the range of a float")
    return number


def _integer(token: str) -> int:
    if len(token) > _LONGEST_INTEGER:
        raise ValueError(f"the number {token[:40]}… is too long")
    return int(token)


def _without_repetition(pairs: list[tuple[str, Any]], *, check: bool) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise ValueError(f"the name {name[:80]!r} occurs twice")
        if check:
            _check_texts(name)
            _check_texts(value)
        content[name] = value
    return content


def _check_texts(value: Any) -> None:
    """Refuse control characters. Objects inside were checked before: the hook sees the innermost first."""
    if isinstance(value, list):
        for entry in value:
            _check_texts(entry)
    elif isinstance(value, str) and not is_harmless(value):
        raise ValueError(f"the text {value[:80]!r} has control characters")
