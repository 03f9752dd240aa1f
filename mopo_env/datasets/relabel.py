"""Give a dataset the rewards of another task (paper, section 5.2)."""

from dataclasses import replace
from typing import Any

import numpy as np

from mopo_env.errors import ConfigError
from mopo_env.rewards import RewardFunction
from mopo_env.transitions import Transitions

# These describe the old rewards.
_STALE_METADATA = ("episode_returns", "fingerprint")


def relabel(transitions: Transitions, reward_function: RewardFunction) -> Transitions:
    """Return the same transitions with new rewards.

    Args:
        transitions: The dataset, which is not changed.
        reward_function: Takes observations, actions and next observations, and returns one number for each row. The
            arrays are read-only float32 in raw units, shape ``(rows, width)``; discrete actions are int64, shape
            ``(rows,)``. The paper's functions are in `mopo_env.rewards`.

    Returns:
        The same dataset with new rewards. Its metadata have the new entries ``reward_function`` and
        ``relabelled_from``, the fingerprint of the old dataset. Entries that describe the old rewards are removed.

    Raises:
        ConfigError: If `reward_function` is not callable, or does not return one finite number for each row.
    """
    if not callable(reward_function):
        raise ConfigError(
            f"reward_function: found {reward_function!r}, expected a callable of observations, actions and next "
            "observations, such as mopo_env.rewards.halfcheetah_jump."
        )
    returned = reward_function(transitions.observations, transitions.actions, transitions.next_observations)
    rewards = _checked(returned, transitions)
    metadata: dict[str, Any] = {
        **{name: value for name, value in transitions.metadata.items() if name not in _STALE_METADATA},
        "reward_function": _name(reward_function),
        "relabelled_from": transitions.fingerprint,
    }
    return replace(transitions, rewards=rewards, metadata=metadata)


def _checked(returned: Any, transitions: Transitions) -> np.ndarray:
    try:
        rewards = np.asarray(returned)
    except ValueError as error:  # rows of different lengths
        raise ConfigError(f"reward_function: returned rows of different lengths: {error}.") from error
    if rewards.dtype.kind not in "fiub" or rewards.shape != (len(transitions),):
        raise ConfigError(
            f"reward_function: returned an array of type {rewards.dtype} and shape {rewards.shape}, expected one real "
            f"number a row, shape ({len(transitions)},)."
        )
    with np.errstate(over="ignore"):
        rewards = rewards.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(rewards))
    if len(bad):
        row = int(bad[0])
        raise ConfigError(
            f"reward_function: returned {rewards[row]} at {transitions.locate(row)} (row {row}), and {len(bad)} such "
            f"value{'s' * (len(bad) != 1)} in all; every reward must be finite in float32."
        )
    return rewards


def _name(reward_function: RewardFunction) -> str:
    """Return the full name of a function, or of the class of another callable."""
    named: Any = reward_function if hasattr(reward_function, "__qualname__") else type(reward_function)
    return f"{named.__module__}.{named.__qualname__}"
