"""Tensors of modules: what scales their inputs, and how a file's are put into them."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mopo_env.errors import StoreError

__all__ = ["fill_module", "mean_and_std"]


def mean_and_std(rows: Float[Tensor, "row column"]) -> tuple[Float[Tensor, " column"], Float[Tensor, " column"]]:
    """Return what scales columns to zero mean and unit variance."""
    wide = rows.double()  # squares of large numbers overflow float32, and small spreads around them vanish in it
    mean, std = wide.mean(dim=0), wide.std(dim=0, correction=0)
    # A constant column carries no information; left unscaled it stays at zero instead of dividing by zero.
    is_constant = std <= 1e-7 * mean.abs() + 1e-30
    return mean.to(rows), torch.where(is_constant, torch.ones_like(std), std).to(rows)


def fill_module(module: nn.Module, tensors: Mapping[str, np.ndarray], *, what: str) -> None:
    """Give a module the tensors of a file.

    Args:
        module: Made on the "meta" device, where nothing is allocated, whatever sizes a file may claim.
        tensors: By their names in the module's `state_dict`.
        what: Begins every message, such as ``"data: the ensemble"``.

    Raises:
        StoreError: If names, shapes or types are not the module's, or a number is not finite.
    """
    expected = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in module.state_dict().items()}
    try:
        state = {name: torch.from_numpy(array) for name, array in tensors.items()}
        found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in state.items()}
        if found != expected:
            wrong = min(name for name, _ in found.items() ^ expected.items())
            raise TypeError(f"{wrong}: found {_describe(found.get(wrong))}, expected {_describe(expected.get(wrong))}.")
        module.load_state_dict(state, assign=True)
    except (RuntimeError, TypeError) as error:
        raise StoreError(f"{what}'s tensors do not fit its architecture: {error}") from error
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise StoreError(f"{what} holds numbers that are not finite, in {name}. Fit it again.")


def _describe(kind: tuple[tuple[int, ...], torch.dtype] | None) -> str:
    return "no such tensor" if kind is None else f"shape {kind[0]} of {kind[1]}"
