"""`mopo cache`: show and clear what can be made again. Collected datasets are not part of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mopo_env._utils.json_files import read_json
from mopo_env._utils.locks import lock_file
from mopo_env._utils.text import harmless
from mopo_env.datasets.folders import cache_folder
from mopo_env.errors import StoreError

# Folders of the cache, and what the entries are.
_KINDS = {"ensembles": "ensemble.json", "minari": "dataset.json"}
_KEY = re.compile("[0-9a-f]{16}")


def show_cache_path() -> str:
    """Print the folder of the cache.

    It is $MOPO_CACHE_PATH, else $XDG_CACHE_HOME/mopo, else ~/.cache/mopo.
    """
    print(cache_folder())
    return str(cache_folder())


def list_cache() -> list[dict[str, Any]]:
    """List what the cache holds.

    These are ensembles that were fitted for methods, and flat copies of Minari datasets.
    """
    entries = list(_entries())
    for entry in entries:
        print(f"{entry.parent.name:<10}{entry.name:<18}{_size(entry) / 1e6:>9,.1f} MB  {_description(entry)}")
    total = sum(map(_size, entries))
    print(f"{len(entries)} entries, {total / 1e6:,.1f} MB, in {cache_folder()}. Remove them with `mopo cache clear`.")
    return [{"folder": str(entry), "bytes": _size(entry), "description": _description(entry)} for entry in entries]


def clear_cache() -> dict[str, Any]:
    """Empty the cache. Its entries are made again when needed.

    An entry that another process is making stays.
    """
    removed = freed = 0
    for entry in _entries():
        size = _size(entry)
        try:
            with lock_file(entry.parent, entry.name, seconds=0):
                shutil.rmtree(entry)
        except (StoreError, OSError) as error:
            print(f"kept {entry}: {harmless(str(error))}")
            continue
        removed, freed = removed + 1, freed + size
    print(f"Removed {removed} entries, {freed / 1e6:,.1f} MB, from {cache_folder()}.")
    return {"removed": removed, "bytes": freed}


def _entries() -> Iterator[Path]:
    """Yield the folders that this project made, and nothing else that lies there."""
    for kind in _KINDS:
        root = cache_folder() / kind
        for path in sorted(root.iterdir()) if root.is_dir() else ():
            if _KEY.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                yield path


def _size(entry: Path) -> int:
    return sum(path.lstat().st_size for path in entry.iterdir())


def _description(entry: Path) -> str:
    try:
        metadata = read_json(entry / _KINDS[entry.parent.name])["metadata"]
        if entry.parent.name == "minari":
            return f"copy of {metadata['stamp']['file']}"
        return f"fitted to the data {metadata['dataset_fingerprint'][:12]}"
    except (StoreError, KeyError, TypeError):
        return "damaged; it is made again when needed"
