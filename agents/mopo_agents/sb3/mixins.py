"""How mixins are applied to an agent's class, how the agent reports them, and when faster code must not run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

_OWN = "by the agent's own code"
_MODULE_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_OPTIMIZER_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


def with_mixins(agent_class: type[BaseAlgorithm], mixins: Sequence[type[BaseAlgorithm]]) -> type[BaseAlgorithm]:
    """Return a subclass of an agent's class with mixins, named after them; the last mixin is called first."""
    if not mixins:
        return agent_class
    name = f"{agent_class.__name__}[{', '.join(mixin.__name__ for mixin in mixins)}]"
    attributes = {"__doc__": agent_class.__doc__, "__module__": __name__, "_plain_class": agent_class}
    return type(name, (*reversed(mixins), agent_class), attributes)


def plain_class(agent_class: type[BaseAlgorithm]) -> type[BaseAlgorithm]:
    """Return an agent's class without the mixins of `with_mixins`; policies are saved under its name."""
    plain: type[BaseAlgorithm] = vars(agent_class).get("_plain_class", agent_class)
    return plain


class FastPath(OffPolicyAlgorithm):
    """Base of the mixins that replace an agent's code by a faster equivalent; `learn` logs what runs."""

    def replaced(self) -> dict[str, str]:
        """Return what runs for "rollouts" and "updates", as far as a mixin decides it."""
        return {}

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        prepared = super()._setup_learn(*args, **kwargs)
        self.logger.info(fast_path(self))
        return prepared


def fast_path(agent: BaseAlgorithm) -> str:
    """Say which code runs for an agent's rollouts and updates: its own, or this package's faster equivalent.

    With ``verbose=1``, `learn` logs the same line.
    """
    name, replaced = plain_class(type(agent)).__name__, agent.replaced() if isinstance(agent, FastPath) else {}
    if not replaced:
        return f"{name}: rollouts and updates {_OWN}"
    parts = (f"{part} {replaced.get(part, _OWN)}" for part in ("rollouts", "updates"))
    return f"{name}: {', '.join(parts)}; make_agent(..., fast=False) or `--no-fast` uses only the agent's own code"


class OwnActionRandom(OffPolicyAlgorithm):
    """An agent with a separate generator for random rollout actions; saved agents do not contain the generator."""

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the agent, and the generator of the actions."""
        super().set_random_seed(seed)
        # A child of the seed: the replay buffer is seeded with the seed itself, and the two must be independent.
        self._action_random = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_action_random"]

    def _uniform_numbers(self, n_envs: int) -> np.ndarray:
        return self._action_random.integers(self.action_space.n, size=n_envs)  # type: ignore[attr-defined]  # Discrete


class RandomRollouts(OwnActionRandom):
    """Mixin that draws rollout actions uniformly; updates and `predict` do not change.

    Stable-Baselines3's own option for random actions, `learning_starts`, would also delay the updates.
    """

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return actions for the environments and for the replay buffer, where boxes are scaled to −1…1.

        Action noise is ignored, because the distribution would no longer be uniform.
        """
        if isinstance(self.action_space, Discrete):
            numbers = self._uniform_numbers(n_envs)
            return numbers, numbers
        shape = (n_envs, *(self.action_space.shape or ()))
        scaled = self._action_random.uniform(-1.0, 1.0, shape).astype(np.float32)
        return self.policy.unscale_action(scaled), scaled


def is_untouched(found: nn.Module | torch.optim.Optimizer) -> bool:
    """Return whether an object still computes what its class defines, so that faster code may replace it.

    A network (with all its parts) or an optimizer must have no hooks and no methods set on the object.
    """
    if isinstance(found, nn.Module):
        return (
            not module_hooks._has_any_global_hook()  # type: ignore[no-untyped-call]
            and all(_is_plain(part, _MODULE_HOOKS) for part in found.modules())
            and not any(getattr(tensor, name) for tensor in found.parameters() for name in _TENSOR_HOOKS)
        )
    global_hooks = optimizer_hooks._global_optimizer_pre_hooks or optimizer_hooks._global_optimizer_post_hooks
    parameters = (tensor for group in found.param_groups for tensor in group["params"])
    hooked = any(getattr(tensor, name) for tensor in parameters for name in _TENSOR_HOOKS)
    return not global_hooks and not hooked and _is_plain(found, _OPTIMIZER_HOOKS)


def _is_plain(found: object, hooks: Iterable[str]) -> bool:
    shadowed = any(hasattr(type(found), name) for name in vars(found))  # such as a `forward` set on the object
    return not shadowed and not any(getattr(found, name) for name in hooks)
