"""Stacked layers on many rows: the same numbers as one batched product, in the order that suits a CPU's cache.

All members' activations of a large batch do not fit the cache, so each layer would fetch them from memory. One member
and one chunk of rows at a time do fit, and two buffers hold whatever lies between two layers.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

__all__ = ["MANY_ROWS", "evaluate_at_once", "evaluate_by_member", "evaluate_each"]

MANY_ROWS = 256
"""From here on it pays; below, the calls cost more than the cache misses they avoid."""

# 512 rows of 200 float32 take 0.4 MB; two buffers and a layer's weights fit a second-level cache of 1 MB.
_BYTES_PER_CHUNK = 512 * 4


Layer = tuple[Float[Tensor, "member fan_in fan_out"], Float[Tensor, "member 1 fan_out"]]


def evaluate_by_member(
    layers: Sequence[Layer], inputs: Float[Tensor, "batch input"], inner: torch.dtype = torch.float32
) -> Iterator[tuple[slice, Float[Tensor, "member rows output"]]]:
    """Yield the outputs for each chunk of rows, for all members.

    To be called where no gradient is wanted: the buffers are written over.

    Args:
        layers: Weights and biases in order; SiLU follows every one but the last.
        inputs: The same rows for every member.
        inner: Precision of the layers between the first and the last, where nearly all of the work is.

    Yields:
        The rows, and the outputs for them; the next chunk is written over these.
    """
    size = min(len(inputs), _BYTES_PER_CHUNK // inner.itemsize)
    rounded = _inner_rounded(layers, inner)
    buffers = [weight.new_empty(size, weight.shape[2]) for weight, _ in rounded[:-1]]
    outputs = inputs.new_empty(len(layers[-1][0]), size, layers[-1][0].shape[2])
    # Taken apart once: to do so for every chunk would be a fifth of the Python in here.
    members = [[(weight[index], bias[index]) for weight, bias in rounded] for index in range(len(outputs))]
    for start in range(0, len(inputs), size):
        rows = slice(start, min(start + size, len(inputs)))
        chunk, count = inputs[rows], rows.stop - rows.start
        filled = [buffer[:count] for buffer in buffers]
        for member, output in zip(members, outputs, strict=True):
            features = chunk
            for (weight, bias), buffer in zip(member, filled, strict=False):
                torch.addmm(bias, features.to(weight.dtype), weight, out=buffer)
                features = functional.silu(buffer, inplace=True)
            weight, bias = member[-1]
            torch.addmm(bias, features.to(weight.dtype), weight, out=output[:count])
        yield rows, outputs[:, :count]


def evaluate_each(
    layers: Sequence[Layer], inputs: Float[Tensor, "member batch input"]
) -> Float[Tensor, "member batch output"]:
    """Return the outputs of each member for rows of its own, one member after another.

    To be called where gradients are wanted: backwards, too, one member is finished before the next.
    """
    unbound = [(weight.unbind(), bias.unbind()) for weight, bias in layers]
    *hidden, (last_weight, last_bias) = unbound
    outputs = []
    for member, features in enumerate(inputs):
        for weight, bias in hidden:
            features = functional.silu(torch.addmm(bias[member], features, weight[member]))
        outputs.append(torch.addmm(last_bias[member], features, last_weight[member]))
    return torch.stack(outputs)


def evaluate_at_once(
    layers: Sequence[Layer], inputs: Float[Tensor, "member batch input"], inner: torch.dtype = torch.float32
) -> Float[Tensor, "member batch output"]:
    """Return the outputs for all rows, by batched products: for few rows, and for devices with fast memory.

    The arguments are those of `evaluate_by_member`, but that each member has rows of its own.
    """
    *hidden, (weight, bias) = _inner_rounded(layers, inner)
    features = inputs
    for inner_weight, inner_bias in hidden:
        features = functional.silu(torch.baddbmm(inner_bias, features.to(inner_weight.dtype), inner_weight))
    return torch.baddbmm(bias, features.to(weight.dtype), weight)


def _inner_rounded(layers: Sequence[Layer], inner: torch.dtype) -> list[Layer]:
    """Round all layers but the first, which sees the inputs, and the last, which gives the answers."""
    ends = (0, len(layers) - 1)
    return [
        (weight, bias) if index in ends else (weight.to(inner), bias.to(inner))
        for index, (weight, bias) in enumerate(layers)
    ]
