"""Devices: check them before anything is loaded, and do not wait for a GPU between steps."""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from mopo_env.errors import ConfigError


def check_device(name: torch.device | str) -> torch.device:
    """Return a device of this machine.

    Raises:
        ConfigError: If PyTorch knows no such device, or this machine has none.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.type == "meta":
            raise ValueError("It computes no values.")
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device: {name!r} cannot be used here: {reason} Use 'cpu', or 'cuda' with a GPU.") from error
    return device


def new_generator(np_random: np.random.Generator, device: torch.device) -> torch.Generator:
    """Derive a torch generator from an environment's NumPy generator, so that the seed decides every draw."""
    return torch.Generator(device).manual_seed(int(np_random.integers(2**63 - 1)))


def perhaps_any(flags: Bool[Tensor, "..."]) -> bool:
    """Return whether any flag is set. On a GPU, return True without synchronising.

    So code under this condition must change nothing in rows whose flag is not set.
    """
    return flags.device.type != "cpu" or bool(flags.any())


def certainly_any(flags: Bool[Tensor, "..."]) -> bool:
    """Return whether any flag is set. On a GPU, return False without synchronising."""
    return flags.device.type == "cpu" and bool(flags.any())
