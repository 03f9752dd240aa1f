"""Roll out a fixed policy. The same seed gives the same episodes with any number of processes."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import time
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mopo_agents._utils.machine import torch_threads
from mopo_agents._utils.processes import follow_parent
from mopo_agents.collection.episodes import EPISODES_SIDE_BY_SIDE, EpisodeRunner, MakeEnv
from mopo_agents.policies import load_policy
from mopo_agents.runs.identity import module_digest
from mopo_agents.runs.state.files import AppendLog, claim_folder
from mopo_agents.runs.state.interruption import interruptible
from mopo_env._utils.progress import progress_bar
from mopo_env._utils.store import library_versions
from mopo_env.errors import ConfigError
from mopo_env.transitions import Episode

_COLUMNS = ("observations", "actions", "rewards")


def roll_out(
    make_env: MakeEnv,
    *,
    policy: Path,
    rows: int,
    seed: int,
    stream: int = 0,
    workers: int = 1,
    folder: Path | None = None,
    checkpoint_minutes: float = 1.0,
    title: str = "roll out",
    progress: bool = True,
) -> list[Episode]:
    """Run episodes of a policy with stochastic actions until there are enough rows.

    Args:
        make_env: Builds the environment. Its episodes must have a time limit. With several workers, it must be
            something that other processes can import.
        policy: The folder of a policy of SAC.
        rows: The number of transitions.
        seed: The seed of all random numbers. Episode k derives its own seeds from this seed, the stream and k.
        stream: Distinguishes rollouts with the same seed.
        workers: The number of processes; 1: only this one. The data do not depend on it.
        folder: The folder of finished episodes. None: an interruption loses them.
        checkpoint_minutes: Minutes between writes of finished episodes.
        title: The title of the progress bar, which `progress` shows.
        progress: Whether to show it.

    Returns:
        The episodes in order. The last one is cut off if it is too long.

    Raises:
        ConfigError: If the folder began with other options, the policy cannot be rolled out, or a worker died.
        StoreError: If a file is damaged or cannot be written.
        KeyboardInterrupt: After Ctrl-C, when the running episodes are finished and saved.
    """
    log = None
    episodes: list[Episode] = []
    if folder is not None:
        loaded: Any = load_policy(policy)
        claim_folder(
            folder, {"policy": module_digest(loaded), "seed": seed, "stream": stream, "versions": library_versions()}
        )
        log = AppendLog(folder)
        for part in log.read():
            episodes += _unpacked(part)
    steps, logged_at = _steps_in(episodes), time.monotonic()
    groups = _groups(workers, len(episodes) // EPISODES_SIDE_BY_SIDE, (make_env, policy, seed, stream))
    bar = progress_bar(initial=min(steps, rows), total=rows, desc=title, unit="step", show=progress)
    with torch_threads(1), interruptible() as interrupted, contextlib.closing(groups), bar:
        while steps < rows:
            group = next(groups)
            episodes += group
            bar.update(min(_steps_in(group), rows - steps))
            steps += _steps_in(group)
            if steps >= rows or interrupted() or time.monotonic() - logged_at >= 60.0 * checkpoint_minutes:
                if log is not None:
                    log.append(_packed(episodes[log.position :]), length=len(episodes) - log.position)
                logged_at = time.monotonic()
            if interrupted():
                raise KeyboardInterrupt
    return _cut(episodes, rows)


_RunnerArguments = tuple[MakeEnv, Path, int, int]
_runner: EpisodeRunner | None = None  # of a worker process


def _groups(workers: int, first: int, arguments: _RunnerArguments) -> Generator[list[Episode], None, None]:
    """Yield the groups in order, without end."""
    if workers == 1:
        runner = EpisodeRunner(*arguments)
        yield from map(runner.run, itertools.count(first))
    # A fork of a process with PyTorch's threads may hang, hence "spawn".
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=follow_parent)
    try:
        upcoming = (pool.submit(_run_in_worker, arguments, group) for group in itertools.count(first))
        waiting = deque(itertools.islice(upcoming, 2 * workers))
        while True:
            yield waiting.popleft().result()
            waiting.append(next(upcoming))
    except BrokenProcessPool as error:
        raise ConfigError(
            f"workers: one of {workers} processes ended early. If memory ran out, use fewer workers. In a script, put "
            'the call under `if __name__ == "__main__":`. The saved episodes are kept.'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _run_in_worker(arguments: _RunnerArguments, group: int) -> list[Episode]:
    global _runner
    if _runner is None:
        torch.set_num_threads(1)
        _runner = EpisodeRunner(*arguments)
    return _runner.run(group)


def _steps_in(episodes: Iterable[Episode]) -> int:
    return sum(len(episode.rewards) for episode in episodes)


def _cut(episodes: list[Episode], rows: int) -> list[Episode]:
    """Return the first episodes with this number of rows in total; the last one is cut off."""
    kept: list[Episode] = []
    while rows > 0:
        episode = episodes[len(kept)]
        if rows < len(episode.rewards):
            head = {"actions": episode.actions[:rows], "rewards": episode.rewards[:rows]}
            episode = Episode(observations=episode.observations[: rows + 1], **head, terminated=False)
        kept.append(episode)
        rows -= len(episode.rewards)
    return kept


def _packed(episodes: list[Episode]) -> dict[str, np.ndarray]:
    columns = {name: np.concatenate([getattr(episode, name) for episode in episodes]) for name in _COLUMNS}
    lengths = np.array([len(episode.rewards) for episode in episodes])
    return {**columns, "lengths": lengths, "terminated": np.array([episode.terminated for episode in episodes])}


def _unpacked(part: dict[str, np.ndarray]) -> list[Episode]:
    ends = np.cumsum(part["lengths"])[:-1]
    splits = (ends + np.arange(1, len(ends) + 1), ends, ends)  # an episode has one observation more than steps
    columns = [np.split(part[name], where) for name, where in zip(_COLUMNS, splits, strict=True)]
    return [
        Episode(observations=observations, actions=actions, rewards=rewards, terminated=terminated)
        for observations, actions, rewards, terminated in zip(*columns, part["terminated"].tolist(), strict=True)
    ]
