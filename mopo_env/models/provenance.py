"""What a fitted model remembers of its data, and whether other data may take their place.

A model of other columns, units or rewards predicts without a word. So it is refused beside data that differ.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete

from mopo_env._utils.spaces import ActionSpace
from mopo_env.errors import SpaceMismatchError
from mopo_env.transitions import Transitions


def provenance(transitions: Transitions) -> dict[str, Any]:
    """Return what a fitted model keeps of its dataset, as JSON data: fingerprints, spaces in numbers, column names."""
    return {
        "dataset_name": transitions.metadata.get("name"),
        "dataset_fingerprint": transitions.fingerprint,
        "dynamics_fingerprint": transitions.dynamics_fingerprint,
        "observation_names": list(transitions.observation_names),
        "observation_space": _numbers(transitions.observation_space),
        "action_space": _numbers(transitions.action_space),
    }


def check_provenance(
    metadata: Mapping[str, Any], transitions: Transitions, fitted: str, *, allow_other_data: bool = False
) -> None:
    """Refuse data that a model was not fitted to.

    Args:
        metadata: What the model keeps, see `provenance`.
        transitions: The data beside it.
        fitted: What the model is, for the message, such as "ensemble".
        allow_other_data: Whether other rows, rewards and names are allowed. Other spaces never are.

    Raises:
        SpaceMismatchError: If spaces, names, rewards or rows differ. The message says which.
    """
    found = provenance(transitions)
    remedy = f"Fit it again on this dataset, or pass the dataset that the {fitted} was fitted on."
    for name in ("observation_space", "action_space"):
        if name in metadata and metadata[name] != found[name]:
            raise SpaceMismatchError(
                f"{name}: the dataset's is {getattr(transitions, name)}, but the {fitted} was fitted to data of "
                f"{_text(metadata[name])}. {remedy}"
            )
    if allow_other_data or metadata.get("dataset_fingerprint") == found["dataset_fingerprint"]:
        return
    raise SpaceMismatchError(
        f"the {fitted} was fitted to other data: {_difference(metadata, found)}. {remedy} If both describe the same "
        "system and reward, say so: allow_other_data=True (--allow-other-data)."
    )


def _difference(metadata: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    if "dataset_fingerprint" not in metadata:
        return "it does not say to which"
    if metadata.get("dynamics_fingerprint") == found["dynamics_fingerprint"]:
        return "the transitions are the same, but the rewards differ"
    names, fitted_names = found["observation_names"], metadata.get("observation_names")
    if fitted_names is not None and fitted_names != names:
        pairs = zip(fitted_names, names, strict=False)
        index, (fitted_name, name) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
        return f"column {index} of its observations was {fitted_name!r}, and is {name!r} here"
    of = metadata.get("dataset_name")
    return f"to {of}, of other rows" if of else "its rows differ"


def _numbers(space: ActionSpace) -> dict[str, Any]:
    """Return a space as JSON data; None stands for no bound."""
    if isinstance(space, Discrete):
        return {"n": int(space.n), "start": int(space.start)}
    sides = {"low": space.low.tolist(), "high": space.high.tolist()}
    return {side: [value if np.isfinite(value) else None for value in values] for side, values in sides.items()}


def _text(numbers: Any) -> str:
    if not isinstance(numbers, dict) or "low" not in numbers:
        return str(numbers)
    return f"bounds {numbers['low']} to {numbers['high']}"
