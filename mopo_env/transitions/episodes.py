"""`Episode`, and how episodes become the rows of a dataset."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mopo_env.errors import DatasetError


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One recorded episode, in raw units.

    Attributes:
        observations: Shape ``(steps + 1, observation)``; the last one follows the last action.
        actions: Shape ``(steps, action)``, or ``(steps,)`` for discrete actions.
        rewards: Shape ``(steps,)``.
        terminated: Whether the last step reached a terminal state. If not, the episode was cut off.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool = False


def joined(episodes: Sequence[Episode]) -> dict[str, np.ndarray]:
    """Return the rows of whole episodes, by the names of the arrays of `Transitions`.

    Raises:
        DatasetError: If there is no episode, or the arrays of an episode have lengths that do not fit.
    """
    if not episodes:
        raise DatasetError("the dataset has no episodes; at least two transitions are needed.")
    for index, episode in enumerate(episodes):
        steps = len(episode.actions)
        found = (len(episode.observations), steps, len(episode.rewards))
        if steps == 0 or found != (steps + 1, steps, steps):
            raise DatasetError(
                f"episode {index}: found {found[0]} observations, {found[1]} actions and {found[2]} rewards; "
                "expected one observation more than actions, as many rewards as actions, and at least one action."
            )
    ends = np.cumsum([len(episode.actions) for episode in episodes]) - 1
    terminations = np.zeros(ends[-1] + 1, dtype=bool)
    truncations = np.zeros(ends[-1] + 1, dtype=bool)
    terminated = np.array([episode.terminated for episode in episodes], dtype=bool)
    terminations[ends], truncations[ends] = terminated, ~terminated
    return {
        "observations": _join("observations", [episode.observations[:-1] for episode in episodes]),
        "actions": _join("actions", [episode.actions for episode in episodes]),
        "rewards": _join("rewards", [episode.rewards for episode in episodes]),
        "next_observations": _join("observations", [episode.observations[1:] for episode in episodes]),
        "terminations": terminations,
        "truncations": truncations,
    }


def _join(name: str, parts: list[np.ndarray]) -> np.ndarray:
    widths = {np.shape(part)[1:] for part in parts}
    if len(widths) != 1:
        raise DatasetError(f"{name}: the episodes differ in shape: {sorted(map(str, widths))} were found.")
    joined = np.concatenate(parts)
    joined.setflags(write=False)
    return joined
