"""Random generators: their states as arrays and numbers, and the global ones left as they were found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = [
    "generator_state",
    "generators_untouched",
    "global_generators",
    "set_generator_state",
    "set_global_generators",
]


def generator_state(generator: np.random.Generator | torch.Generator) -> dict[str, Any]:
    """Return what `set_generator_state` needs."""
    if isinstance(generator, torch.Generator):
        return {"torch": generator.get_state().numpy().copy()}
    return dict(generator.bit_generator.state)


def set_generator_state(generator: np.random.Generator | torch.Generator, state: dict[str, Any]) -> None:
    """Put a generator of one's own where another of the same kind was when its state was taken."""
    if isinstance(generator, torch.Generator):
        generator.set_state(torch.from_numpy(state["torch"].copy()))
    else:
        generator.bit_generator.state = state


def global_generators() -> dict[str, Any]:
    """Return the states of the global generators that Stable-Baselines3 draws from: Python's, NumPy's, PyTorch's."""
    version, words, gauss = random.getstate()
    # Those of GPUs only where there is one in use: to ask is to claim its memory.
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    return {
        "python": {"version": version, "words": np.array(words, dtype=np.uint32), "gauss": gauss},
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  # what is to be kept
        "torch": torch.get_rng_state().numpy(),
        "cuda": {str(device): state.numpy() for device, state in enumerate(devices)},
    }


def set_global_generators(state: dict[str, Any]) -> None:
    """Put the global generators into a state that `global_generators` returned."""
    python = state["python"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(torch.from_numpy(state["torch"].copy()))
    for device, words in state.get("cuda", {}).items():
        torch.cuda.set_rng_state(torch.from_numpy(words.copy()), int(device))


@contextmanager
def generators_untouched() -> Iterator[None]:
    """Leave the global generators as they were, whatever is drawn or seeded inside."""
    before = global_generators()
    try:
        with torch.random.fork_rng():  # those of every other device too
            yield
    finally:
        set_global_generators(before)
