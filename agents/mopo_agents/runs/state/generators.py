"""The three global generators that Stable-Baselines3 draws from: kept, put back, and left as they were found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["generators_untouched", "global_generators", "set_global_generators"]


def global_generators() -> dict[str, Any]:
    """Return the states of Python's, NumPy's and PyTorch's global generators, as arrays and numbers."""
    version, words, gauss = random.getstate()
    name, key, position, has_gauss, cached_gauss = np.random.get_state()  # noqa: NPY002  # what is to be kept
    return {
        "python": {"version": version, "words": np.array(words, dtype=np.uint32), "gauss": gauss},
        "numpy": {
            "name": name,
            "key": np.asarray(key),
            "position": position,
            "has_gauss": has_gauss,
            "cached_gauss": cached_gauss,
        },
        "torch": torch.get_rng_state().numpy(),
    }


def set_global_generators(state: dict[str, Any]) -> None:
    """Put the global generators into a state that `global_generators` returned."""
    python, numpy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    np.random.set_state(  # noqa: NPY002
        (numpy["name"], numpy["key"], numpy["position"], numpy["has_gauss"], numpy["cached_gauss"])
    )
    torch.set_rng_state(torch.from_numpy(state["torch"].copy()))


@contextmanager
def generators_untouched() -> Iterator[None]:
    """Leave the global generators as they were, whatever is drawn or seeded inside."""
    before = global_generators()
    try:
        with torch.random.fork_rng():  # those of every other device too
            yield
    finally:
        set_global_generators(before)
