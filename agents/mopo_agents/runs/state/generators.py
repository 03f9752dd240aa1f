"""The states of random generators as arrays and numbers, and a context that preserves the global generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def generator_state(generator: np.random.Generator | torch.Generator) -> dict[str, Any]:
    """Return a generator's state for `set_generator_state`."""
    if isinstance(generator, torch.Generator):
        return {"torch": generator.get_state().numpy().copy()}
    return dict(generator.bit_generator.state)


def set_generator_state(generator: np.random.Generator | torch.Generator, state: dict[str, Any]) -> None:
    """Restore a state in a generator of the same kind."""
    if isinstance(generator, torch.Generator):
        generator.set_state(torch.from_numpy(state["torch"].copy()))
    else:
        generator.bit_generator.state = state


def global_generators() -> dict[str, Any]:
    """Return the states of Python's, NumPy's and PyTorch's global generators, which Stable-Baselines3 uses."""
    version, words, gauss = random.getstate()
    # The GPUs' generators only if a GPU is in use, because the query itself allocates GPU memory.
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    return {
        "python": {"version": version, "words": np.array(words, dtype=np.uint32), "gauss": gauss},
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  # the global state is what must be saved
        "torch": torch.get_rng_state().numpy(),
        "cuda": {str(device): state.numpy() for device, state in enumerate(devices)},
    }


def set_global_generators(state: dict[str, Any]) -> None:
    """Restore the states that `global_generators` returned."""
    python = state["python"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(torch.from_numpy(state["torch"].copy()))
    for device, words in state.get("cuda", {}).items():
        torch.cuda.set_rng_state(torch.from_numpy(words.copy()), int(device))


@contextmanager
def generators_untouched() -> Iterator[None]:
    """Restore the global generators at the end, whatever is drawn or seeded inside."""
    before = global_generators()
    try:
        with torch.random.fork_rng():  # the generators of all devices
            yield
    finally:
        set_global_generators(before)
