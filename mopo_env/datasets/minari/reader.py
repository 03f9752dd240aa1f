"""Read and write Minari datasets; reading never runs code that a file names."""

import json
import os
import re
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np

from mopo_env.datasets.files import read_through
from mopo_env.datasets.folders import cache_folder
from mopo_env.datasets.minari.metadata import read_minari_metadata
from mopo_env.errors import DatasetError
from mopo_env.transitions import Transitions

# Minari's own syntax, with a version. No dot is allowed, so no id leads out of the folder.
_ID = re.compile(r"([-_\w][-_\w/]*[-_\w]/)?[-_\w]+-v\d+")
# To find an episode in HDF5 takes about half a millisecond, so this many take a second.
_WORTH_KEEPING = 2_000


def has_minari_dataset(dataset_id: str) -> bool:
    """Return whether Minari has this dataset on this machine."""
    return _ID.fullmatch(dataset_id) is not None and (_data_folder(dataset_id) / "metadata.json").is_file()


def load_minari(dataset_id: str, *, flatten: bool = False) -> Transitions:
    """Read a local Minari dataset whose actions are vectors or discrete.

    The environment that the files name is never made, since this would run code that a file chooses. Only Minari's
    default format, HDF5, is supported, and Minari itself is not needed. Datasets of 2,000 episodes or more are copied
    to the cache, and read from there until their files change.

    Args:
        dataset_id: Such as ``"mujoco/halfcheetah/medium-v0"``; `minari download` fetches a remote one first.
        flatten: Join the parts of observations that are dictionaries, tuples, arrays or discrete into one vector, as
            `gymnasium.wrappers.FlattenObservation` does. The columns get names such as ``position[0]``, for
            `Transitions.observation_names`. Otherwise only vectors are accepted.

    Raises:
        DatasetError: If there is no such dataset, or its content is wrong. The message names the episode.
    """
    _check_id(dataset_id)
    folder = _data_folder(dataset_id)
    if not has_minari_dataset(dataset_id):
        raise DatasetError(
            f"Minari dataset {dataset_id!r}: not found in {folder.parent}. "
            f"`minari list local` shows what there is; `minari download {dataset_id}` fetches a remote one."
        )
    data = folder / "main_data.hdf5"
    try:
        described = read_minari_metadata(folder / "metadata.json", flatten=flatten)

        def read() -> Transitions:
            from mopo_env.datasets.minari.hdf5 import read_minari_episodes  # h5py is slow to import

            return read_minari_episodes(data, described, name=dataset_id)

        if described.total_episodes < _WORTH_KEEPING or not data.is_file():
            return read()
        state = data.stat()
        stamp = {
            "file": str(data.resolve()),
            "size": state.st_size,
            "mtime_ns": state.st_mtime_ns,
            "metadata_sha256": described.sha256,
        }
        return read_through(cache_folder() / "minari", stamp, read)
    except DatasetError as error:
        raise DatasetError(f"Minari dataset {dataset_id!r}: {error}") from error


def check_new_minari_id(dataset_id: str) -> None:
    """Refuse an id that `save_minari` would refuse, before the work whose result it is to name.

    Raises:
        DatasetError: If the id is malformed or exists.
    """
    _check_id(dataset_id)
    if _data_folder(dataset_id).parent.exists():
        raise DatasetError(
            f"Minari dataset {dataset_id!r} exists already; choose a higher version, or `minari delete {dataset_id}`."
        )


def save_minari(transitions: Transitions, dataset_id: str, *, env_id: str | None = None) -> Path:
    """Write a dataset as a local Minari dataset.

    Args:
        transitions: Whole episodes. Within one, each next observation is the following row's observation.
        dataset_id: Such as ``"mopo/halfcheetah/mixed-v0"``; a new id.
        env_id: A registered Gymnasium id to record as the source; default: the metadata's ``real_env_id``.

    Returns:
        The folder of the new dataset.

    Raises:
        DatasetError: If the id is malformed or exists, or the rows are not whole episodes. Nothing is written then.
    """
    check_new_minari_id(dataset_id)
    _check_whole_episodes(transitions)
    if env_id is not None and env_id not in gym.registry:
        raise DatasetError(f"env_id: no environment {env_id!r} is registered with Gymnasium.")
    env_id = env_id or transitions.metadata.get("real_env_id")
    import minari
    from minari.data_collector import EpisodeBuffer

    buffers = []
    for index, episode in enumerate(transitions.episodes()):
        last = np.arange(len(episode.rewards)) == len(episode.rewards) - 1
        buffers.append(
            EpisodeBuffer(
                id=index,
                observations=episode.observations,
                actions=episode.actions,
                rewards=episode.rewards,
                terminations=last & episode.terminated,
                truncations=last & (not episode.terminated),
            )
        )
    with warnings.catch_warnings():
        # Minari warns if author, e-mail and links are missing, which only published datasets need.
        warnings.simplefilter("ignore", UserWarning)
        dataset = minari.create_dataset_from_buffers(
            dataset_id,
            buffer=buffers,
            observation_space=transitions.observation_space,
            action_space=transitions.action_space,
            algorithm_name=str(transitions.metadata.get("recipe", "")) or None,
            description=json.dumps(dict(transitions.metadata), default=str),
        )
    if env_id in gym.registry:
        # Minari would make an environment that is passed as `env`. Its description is enough.
        dataset.storage.update_metadata({"env_spec": gym.spec(env_id).to_json()})
    return _data_folder(dataset_id).parent


def _data_folder(dataset_id: str) -> Path:
    root = os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets"
    return Path(root) / dataset_id / "data"


def _check_id(dataset_id: str) -> None:
    if _ID.fullmatch(dataset_id) is None:
        raise DatasetError(
            f"Minari dataset {dataset_id!r}: malformed; expected '(namespace/)name-vN', such as "
            "'mopo/halfcheetah/mixed-v0'."
        )


def _check_whole_episodes(transitions: Transitions) -> None:
    within = np.ones(len(transitions), dtype=bool)
    within[transitions.episode_ends] = False
    rows = np.flatnonzero(within)
    broken = rows[(transitions.next_observations[rows] != transitions.observations[rows + 1]).any(axis=1)]
    if len(broken):
        raise DatasetError(
            f"{transitions.locate(int(broken[0]))} (row {broken[0]}): the next observation is not the observation of "
            "the following row, so these rows are not whole episodes and Minari cannot hold them. Flag the row as "
            "truncated, or keep the dataset with save_transitions."
        )
