"""Where to compute, checked before anything is loaded."""

import torch

from mopo_env.errors import ConfigError

__all__ = ["find_device"]


def find_device(name: torch.device | str) -> torch.device:
    """Return a device of this machine.

    Raises:
        ConfigError: If PyTorch knows no such device, or this machine has none.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device: {name!r} cannot be used here: {reason} Use 'cpu', or 'cuda' with a GPU.") from error
    return device
