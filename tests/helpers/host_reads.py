"""What would make a GPU wait, counted on the CPU: numbers and arrays that Python takes out of tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mopo_env._utils import devices
from mopo_env.envs import envelope as envelope
from mopo_env.envs import penalized_model as penalized_model
from mopo_env.envs import rollouts as rollouts

# By the names that PyTorch's operators have: a scalar, or a shape that depends on the data.
_OPERATORS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique"}
_METHODS = {Tensor.numpy, Tensor.tolist, Tensor.cpu, Tensor.item}


class _Operators(TorchDispatchMode):
    def __init__(self, reads: list[str]) -> None:
        super().__init__()
        self._reads = reads

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        # A mask or an index of booleans becomes positions, whose number has to be known.
        masks = name.startswith("index") and any(
            isinstance(index, Tensor) and index.dtype == torch.bool
            for indices in args[1:2]
            if isinstance(indices, (list, tuple))
            for index in indices
        )
        if name in _OPERATORS or masks:
            self._reads.append(name)
        return func(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    def __init__(self, reads: list[str]) -> None:
        super().__init__()
        self._reads = reads

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _METHODS:
            self._reads.append(func.__name__)
        return func(*args, **(kwargs or {}))


@contextmanager
def host_reads() -> Iterator[list[str]]:
    """Collect what is read while computing as on a device that has to be waited for."""
    reads: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for module in (devices, rollouts, penalized_model):
            patch.setattr(module, "perhaps_any", lambda flags: True)
        patch.setattr(envelope, "certainly_any", lambda flags: False)
        with _Methods(reads), _Operators(reads):
            yield reads
