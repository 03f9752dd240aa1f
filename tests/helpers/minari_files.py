"""Minari datasets as Minari itself writes them, for tests to read and to damage."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import minari
import numpy as np
from gymnasium.spaces import Box
from minari.data_collector import EpisodeBuffer

ID = "mopo/toy-v0"


def write_minari(episodes: list[dict[str, Any]], *, observation_space: Any, action_space: Any, **options: Any) -> Path:
    """Write a dataset with whatever arrays are given, and return its data folder."""
    buffers = []
    for episode in episodes:
        steps = len(episode["rewards"])
        last = np.arange(steps) == steps - 1
        flags = {"terminations": last, "truncations": np.zeros(steps, dtype=bool)}
        buffers.append(EpisodeBuffer(**{**flags, **episode}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of author, e-mail and links
        dataset = minari.create_dataset_from_buffers(
            ID, buffer=buffers, observation_space=observation_space, action_space=action_space, **options
        )
    return Path(dataset.storage.data_path)


def write_three_episodes(**options: Any) -> Path:
    """Write a sound dataset of three episodes of five steps, widths 3 and 1, and return its data folder."""
    random = np.random.default_rng(0)
    episodes = [
        {
            "observations": random.uniform(-1, 1, (6, 3)).astype(np.float32),
            "actions": random.uniform(-1, 1, (5, 1)).astype(np.float32),
            "rewards": np.zeros(5),
        }
        for _ in range(3)
    ]
    return write_minari(episodes, observation_space=Box(-1, 1, (3,)), action_space=Box(-1, 1, (1,)), **options)
