"""Stacked layers on many rows: the same numbers as one batched product, in the order that suits a CPU's cache.

All members' activations of a large batch do not fit the cache, so each layer would fetch them from memory. One member
and one chunk of rows at a time do fit, and two buffers hold whatever lies between two layers.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mopo_env.stacked import StackedLinear

__all__ = ["MANY_ROWS", "evaluate_at_once", "evaluate_by_member"]

MANY_ROWS = 256
"""From here on it pays; below, the calls cost more than the cache misses they avoid."""

# 512 rows of 200 float32 take 0.4 MB; two buffers and a layer's weights fit a second-level cache of 1 MB.
_BYTES_PER_CHUNK = 512 * 4


def evaluate_by_member(
    hidden: Sequence[StackedLinear],
    heads: Sequence[StackedLinear],
    inputs: Float[Tensor, "batch input"],
    inner: torch.dtype = torch.float32,
) -> Iterator[tuple[slice, list[Float[Tensor, "member rows output"]]]]:
    """Yield what the heads say of each chunk of rows, for all members; SiLU follows every hidden layer.

    To be called where no gradient is wanted: the buffers are written over.

    Args:
        hidden: The layers before the heads, in order.
        heads: Layers that share the last hidden layer's activations.
        inputs: The same rows for every member.
        inner: Precision of the layers between the first and the heads, where nearly all of the work is.

    Yields:
        The rows, and each head's outputs for them; the next chunk is written over these.
    """
    num_members = len(heads[0].weight)
    size = min(len(inputs), _BYTES_PER_CHUNK // inner.itemsize)
    layers = _weights_and_biases(hidden, inner)
    buffers = [weight.new_empty(size, weight.shape[2]) for weight, _ in layers]
    outputs = [inputs.new_empty(num_members, size, head.weight.shape[2]) for head in heads]
    for start in range(0, len(inputs), size):
        rows = slice(start, min(start + size, len(inputs)))
        count = rows.stop - rows.start
        for member in range(num_members):
            features = inputs[rows]
            for (weight, bias), buffer in zip(layers, buffers, strict=True):
                torch.addmm(bias[member], features.to(weight.dtype), weight[member], out=buffer[:count])
                features = functional.silu(buffer[:count], inplace=True)
            features = features.to(inputs.dtype)
            for head, output in zip(heads, outputs, strict=True):
                torch.addmm(head.bias[member], features, head.weight[member], out=output[member, :count])
        yield rows, [output[:, :count] for output in outputs]


def evaluate_at_once(
    hidden: Sequence[StackedLinear],
    heads: Sequence[StackedLinear],
    inputs: Float[Tensor, "batch input"],
    inner: torch.dtype = torch.float32,
) -> list[Float[Tensor, "member batch output"]]:
    """Return what the heads say of all rows, by batched products: for few rows, and for devices with fast memory.

    The arguments are those of `evaluate_by_member`.
    """
    features = inputs.expand(len(heads[0].weight), *inputs.shape)
    for weight, bias in _weights_and_biases(hidden, inner):
        features = functional.silu(torch.baddbmm(bias, features.to(weight.dtype), weight))
    return [head(features.to(inputs.dtype)) for head in heads]


def _weights_and_biases(hidden: Sequence[StackedLinear], inner: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Return what the hidden layers multiply by and add; the first one sees the inputs, which are not rounded."""
    first, others = hidden[:1], hidden[1:]
    exact = [(layer.weight, layer.bias) for layer in first]
    return exact + [(layer.weight.to(inner), layer.bias.to(inner)) for layer in others]
