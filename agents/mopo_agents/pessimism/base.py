"""What the pessimistic agents share: SAC's update with one part replaced."""

from __future__ import annotations

from stable_baselines3 import SAC

from mopo_agents.sb3.fast_sac.update import FastSAC, obstacle
from mopo_agents.sb3.mixins import plain_class
from mopo_env.errors import ConfigError


class PessimisticSAC(FastSAC, SAC):
    """SAC whose `update_class` replaces a part of the update."""

    def _setup_model(self) -> None:
        super()._setup_model()
        # Stable-Baselines3's own update has no such part, so there is nothing to fall back to.
        if (reason := obstacle(self)) is not None:
            raise ConfigError(
                f"{plain_class(type(self)).__name__} cannot update this agent: {reason}. Leave out what changes it."
            )

    def replaced(self) -> dict[str, str]:
        """Return what runs for rollouts; the updates are the agent's own."""
        return {part: code for part, code in super().replaced().items() if part != "updates"}
