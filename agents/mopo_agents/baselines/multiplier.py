"""The weight α of a constraint, learned by dual gradient ascent: its logarithm, or α itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mopo_agents.baselines.offline import descend

# BEAR's bounds of log α, so that the constraint always counts and never dominates.
_LOWEST_LOG, _HIGHEST_LOG = -5.0, 10.0


class Multiplier(nn.Module):
    """α of the Lagrangian −objective + α·violation; the constraint is violated where `violation` is positive.

    α grows while the constraint is violated, and shrinks while it holds. Its logarithm is learned, so that α is always
    positive.
    """

    def __init__(self, learning_rate: float, *, initial: float = 0.0) -> None:
        super().__init__()
        self.learned = nn.Parameter(torch.tensor(initial))
        self.optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate)

    @property
    def value(self) -> Tensor:
        """α, without a gradient."""
        return self.learned.detach().exp()

    def update(self, violation: Tensor) -> None:
        """Take one step up the Lagrangian, given the scalar violation; it is negative where the constraint holds."""
        descend(self.optimizer, -self.learned.exp() * violation.detach())
        with torch.no_grad():
            self.learned.clamp_(_LOWEST_LOG, _HIGHEST_LOG)


class LinearMultiplier(Multiplier):
    """Like `Multiplier`, but learns α itself and cuts it off at zero, as Wu et al.'s behaviour cloning does."""

    def __init__(self, learning_rate: float) -> None:
        super().__init__(learning_rate, initial=1.0)

    @property
    def value(self) -> Tensor:
        """α, without a gradient."""
        return self.learned.detach().clamp_min(0.0)

    def update(self, violation: Tensor) -> None:
        """Take one step up the Lagrangian; while α is zero, a constraint that holds does not change it."""
        violation = violation.detach()
        violation = torch.where(self.learned.detach() > 0.0, violation, violation.clamp_min(0.0))
        descend(self.optimizer, -self.learned * violation)
