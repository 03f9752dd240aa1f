"""`mopo push` and `mopo pull`: share a dataset, its ensemble and a policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tyro.conf import Positional

__all__ = ["pull_shared", "push_shared"]


def push_shared(source: Positional[Path], destination: Positional[str], /) -> Any:
    """Share a run, or a dataset and its ensemble, as one folder.

    A run brings its policy, its data and its ensemble. The folder gets a README.md made of the cards.

    Args:
        source: The folder of a run or a dataset, or a task's name.
        destination: A new or empty folder, or hf://OWNER/NAME on the Hugging Face hub.
    """
    from mopo_agents.sharing import push

    shared = push(source, destination)
    for reason in shared.left_out:
        print(f"left out: {reason}")
    print(f"{', '.join(shared.parts)}: now in {shared.place}. Fetch with: mopo pull {shared.place} FOLDER")
    return shared


def pull_shared(source: Positional[str], destination: Positional[Path], /) -> Any:
    """Fetch what was shared, and verify every file.

    Args:
        source: A folder, or hf://OWNER/NAME on the Hugging Face hub, also with @REVISION.
        destination: A new or empty folder.
    """
    from mopo_agents.sharing import pull

    shared = pull(source, destination)
    following = f"mopo train {destination}" if "ensemble" in shared.parts else f"mopo fit {destination}"
    if "policy" in shared.parts:
        following = f"mopo evaluate {destination}"
    print(f"{', '.join(shared.parts)}: verified, now in {destination}. Next: {following}")
    return shared
