"""Neural networks in files, and the scale of their inputs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mopo_env._utils.store import read_artifact, write_artifact
from mopo_env.errors import ConfigError, StoreError

# What a file may ask for before any module is made. Ours have at most a handful of layers, and megabytes.
_LARGEST_FILE = 2**31
_MOST_LAYERS = 100

Module = TypeVar("Module", bound=nn.Module)


def mean_and_std(
    rows: Float[Tensor, "row column"], *, constant: float = 1.0
) -> tuple[Float[Tensor, " column"], Float[Tensor, " column"]]:
    """Return the means and standard deviations of columns, for scaling; `constant` is that of a constant column."""
    wide = rows.double()  # squares of large numbers overflow float32, and small spreads around them vanish in it
    mean, std = wide.mean(dim=0), wide.std(dim=0, correction=0)
    is_constant = std <= 1e-7 * mean.abs() + 1e-30
    return mean.to(rows), torch.where(is_constant, constant, std).to(rows)


def save_module(module: nn.Module, folder: Path | str, name: str, architecture: tuple[str, ...]) -> Path:
    """Write a module's tensors, its `metadata`, and the attributes that `architecture` names, as an artifact.

    Raises:
        StoreError: If the folder cannot be written.
    """
    tensors = {key: tensor.detach().cpu().numpy() for key, tensor in module.state_dict().items()}
    sizes = {key: getattr(module, key) for key in architecture}
    metadata: Any = module.metadata
    return write_artifact(folder, name, tensors, {"architecture": sizes, **metadata})


def load_module(folder: Path | str, name: str, what: str, build: Callable[..., Module]) -> Module:
    """Read what `save_module` wrote.

    Args:
        folder: Where the files are.
        name: The name of the artifact.
        what: The name of the module in messages.
        build: Called with the tensors of the file and, as keywords, the entries of the architecture.

    Raises:
        StoreError: If the files are missing, damaged, or do not fit the architecture they name.
    """
    tensors, metadata = read_artifact(folder, name, largest=_LARGEST_FILE)
    try:
        layers = len(metadata["architecture"]["hidden_sizes"])
        if layers > _MOST_LAYERS:
            raise ConfigError(f"found {layers:,} hidden layers, expected at most {_MOST_LAYERS}.")
        # Nothing is allocated on the "meta" device, whatever sizes a file claims.
        with torch.device("meta"):
            module = build(tensors, **metadata.pop("architecture"), generator=torch.Generator("cpu"))
    except (KeyError, TypeError, RuntimeError, ConfigError) as error:
        raise StoreError(f"{folder}: the {what}'s tensors do not fit its architecture: {error}") from error
    fill_module(module, tensors, what=f"{folder}: the {what}")
    module.metadata = metadata  # type: ignore[assignment]  # a plain attribute of our modules
    return module.requires_grad_(False)


def fill_module(module: nn.Module, tensors: Mapping[str, np.ndarray], *, what: str) -> None:
    """Put tensors into a module that was built on the "meta" device. Every message begins with `what`.

    Raises:
        StoreError: If names, shapes or types differ from the module's `state_dict`, or a number is not finite.
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
            raise StoreError(f"{what} holds non-finite numbers in {name}. Fit or train it again.")


def _describe(kind: tuple[tuple[int, ...], torch.dtype] | None) -> str:
    return "no such tensor" if kind is None else f"shape {kind[0]} of {kind[1]}"
