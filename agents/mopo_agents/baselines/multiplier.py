"""The weight of a constraint, found by dual gradient ascent: learned as its logarithm, or as it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mopo_agents.baselines.descend import descend

__all__ = ["LinearMultiplier", "Multiplier"]

# BEAR's bounds of log α: the constraint neither vanishes nor drowns everything else.
_LOWEST_LOG, _HIGHEST_LOG = -5.0, 10.0


class Multiplier(nn.Module):
    """α of the Lagrangian −objective + α·violation, where a violation above zero is one.

    α grows while the constraint is violated and shrinks while it is not; its logarithm is what is learned, so that it
    stays positive.
    """

    def __init__(self, learning_rate: float) -> None:
        super().__init__()
        self.log_value = nn.Parameter(torch.zeros(()))
        self.optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate)

    @property
    def value(self) -> Tensor:
        """α, without a gradient."""
        return self.log_value.detach().exp()

    def update(self, violation: Tensor) -> None:
        """Take one step up the Lagrangian.

        Args:
            violation: A scalar: how far the constraint is from holding, negative where it holds.
        """
        descend(self.optimizer, -self.log_value.exp() * violation.detach())
        with torch.no_grad():
            self.log_value.clamp_(_LOWEST_LOG, _HIGHEST_LOG)


class LinearMultiplier(nn.Module):
    """The same α, learned as it is and cut off at zero, as the entropy weight of Wu et al.'s behaviour cloning is."""

    def __init__(self, learning_rate: float) -> None:
        super().__init__()
        self.uncut_value = nn.Parameter(torch.ones(()))
        self.optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate)

    @property
    def value(self) -> Tensor:
        """α, without a gradient."""
        return self.uncut_value.detach().clamp_min(0.0)

    def update(self, violation: Tensor) -> None:
        """Take one step up the Lagrangian; where α is zero already, a constraint that holds moves nothing.

        Args:
            violation: A scalar: how far the constraint is from holding, negative where it holds.
        """
        violation = violation.detach()
        violation = torch.where(self.uncut_value.detach() > 0.0, violation, violation.clamp_min(0.0))
        descend(self.optimizer, -self.uncut_value * violation)
