"""Adam on vectors of all parameters: one kernel instead of a loop over many small tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from mopo_agents.sb3.fast_sac.dense_networks import gather, scatter

_MOMENTS = ("exp_avg", "exp_avg_sq")


class FlatAdam:
    """Adam that continues from the state of PyTorch optimizers; `write_back` returns the new state to them."""

    def __init__(self, parts: Sequence[tuple[torch.optim.Optimizer, Sequence[Tensor], Tensor, Tensor]]) -> None:
        """Copy the state.

        Args:
            parts: For each optimizer: the optimizer, its parameters, the vector of their values, which `step` changes,
                and the vector of their gradients. All optimizers have the same `adam_options`.
        """
        self._parts = parts
        self._values, self._gradients = [part[2] for part in parts], [part[3] for part in parts]
        options = adam_options(parts[0][0], parts[0][1]) or {}
        self._options: dict[str, Any] = {
            "beta1": options["betas"][0],
            "beta2": options["betas"][1],
            **{name: options[name] for name in ("lr", "eps", "weight_decay", "amsgrad", "maximize")},
        }
        self._moments: list[list[Tensor]] = [[], []]
        self._steps: list[Tensor] = []
        for optimizer, parameters, values, _ in parts:
            known = [optimizer.state[parameter] for parameter in parameters if optimizer.state.get(parameter)]
            step = known[0]["step"] if known else 0.0
            self._steps.append(torch.full((), float(step), device=values.device))
            for name, moments in zip(_MOMENTS, self._moments, strict=True):
                moments.append(gather(state[name] for state in known) if known else torch.zeros_like(values))

    def step(self) -> None:
        """Update the values; autograd must be off."""
        means, squares = self._moments
        adam(self._values, self._gradients, means, squares, [], self._steps, fused=True, **self._options)

    def write_back(self) -> None:
        """Copy the values into the parameters, and the state into the optimizers."""
        for index, (optimizer, parameters, values, _) in enumerate(self._parts):
            scatter(values, parameters)
            for parameter in parameters:
                state = optimizer.state[parameter]
                # PyTorch keeps the counter on the parameter's device if the optimizer is fused, else on the CPU.
                fused = optimizer.param_groups[0].get("fused")
                state["step"] = self._steps[index].to(parameter.device if fused else "cpu", copy=True)
                for name in _MOMENTS:
                    state.setdefault(name, torch.empty_like(parameter, requires_grad=False))
            for name, moments in zip(_MOMENTS, self._moments, strict=True):
                scatter(moments[index], [optimizer.state[parameter][name] for parameter in parameters])


def adam_options(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> dict[str, Any] | None:
    """Return an optimizer's options if it is plain Adam on exactly these parameters, else None."""
    if type(optimizer) is not torch.optim.Adam or len(optimizer.param_groups) != 1:
        return None
    options = dict(optimizer.param_groups[0])
    if {id(parameter) for parameter in options.pop("params")} != {id(parameter) for parameter in parameters}:
        return None
    variants = ("weight_decay", "amsgrad", "maximize", "differentiable")
    if any(options[name] for name in variants):
        return None
    return {name: options[name] for name in ("lr", "betas", "eps", *variants)}
