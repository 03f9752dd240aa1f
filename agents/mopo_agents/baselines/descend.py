"""One step down a loss."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["descend"]


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step with the gradients of this loss alone."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
    optimizer.step()
