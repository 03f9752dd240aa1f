"""What scales columns, and what fills a module with the tensors of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mopo_env._utils.tensors import fill_module, mean_and_std
from mopo_env.errors import StoreError
from mopo_env.models.layers import EnsembleLinear

WEIGHTS = {"weight": np.ones((2, 1, 1), np.float32), "bias": np.zeros((2, 1, 1), np.float32)}


def test_mean_and_std_leave_a_constant_column_alone() -> None:
    """Divided by its standard deviation of zero it would be NaN, and so would every prediction."""
    mean, std = mean_and_std(torch.tensor([[1.0, 7.0], [3.0, 7.0]]))
    assert (mean.tolist(), std.tolist()) == ([2.0, 7.0], [1.0, 1.0])
    assert mean_and_std(torch.tensor([[0.0], [4.0]]))[1].tolist() == [2.0]


def meta_layer() -> EnsembleLinear:
    with torch.device("meta"):
        return EnsembleLinear(2, 1, 1, torch.Generator("cpu"))


def test_a_module_without_memory_is_filled() -> None:
    layer = meta_layer()
    fill_module(layer, WEIGHTS, what="data: the layer")
    assert layer(torch.ones(2, 3, 1)).tolist() == torch.ones(2, 3, 1).tolist()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"bias": np.zeros((2, 1, 2), np.float32)}, r"bias: found shape \(2, 1, 2\) of torch.float32, expected shape"),
        ({"spare": np.zeros(1, np.float32)}, "spare: found shape .* expected no such tensor"),
        ({"bias": np.array([["a"]])}, "do not fit its architecture"),
        ({"bias": np.zeros((2, 1, 1))}, r"of torch.float64, expected shape \(2, 1, 1\) of torch.float32"),
        ({"weight": np.full((2, 1, 1), np.inf, np.float32)}, "non-finite numbers in weight"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], expected: str) -> None:
    """A checksum says only that a file is what its writer meant."""
    with pytest.raises(StoreError, match=rf"^data: the layer.*{expected}"):
        fill_module(meta_layer(), {**WEIGHTS, **change}, what="data: the layer")


def test_a_missing_tensor_is_refused() -> None:
    with pytest.raises(StoreError, match="bias: found no such tensor"):
        fill_module(meta_layer(), {"weight": WEIGHTS["weight"]}, what="data: the layer")
