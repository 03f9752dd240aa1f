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

__all__ = ["MANY_ROWS", "evaluate_by_member"]

MANY_ROWS = 256
"""From here on it pays; below, the calls cost more than the cache misses they avoid."""

# 512 rows of 200 numbers take 0.4 MB; two buffers and a layer's weights fit a second-level cache of 1 MB.
_ROWS_PER_CHUNK = 512


def evaluate_by_member(
    hidden: Sequence[StackedLinear], heads: Sequence[StackedLinear], inputs: Float[Tensor, "batch input"]
) -> Iterator[tuple[slice, list[Float[Tensor, "member rows output"]]]]:
    """Yield what the heads say of each chunk of rows, for all members; SiLU follows every hidden layer.

    To be called where no gradient is wanted: the buffers are written over.

    Args:
        hidden: The layers before the heads, in order.
        heads: Layers that share the last hidden layer's activations.
        inputs: The same rows for every member.

    Yields:
        The rows, and each head's outputs for them; the next chunk is written over these.
    """
    num_members = len(heads[0].weight)
    size = min(len(inputs), _ROWS_PER_CHUNK)
    buffers = [inputs.new_empty(size, layer.weight.shape[2]) for layer in hidden]
    outputs = [inputs.new_empty(num_members, size, head.weight.shape[2]) for head in heads]
    for start in range(0, len(inputs), size):
        rows = slice(start, min(start + size, len(inputs)))
        count = rows.stop - rows.start
        for member in range(num_members):
            features = inputs[rows]
            for layer, buffer in zip(hidden, buffers, strict=True):
                torch.addmm(layer.bias[member], features, layer.weight[member], out=buffer[:count])
                features = functional.silu(buffer[:count], inplace=True)
            for head, output in zip(heads, outputs, strict=True):
                torch.addmm(head.bias[member], features, head.weight[member], out=output[member, :count])
        yield rows, [output[:, :count] for output in outputs]
