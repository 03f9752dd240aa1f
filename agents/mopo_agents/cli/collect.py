"""`mopo collect`: collect a task's dataset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tyro.conf import OmitArgPrefixes

from mopo_agents.cli.imports import sizes_of, summary
from mopo_agents.collection.config import CollectConfig
from mopo_env.datasets.folders import user_folder
from mopo_env.tasks import get_task

__all__ = ["collect_dataset"]


def collect_dataset(
    *,
    config: OmitArgPrefixes[CollectConfig],
    out: Path | None = None,
    minari: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Collect a task's dataset in the real environment.

    After an interruption, the same command resumes the collection and gives the same data.

    Args:
        config: What to collect.
        out: Folder for the dataset and the behaviour policy. None: the folder in which the task's id finds its data.
        minari: Also write a Minari dataset with this id, such as mopo/halfcheetah/mixed-v0.
        overwrite: Replace the dataset that the folder holds.
    """
    from mopo_agents.collection.recipes import collect
    from mopo_env.datasets.minari.reader import check_new_minari_id, save_minari

    folder = out or user_folder() / get_task(config.task).name
    if minari is not None:
        check_new_minari_id(minari)
    try:
        transitions = collect(config, folder=folder, overwrite=overwrite)
    except KeyboardInterrupt:
        print(f"mopo: the work so far is in {folder}; the same command resumes it", file=sys.stderr)
        raise
    print(summary(transitions))
    if minari is not None:
        print(f"Minari dataset {minari}: {save_minari(transitions, minari)}")
    if (folder / "behaviour").is_dir():
        print(f"The behaviour policy is in {folder / 'behaviour'}.")
    print(f"The dataset is in {folder}. Next: mopo fit {folder}")
    return {"folder": folder, **sizes_of(transitions)}
