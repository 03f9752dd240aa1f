"""Whether an object still computes what its class says: what a faster version of it has to ask first."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

__all__ = ["is_untouched"]

_MODULE_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_OPTIMIZER_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


def is_untouched(found: nn.Module | torch.optim.Optimizer) -> bool:
    """Return whether a network with all its parts, or an optimizer, has no hooks and no methods of its own."""
    if isinstance(found, nn.Module):
        return (
            not module_hooks._has_any_global_hook()  # type: ignore[no-untyped-call]
            and all(_is_plain(part, _MODULE_HOOKS) for part in found.modules())
            and not any(getattr(tensor, name) for tensor in found.parameters() for name in _TENSOR_HOOKS)
        )
    anyones = optimizer_hooks._global_optimizer_pre_hooks or optimizer_hooks._global_optimizer_post_hooks
    parameters = (tensor for group in found.param_groups for tensor in group["params"])
    hooked = any(getattr(tensor, name) for tensor in parameters for name in _TENSOR_HOOKS)
    return not anyones and not hooked and _is_plain(found, _OPTIMIZER_HOOKS)


def _is_plain(found: object, hooks: Iterable[str]) -> bool:
    shadowed = any(hasattr(type(found), name) for name in vars(found))  # such as a `forward` set on the object
    return not shadowed and not any(getattr(found, name) for name in hooks)
