"""How classes of ours are put before an agent's class, and how the result says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

__all__ = ["FastPath", "OwnActionRandom", "RandomRollouts", "fast_path", "plain_class", "with_mixins"]


def with_mixins(agent_class: type[BaseAlgorithm], mixins: Sequence[type[BaseAlgorithm]]) -> type[BaseAlgorithm]:
    """Return a subclass of an agent's class that is named after what was put before it, the last one foremost."""
    if not mixins:
        return agent_class
    name = f"{agent_class.__name__}[{', '.join(mixin.__name__ for mixin in mixins)}]"
    attributes = {"__doc__": agent_class.__doc__, "__module__": __name__, "_plain_class": agent_class}
    return type(name, (*reversed(mixins), agent_class), attributes)


def plain_class(agent_class: type[BaseAlgorithm]) -> type[BaseAlgorithm]:
    """Return an agent's class without what `with_mixins` put before it; policies are saved under its name."""
    plain: type[BaseAlgorithm] = vars(agent_class).get("_plain_class", agent_class)
    return plain


class FastPath(OffPolicyAlgorithm):
    """What replaces code of an agent by a faster equivalent; it says so in the agent's log when `learn` starts."""

    def replaced(self) -> dict[str, str]:
        """Return what runs for "rollouts" and "updates", where that is or could be something of ours."""
        return {}

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        prepared = super()._setup_learn(*args, **kwargs)
        self.logger.info(fast_path(self))
        return prepared


def fast_path(agent: BaseAlgorithm) -> str:
    """Say whose code rolls out and updates an agent: its own, or the faster equivalent of this package.

    The same line stands in the log of `learn`, which ``verbose=1`` shows.
    """
    name, replaced = plain_class(type(agent)).__name__, agent.replaced() if isinstance(agent, FastPath) else {}
    if not replaced:
        return f"{name}: rollouts and updates by the agent's own code"
    parts = (f"{part} {replaced.get(part, _OWN)}" for part in ("rollouts", "updates"))
    return f"{name}: {', '.join(parts)}; make_agent(..., fast=False) leaves both to the agent's own code"


_OWN = "by the agent's own code"


class OwnActionRandom(OffPolicyAlgorithm):
    """An agent whose random rollout actions come from a generator of its own; saves leave the generator out."""

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the agent, and the generator of the actions."""
        super().set_random_seed(seed)
        # A child of the seed: the replay buffer draws from the seed itself, and the two must not move together.
        self._action_random = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_action_random"]

    def _uniform_numbers(self, n_envs: int) -> np.ndarray:
        """Draw numbered actions, shape ``(n_envs,)``."""
        return self._action_random.integers(self.action_space.n, size=n_envs)  # type: ignore[attr-defined]  # Discrete


class RandomRollouts(OwnActionRandom):
    """Put before an agent's class, this chooses its rollout actions uniformly; its updates and `predict` stay.

    Stable-Baselines3's own way to random actions, `learning_starts`, would also put off the updates.
    """

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return actions for the environments, and the same as the replay buffer has them: scaled to −1…1, or numbers.

        Noise is not added: it would make the distribution another one.
        """
        if isinstance(self.action_space, Discrete):
            numbers = self._uniform_numbers(n_envs)
            return numbers, numbers
        shape = (n_envs, *(self.action_space.shape or ()))
        scaled = self._action_random.uniform(-1.0, 1.0, shape).astype(np.float32)
        return self.policy.unscale_action(scaled), scaled
