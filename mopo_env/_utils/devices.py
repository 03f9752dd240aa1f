"""Where to compute: checked before anything is loaded, and never waited for in between."""

import torch
from jaxtyping import Bool
from torch import Tensor

from mopo_env.errors import ConfigError

__all__ = ["check_device", "perhaps_any"]


def check_device(name: torch.device | str) -> torch.device:
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


def perhaps_any(flags: Bool[Tensor, "..."]) -> bool:
    """Return False only if no flag is set; of a device that would have to be waited for, True unasked.

    What is skipped on False must leave everything as it is where no flag is set.
    """
    return flags.device.type != "cpu" or bool(flags.any())
